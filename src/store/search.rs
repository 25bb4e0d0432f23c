//! Searching for rolls: by day and by result.
//!
//! A day is found by binary search. A result is found by reading rolls, at most [`MAX_READ`] at a
//! time: at 0.3 to 0.8 µs a roll this keeps a page within its 5 ms, however large the history and
//! however rare the result. The next page continues where the search stopped. An index over the
//! results would find the rarest at once, but it needs a row per die of each roll: about as much
//! space and writing as the rolls themselves.

use rusqlite::{Connection, params};

use crate::dice::DieResult;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::history::{find, first_at, kept, roll_of};
use crate::store::{IdRange, Kept, StoreError};

/// The most rolls that a search for a result reads for one page.
const MAX_READ: usize = 5_000;

/// What to search for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Only rolls from the first time on, before the second one.
    pub day: Option<(RolledAt, RolledAt)>,
    /// Only rolls with this result.
    pub result: Option<DieResult>,
    /// The page of the oldest rolls after this one.
    pub after: Option<RollId>,
    /// The page of the newest rolls before this one.
    pub before: Option<RollId>,
}

impl Search {
    /// The most rows that a page of `limit` rolls reads.
    pub fn max_rows(&self, limit: usize) -> usize {
        if self.result.is_some() { MAX_READ } else { limit }
    }
}

/// A page of matching rolls.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rolls, newest first.
    pub rolls: Vec<Roll>,
    /// Which rolls were stored at that moment.
    pub kept: Kept,
    /// The rolls of the day, or all stored rolls.
    pub all: IdRange,
    /// The rolls that were read for this page.
    pub looked_at: IdRange,
    /// How often the die has ever shown the result.
    pub n_ever: Option<u64>,
    /// The times of the oldest and the newest stored roll.
    pub kept_from_to: Option<(RolledAt, RolledAt)>,
}

pub fn search(
    connection: &mut Connection,
    search: &Search,
    limit: usize,
) -> Result<Found, StoreError> {
    // One transaction, so that the rows and the links around them agree.
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let mut all = kept.ids();
    if let Some((from, until)) = search.day {
        all.after = first_at(&transaction, kept, from)?.previous();
        all.before = first_at(&transaction, kept, until)?;
    }
    let mut ids = IdRange {
        after: search.after.unwrap_or(all.after).clamp(all.after, all.before.previous()),
        before: search.before.unwrap_or(all.before).clamp(all.after.next(), all.before),
    };
    let upward = search.after.is_some() && search.before.is_none();
    let n = search.max_rows(limit) as i64;
    if upward {
        ids.before = ids.before.min(RollId(ids.after.0.saturating_add(n + 1)));
    } else {
        ids.after = ids.after.max(RollId(ids.before.0.saturating_sub(n + 1)));
    }
    let rolls = matching(&transaction, ids, search.result, limit, upward)?;
    // A full page ends at its last roll, even if more rolls could have been read.
    if let (Some(newest), Some(oldest), true) = (rolls.first(), rolls.last(), rolls.len() == limit)
    {
        if upward {
            ids.before = newest.id.next();
        } else {
            ids.after = oldest.id.previous();
        }
    }
    let n_ever = search.result.map(|result| n_ever(&transaction, result)).transpose()?;
    let time = |id| Ok::<_, StoreError>(find(&transaction, id)?.map(|roll| roll.rolled_at));
    let kept_from_to = Option::zip(time(kept.oldest)?, time(kept.head.id)?);
    Ok(Found { rolls, kept, all, looked_at: ids, n_ever, kept_from_to })
}

/// The rolls of `ids` with that result, newest first.
fn matching(
    connection: &Connection,
    ids: IdRange,
    result: Option<DieResult>,
    limit: usize,
    upward: bool,
) -> Result<Vec<Roll>, StoreError> {
    let (path, result) = match result {
        Some(DieResult { die, result }) => (format!("$.\"{die}\""), Some(result)),
        None => ("$".into(), None),
    };
    let sql = if upward {
        "select id, rolled_at, dice from rolls
         where id > ?1 and id < ?2 and (?4 is null or json_extract(dice, ?3) = ?4)
         order by id limit ?5"
    } else {
        "select id, rolled_at, dice from rolls
         where id > ?1 and id < ?2 and (?4 is null or json_extract(dice, ?3) = ?4)
         order by id desc limit ?5"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![ids.after.0, ids.before.0, path, result, limit as i64];
    let rolls = statement.query_map(values, |row| Ok(roll_of(row)))?;
    let mut rolls = rolls.map(|roll| roll?).collect::<Result<Vec<Roll>, StoreError>>()?;
    if upward {
        rolls.reverse();
    }
    Ok(rolls)
}

/// How often the die has ever shown this result: as saved, and in the rolls after that.
fn n_ever(connection: &Connection, result: DieResult) -> Result<u64, StoreError> {
    let sql = "select
        ifnull((select n_rolls from result_statistics where die = ?1 and result = ?2), 0)
        + (select count(*) from rolls
           where id > (select last_id from projections where name = 'statistics')
           and json_extract(dice, ?3) = ?2)";
    let DieResult { die, result } = result;
    let values = params![die.to_string(), result, format!("$.\"{die}\"")];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
}
