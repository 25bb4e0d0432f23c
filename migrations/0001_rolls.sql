-- The history: every roll, a view for people with sqlite3, and all-time counts.

-- Marks the file as ours ("ROLL"), so that a foreign database is never taken for a history.
pragma application_id = 0x524F4C4C;

-- For every query: rolls are found by id, which is their order (clocks may step back).
-- autoincrement: an id is never given twice, even when the newest rolls were deleted.
create table rolls (
  id        integer primary key autoincrement,
  rolled_at text not null,                    -- 2026-11-23T01:37:40.123Z
  dice      text not null                     -- {"1D6":4,"1D20":17}, as sent
            constraint dice_are_json check (json_valid(dice))
) strict;

-- For people with sqlite3: one row per die of each roll.
create view faces as
  select r.id, r.rolled_at, d.key as die, d.value as face
  from rolls r, json_each(r.dice) d;

-- For statistics at any size: how often each die showed each face, of all time. Kept by the
-- insert itself, in the same transaction; deleting old rolls leaves the counts alone.
create table tallies (
  die     text    not null,
  face    integer not null,
  n_rolls integer not null,
  primary key (die, face)
) strict, without rowid;

create trigger count_the_faces after insert on rolls begin
  insert into tallies (die, face, n_rolls)
  select d.key, d.value, 1 from json_each(new.dice) d where true
  on conflict (die, face) do update set n_rolls = n_rolls + 1;
end;
