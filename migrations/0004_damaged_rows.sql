-- One definition of a row that is not a roll, for both triggers and for people with sqlite3. Migration
-- 3 had it twice.
drop trigger refuse_unreadable_insert;
drop trigger refuse_unreadable_update;

-- Rows that are not rolls. A roll has a time such as 2026-11-23T01:37:40.123Z and dice such as
-- {"1D6":4,"1D20":17}: 1 to 100 dice of 2 to 1,000 sides, each with a result that it can show.
create view malformed_rolls as
  select id, rolled_at, dice from rolls
  where strftime('%Y-%m-%dT%H:%M:%fZ', rolled_at, '+0 days') is not rolled_at
    or not json_valid(dice)
    or json_type(dice) <> 'object'
    or instr(dice, '\') > 0
    or (select count(*) <> count(distinct key) from json_each(dice))
    or exists (
      select 1 from (
        select type, value, key, cast(key as integer) as n_dice,
               cast(substr(key, instr(key, 'D') + 1) as integer) as n_sides
        from json_each(dice)
      )
      where type <> 'integer'
         or key <> n_dice || 'D' || n_sides
         or n_dice not between 1 and 100
         or n_sides not between 2 and 1000
         or value not between n_dice and n_dice * n_sides
    );

-- Triggers, because a constraint of the table would need a copy of it, and old rows that cannot be
-- read could not be copied. They look the row up by its id, and the error undoes the change.
create trigger refuse_unreadable_insert after insert on rolls
when exists (select 1 from malformed_rolls where id = new.id)
begin
  select raise(abort, 'expected a roll such as (''2026-11-23T01:37:40.123Z'', ''{"1D6":4,"1D20":17}'')');
end;

create trigger refuse_unreadable_update after update of rolled_at, dice on rolls
when exists (select 1 from malformed_rolls where id = new.id)
begin
  select raise(abort, 'expected a roll such as (''2026-11-23T01:37:40.123Z'', ''{"1D6":4,"1D20":17}'')');
end;

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
