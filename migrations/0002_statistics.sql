-- For /stats at any size: what `tallies` cannot tell, since it depends on the order of rolls. The
-- server folds each roll in, in the roll's own transaction, and at its start those that it finds
-- uncounted: all of an older database. Deleting old rolls leaves all of it alone.

create table die_statistics (
  die               text    primary key,
  last_id           integer not null,  -- the last roll that is counted here
  n_rolls           integer not null,
  total             integer not null,  -- of the results, for their mean
  streak_result     integer not null,  -- the newest result,
  streak_length     integer not null,  -- and how often it came in a row
  longest_result    integer not null,  -- the longest such streak,
  longest_length    integer not null,
  longest_id        integer not null,  -- and the roll it ended with
  log_e             real    not null,  -- natural logarithm of the e-value against fairness,
  highest_log_e     real    not null,  -- the highest it ever was,
  alarm_id          integer,           -- and the roll at which it first was 20 or more
  n_block_rolls     integer not null,  -- rolls of the block that is not complete
  n_blocks          integer not null,  -- complete blocks, and of the last one:
  block_id          integer,           -- its last roll
  block_chi_square  real,
  block_p           real
) strict;

-- By result. A drought is a number of rolls in a row that show other results.
create table result_statistics (
  die             text    not null,
  result          integer not null,
  n_rolls         integer not null,
  last_n          integer not null,    -- its last roll, counted among the die's own from 1
  longest_drought integer not null,    -- between two of them, or before the first
  primary key (die, result)
) strict, without rowid;

-- The block that is not complete, by cell: a result, or neighbouring ones that are rare.
create table block_cells (
  die     text    not null,
  cell    integer not null,
  n_rolls integer not null,
  primary key (die, cell)
) strict, without rowid;

-- The p-values of complete blocks, twenty bins from 0 to 1.
create table p_value_bins (
  die      text    not null,
  bin      integer not null constraint bin_of_twenty check (bin between 0 and 19),
  n_blocks integer not null,
  primary key (die, bin)
) strict, without rowid;
