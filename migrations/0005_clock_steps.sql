-- For rolls by time: the days of the history, `since` and `at`. Ids are the order of rolls, and a
-- clock can be set back. This table holds the ids at which that happened, so between two of them
-- timestamps grow with ids, and a binary search by id finds a time. On most machines it is empty.
-- An index on rolled_at would write another page to the log for each roll, and take as much space
-- as the rolls. This does not rewrite `rolls`, but reads it once: about 1 s per million rolls.

-- An id need not be a stored roll any more: without it, timestamps left and right of it still grow.
-- The server deletes those before the oldest roll.
create table clock_steps (
  id integer primary key
) strict;

-- Rolls with an earlier timestamp than the roll before them. Texts of another form than
-- 2026-11-23T01:37:40.123Z do not sort like their times, so such a row is a range of its own.
create view earlier_than_the_roll_before as
  select r.id from rolls r
  where (
    select r.rolled_at < p.rolled_at
        or r.rolled_at not glob '????-??-??T??:??:[0-5]?.???Z'
        or p.rolled_at not glob '????-??-??T??:??:[0-5]?.???Z'
    from rolls p where p.id < r.id order by p.id desc limit 1
  );

insert into clock_steps (id) select id from earlier_than_the_roll_before;

-- For each change by anybody: the row itself and the row after it. A row that is deleted needs no
-- trigger: if the row after it is earlier than the row before it, one of the two ids is here.
create trigger note_clock_step_insert after insert on rolls begin
  insert into clock_steps (id)
  select id from earlier_than_the_roll_before
  where id in (new.id, (select min(id) from rolls where id > new.id))
    and id not in (select id from clock_steps);
end;

create trigger note_clock_step_update after update of id, rolled_at on rolls begin
  insert into clock_steps (id)
  select id from earlier_than_the_roll_before
  where id in (new.id, (select min(id) from rolls where id > new.id))
    and id not in (select id from clock_steps);
end;
