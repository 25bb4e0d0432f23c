-- The log of verifiable rolls (docs/proof.md). The leaves of its tree are computed from the rolls
-- and these tables.

-- Hashes of full tiles of 256: of leaves on level 0, of tiles of the level below on the others. They
-- stay when rolls are pruned.
create table tile_hashes (
  level integer not null,
  n integer not null,
  hash blob not null check (length(hash) = 32),
  primary key (level, n)
) strict, without rowid;

-- Rolls with a seed: from first_id to last_id, all in one tile of 256. `seed` is that of last_id. The
-- SHA-256 of a seed is the seed of the roll before. A roll that is in no run has no seed.
create table seed_runs (
  first_id integer primary key,
  last_id integer not null check (last_id between first_id and first_id + 255),
  seed blob not null check (length(seed) = 32),
  -- Where a chain begins: the anchor that its first roll announces.
  next_anchor blob check (length(next_anchor) = 32)
) strict;

-- The few runs that begin a chain.
create index chain_starts on seed_runs (first_id) where next_anchor is not null;

-- A new secret: the first roll with a seed after this one begins a chain.
create table new_secrets (
  after_id integer primary key
) strict;

-- The log has a leaf for each id. Adding all leaves up to a distant id would take hours. In these
-- triggers, sqlite_sequence still has the number before the change.
create trigger refuse_distant_id after insert on rolls
when new.id > 1048576 + ifnull((select seq from sqlite_sequence where name = 'rolls'), 0)
begin
  select raise(abort, 'expected an id of at most 1048576 more than the newest one');
end;

create trigger refuse_distant_id_update after update of id on rolls
when new.id > 1048576 + ifnull((select seq from sqlite_sequence where name = 'rolls'), 0)
begin
  select raise(abort, 'expected an id of at most 1048576 more than the newest one');
end;
