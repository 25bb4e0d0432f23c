//! Deleting the oldest rolls, a few at a time.
//!
//! Ids are the order of rolls, so the rolls that go are always those before one that stays. Their
//! moments are looked at from the oldest on, and only as far as they are past: a roll that a wrong
//! clock dated too early goes in its turn and not before, and one that was dated too late stays
//! until that moment has come, with all after it. Nothing goes because of the clock of a later
//! roll.

use rusqlite::Connection;

use crate::roll::RollId;
use crate::store::{Beyond, Kept, StoreError, history};

/// Rolls that are deleted in one transaction: what keeps it short, however many there are to go.
pub const N_AT_ONCE: i64 = 1_000;

/// What a step would delete.
pub struct Step {
    /// Which rolls there are.
    pub kept: Kept,
    /// The last roll to go, if any is.
    pub up_to: Option<RollId>,
}

/// The next step: the oldest of the rolls beyond what is kept. The newest roll is not among them,
/// and none after `last_counted`, since the statistics are about all.
pub fn next_step(
    connection: &Connection,
    beyond: Beyond,
    last_counted: RollId,
) -> Result<Step, StoreError> {
    let kept = history::kept(connection)?;
    let bound = kept.head.id.previous().min(last_counted);
    let up_to = match beyond {
        Beyond::Count(n_rolls) => Some(RollId(kept.head.id.0.saturating_sub(n_rolls))),
        Beyond::Before(moment) => last_before(connection, kept.oldest, &moment.to_string())?,
    };
    let up_to = up_to.map(|id| id.min(bound).min(RollId(kept.oldest.previous().0 + N_AT_ONCE)));
    Ok(Step { kept, up_to: up_to.filter(|id| *id >= kept.oldest) })
}

/// The last of the oldest rolls, at most a step of them, that were all made before a moment.
fn last_before(
    connection: &Connection,
    oldest: RollId,
    moment: &str,
) -> Result<Option<RollId>, StoreError> {
    let sql = "select id, rolled_at from rolls where id >= ?1 order by id limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([oldest.0, N_AT_ONCE])?;
    let mut last = None;
    // As text, which sorts like the moments.
    while let Some(row) = rows.next()?
        && row.get_ref(1)?.as_str().is_ok_and(|rolled_at| rolled_at < moment)
    {
        last = Some(RollId(row.get(0)?));
    }
    Ok(last)
}

/// Deletes the rolls up to this one: how many that were.
pub fn delete(connection: &Connection, up_to: RollId) -> Result<u64, StoreError> {
    let sql = "delete from rolls where id <= ?1";
    Ok(connection.prepare_cached(sql)?.execute([up_to.0])? as u64)
}
