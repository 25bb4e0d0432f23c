-- How the evidence against each die changed over its rolls, for the plot on /stats. The rows hold the
-- highest evidence of consecutive ranges of rolls. Each range has a quarter as many rolls as
-- all ranges before it, so a die has about 10 rows for each factor of 10 in its rolls, and 60 after a
-- million.

create table evidence_peaks (
  die    text    not null,
  last_n integer not null,  -- the last roll of the range, counted among the die's own from 1
  log_e  real    not null,  -- natural logarithm of the highest e-value in the range
  primary key (die, last_n)
) strict, without rowid;

-- If all counted rolls are still kept, the next start counts them again and adds these rows.
-- Otherwise the rows begin with the next roll, since the order of deleted rolls is not known.
update projections set last_id = 0
where name = 'statistics' and last_id = (select count(*) from rolls where id <= last_id);

delete from die_statistics
where exists (select 1 from projections where name = 'statistics' and last_id = 0);
delete from result_statistics
where exists (select 1 from projections where name = 'statistics' and last_id = 0);
delete from block_cells
where exists (select 1 from projections where name = 'statistics' and last_id = 0);
delete from p_value_bins
where exists (select 1 from projections where name = 'statistics' and last_id = 0);
