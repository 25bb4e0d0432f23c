-- The views for people with sqlite3 failed as a whole on a row whose dice are not JSON. Now they
-- leave such a row out. The table refuses one, but a damaged file may hold it.
drop view faces;
create view faces (id, rolled_at, die, face) as
  select r.id, r.rolled_at, d.key, d.value
  from rolls r, json_each(case when json_valid(r.dice) then r.dice end) d;

drop view tallies;
create view tallies (die, face, n_rolls) as
  select die, face, sum(n_rolls) from (
    select die, result as face, n_rolls from result_statistics
    union all
    select d.key, d.value, 1
    from rolls r, json_each(case when json_valid(r.dice) then r.dice end) d
    where r.id > (select last_id from projections where name = 'statistics')
  )
  group by die, face;
