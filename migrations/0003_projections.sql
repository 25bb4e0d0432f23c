-- Statistics leave the transaction of each roll, where they took most of the write-ahead log: the
-- server keeps them in memory and saves them every few seconds. Rows that nobody can read are
-- refused. Neither rewrites `rolls`, so this takes no longer for a large database.

-- Whatever is computed from all rolls, in the order of their ids, and the last roll that it
-- includes. A crash loses nothing: the server adds the rolls after that one at its next start.
create table projections (
  name    text    primary key,
  last_id integer not null
) strict, without rowid;

insert into projections (name, last_id)
  select 'statistics', ifnull(max(last_id), 0) from die_statistics;

-- For people with sqlite3: how often each die showed each result, of all time, also of rolls that
-- are no longer kept. Correct at any moment: the saved statistics and the few rolls after them.
drop trigger if exists count_the_faces;
drop table if exists tallies;
create view tallies (die, face, n_rolls) as
  select die, face, sum(n_rolls) from (
    select die, result as face, n_rolls from result_statistics
    union all
    select d.key, d.value, 1 from rolls r, json_each(r.dice) d
    where r.id > (select last_id from projections where name = 'statistics')
  )
  group by die, face;

-- A roll has a time such as 2026-11-23T01:37:40.123Z and dice such as {"1D6":4,"1D20":17}: 1 to 100
-- dice of 2 to 1,000 sides, each with a result that it can show. Triggers, because a constraint of
-- the table would need a copy of it, and old rows that cannot be read could not be copied.
create trigger refuse_unreadable_insert before insert on rolls
when strftime('%Y-%m-%dT%H:%M:%fZ', new.rolled_at, '+0 days') is not new.rolled_at
  or not json_valid(new.dice)
  or json_type(new.dice) <> 'object'
  or instr(new.dice, '\') > 0
  or (select count(*) <> count(distinct key) from json_each(new.dice))
  or exists (
    select 1 from (
      select type, value, key, cast(key as integer) as n_dice,
             cast(substr(key, instr(key, 'D') + 1) as integer) as n_sides
      from json_each(new.dice)
    )
    where type <> 'integer'
       or key <> n_dice || 'D' || n_sides
       or n_dice not between 1 and 100
       or n_sides not between 2 and 1000
       or value not between n_dice and n_dice * n_sides
  )
begin
  select raise(abort, 'expected a roll such as (''2026-11-23T01:37:40.123Z'', ''{"1D6":4,"1D20":17}'')');
end;

create trigger refuse_unreadable_update before update of rolled_at, dice on rolls
when strftime('%Y-%m-%dT%H:%M:%fZ', new.rolled_at, '+0 days') is not new.rolled_at
  or not json_valid(new.dice)
  or json_type(new.dice) <> 'object'
  or instr(new.dice, '\') > 0
  or (select count(*) <> count(distinct key) from json_each(new.dice))
  or exists (
    select 1 from (
      select type, value, key, cast(key as integer) as n_dice,
             cast(substr(key, instr(key, 'D') + 1) as integer) as n_sides
      from json_each(new.dice)
    )
    where type <> 'integer'
       or key <> n_dice || 'D' || n_sides
       or n_dice not between 1 and 100
       or n_sides not between 2 and 1000
       or value not between n_dice and n_dice * n_sides
  )
begin
  select raise(abort, 'expected a roll such as (''2026-11-23T01:37:40.123Z'', ''{"1D6":4,"1D20":17}'')');
end;

-- Before an insert SQLite does not know the id yet. The server numbers rolls from 1; a number that a
-- cursor cannot name would end the feed for good.
create trigger refuse_impossible_id after insert on rolls
when new.id not between 1 and 999999999999999999
begin
  select raise(abort, 'expected an id of 1 to 999999999999999999');
end;
