//! Deletes the oldest rolls in small batches.
//!
//! Rolls are ordered by id, so pruning deletes all rolls up to an id. Pruning by age reads the
//! timestamps from the oldest roll and stops at the first roll that is not older than the cutoff.
//! If a wrong clock dated a roll too early, it is deleted together with the rolls before it, and
//! not earlier. If a roll was dated too late, it and all rolls after it stay until that time.
//!
//! Only whole tiles of 256 rolls are deleted, because the proof of a roll needs all leaves of its
//! tile. So up to 255 more rolls stay.

use rusqlite::Connection;

use crate::log::TILE_LEN;
use crate::roll::{RollId, RolledAt};
use crate::store::{Kept, StoreError, history};

/// The number of rolls in a tile.
const TILE: i64 = TILE_LEN as i64;
/// The maximum number of rolls that one transaction deletes. The limit keeps it short.
pub const N_AT_ONCE: i64 = 4 * TILE;

/// Which rolls to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// All rolls except this many of the newest, at least 1.
    Count(i64),
    /// Rolls older than this time, except those that follow a roll that is not older.
    Before(RolledAt),
}

/// The result of one pruning step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// How many rolls were deleted.
    pub n_rolls: u64,
    /// The oldest remaining roll.
    pub oldest: RollId,
    /// Whether the step deleted the maximum number, so more rolls may be beyond the cutoff.
    pub more: bool,
}

/// What the next step would delete.
pub struct Step {
    /// Which rolls are stored.
    pub kept: Kept,
    /// The last roll to delete, if any.
    pub up_to: Option<RollId>,
}

/// Plans the next step, which deletes the oldest rolls beyond the cutoff. It deletes neither the
/// newest roll nor any roll after `last_counted`, because the statistics count all rolls. The newest
/// checkpoint covers `n_signed` rolls. The rolls of its last tile stay, because the next start
/// compares them with the checkpoint.
///
/// # Errors
///
/// The database cannot be read.
pub fn next_step(
    connection: &Connection,
    cutoff: Cutoff,
    last_counted: RollId,
    n_signed: u64,
) -> Result<Step, StoreError> {
    let kept = history::kept(connection)?;
    let bound = kept.head.id.previous().min(last_counted).min(RollId(n_signed as i64));
    let up_to = match cutoff {
        Cutoff::Count(n_rolls) => Some(RollId(kept.head.id.0.saturating_sub(n_rolls))),
        Cutoff::Before(time) => last_before(connection, kept.oldest, &time.to_string())?,
    };
    let up_to = up_to.map(|id| id.min(bound).min(RollId(kept.oldest.previous().0 + N_AT_ONCE)));
    let up_to = up_to.map(|id| RollId(id.0 / TILE * TILE));
    Ok(Step { kept, up_to: up_to.filter(|id| *id >= kept.oldest) })
}

/// The last roll of the unbroken run of rolls older than `time` at the start of the history. Reads
/// at most [`N_AT_ONCE`] rolls.
fn last_before(
    connection: &Connection,
    oldest: RollId,
    time: &str,
) -> Result<Option<RollId>, StoreError> {
    let sql = "select id, rolled_at from rolls where id >= ?1 order by id limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([oldest.0, N_AT_ONCE])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().ok();
        // A row without a readable time neither ends the run nor extends it.
        let Some(rolled_at) = text.filter(|text| text.parse::<RolledAt>().is_ok()) else {
            continue;
        };
        // Compare strings: timestamps in this format sort like their times.
        if rolled_at >= time {
            break;
        }
        last = Some(RollId(row.get(0)?));
    }
    Ok(last)
}

/// Deletes the rolls up to and including `up_to`, which is the last of its tile, with their clock
/// steps and seeds. The first and the last run of seeds of each chain stay. They show what each
/// chain announced, and that no other chain was between. Returns how many rolls were deleted.
///
/// # Errors
///
/// The error of SQLite.
pub fn delete(connection: &Connection, up_to: RollId) -> Result<u64, StoreError> {
    let steps = "delete from clock_steps where id <= ?1";
    connection.prepare_cached(steps)?.execute([up_to.0])?;
    let seeds = "delete from seed_runs where first_id <= ?1 and next_anchor is null and exists (
                   select 1 from seed_runs next
                   where next.first_id = (select min(later.first_id) from seed_runs later
                                          where later.first_id > seed_runs.first_id)
                     and next.next_anchor is null)";
    connection.prepare_cached(seeds)?.execute([up_to.0])?;
    let sql = "delete from rolls where id <= ?1";
    Ok(connection.prepare_cached(sql)?.execute([up_to.0])? as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_COUNTED: RollId = RollId(i64::MAX);

    /// A history with one roll for each date, at midnight. Ids start at 1.
    fn history(moments: &[&str]) -> Connection {
        let connection = Connection::open_in_memory().expect("a database");
        // Without the triggers that refuse such rows.
        for schema in [
            include_str!("../../migrations/0001_rolls.sql"),
            include_str!("../../migrations/0005_clock_steps.sql"),
            include_str!("../../migrations/0006_log.sql"),
        ] {
            connection.execute_batch(schema).expect("the schema");
        }
        let sql = "insert into rolls (rolled_at, dice) values (?1 || 'T00:00:00.000Z', '{}')";
        for moment in moments {
            connection.execute(sql, [moment]).expect("a roll");
        }
        connection
    }

    /// Prunes until nothing is left to delete. Returns the remaining ids.
    fn prune(connection: &Connection, cutoff: Cutoff, last_counted: RollId) -> Vec<i64> {
        let step =
            || next_step(connection, cutoff, last_counted, u64::MAX >> 1).expect("a step").up_to;
        while let Some(up_to) = step() {
            assert!(delete(connection, up_to).expect("a prune") > 0, "a step without end");
        }
        let mut ids = connection.prepare("select id from rolls order by id").expect("a query");
        let ids = ids.query_map([], |row| row.get(0)).expect("ids");
        ids.map(|id| id.expect("an id")).collect()
    }

    /// Prunes a history with one whole tile for each date. Returns the remaining tiles, counted
    /// from 1.
    fn prune_tiles(moments: &[&str], cutoff: Cutoff) -> Vec<i64> {
        let moments: Vec<&str> = moments.iter().flat_map(|it| [*it; TILE as usize]).collect();
        let left = prune(&history(&moments), cutoff, ALL_COUNTED);
        left.chunk_by(|a, b| (a - 1) / TILE == (b - 1) / TILE)
            .inspect(|tile| assert_eq!(tile.len(), TILE as usize, "a part of a tile is left"))
            .map(|tile| (tile[0] - 1) / TILE + 1)
            .collect()
    }

    #[test]
    fn only_the_oldest_rolls_are_pruned_in_id_order_whatever_their_timestamps() {
        let before = Cutoff::Before("2026-06-01T00:00:00Z".parse().expect("a moment"));
        let table: [(&[&str], &[i64]); 8] = [
            (&["2026-01-01", "2026-05-31", "2026-06-01", "2026-06-02"], &[3, 4]),
            // A roll dated too early is deleted with the rolls before it, not earlier.
            (&["2026-01-01", "1970-01-01", "2026-07-01"], &[3]),
            (&["2026-07-01", "1970-01-01", "2026-07-01"], &[1, 2, 3]),
            // A roll dated too late stays until that time, and so do all later rolls.
            (&["2026-01-01", "2099-01-01", "2026-01-02", "2026-07-01"], &[2, 3, 4]),
            // A row whose time cannot be read goes with the readable rolls around it.
            (&["garbage", "2026-01-01", "garbage", "2026-01-02", "2026-07-01"], &[5]),
            (&["2026-01-01", "garbage", "2026-07-01"], &[2, 3]),
            // The newest roll always stays, and its tile with it.
            (&["2026-01-01", "2026-01-02"], &[2]),
            (&[], &[]),
        ];
        for (moments, left) in table {
            assert_eq!(prune_tiles(moments, before), left, "{moments:?}");
        }
    }

    #[test]
    fn a_roll_that_is_not_counted_yet_stays_and_so_does_the_newest() {
        let table = [
            // 11 tiles have 2,816 rolls, and 6 have 1,536.
            (Cutoff::Count(3), ALL_COUNTED, 2_817),
            (Cutoff::Count(1), ALL_COUNTED, 2_817),
            (Cutoff::Count(183), ALL_COUNTED, 2_817),
            (Cutoff::Count(185), ALL_COUNTED, 2_561),
            (Cutoff::Count(3), RollId(1_700), 1_537),
            (Cutoff::Count(3), RollId(0), 1),
            (Cutoff::Count(3_000), ALL_COUNTED, 1),
            (Cutoff::Count(i64::MAX), ALL_COUNTED, 1),
            (Cutoff::Before("2027-01-01T00:00:00Z".parse().expect("a moment")), ALL_COUNTED, 2_817),
        ];
        for (cutoff, last_counted, oldest) in table {
            let connection = history(&["2026-01-01"; 3_000]);
            let left = prune(&connection, cutoff, last_counted);
            assert_eq!(left, (oldest..=3_000).collect::<Vec<_>>(), "{cutoff:?} {last_counted}");
        }
    }
}
