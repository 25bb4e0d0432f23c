//! The place of a result among all rolls with the same result of the same die.
//!
//! There is no index of results, so a lookup reads rolls, at most [`MAX_READ`] in each direction.
//! The statistics have the total up to the newest roll. So the number of a result is known only if
//! its roll is at most [`MAX_READ`] rolls away from the newest roll or from the first one.

use rusqlite::{Connection, OptionalExtension, params};

use crate::dice::DieResult;
use crate::roll::RollId;
use crate::store::history::kept;
use crate::store::search::{MATCHES, MAX_READ, path};
use crate::store::{IdRange, StoreError};

/// The place of a result among all rolls with the same result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The result.
    pub of: DieResult,
    /// Its number, from 1; `None` if too many rolls would have to be read.
    pub nth: Option<u64>,
    /// The roll before it with this result, if that is among the rolls that were read.
    pub previous: Option<RollId>,
    /// The number of earlier rolls among which `previous` was searched.
    pub n_read: u64,
}

/// How often a result has come up in all rolls up to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub n_rolls: u64,
    pub up_to: RollId,
}

/// The place of the result `of` of the roll `id`.
///
/// # Errors
///
/// The database cannot be read.
pub fn occurrence(
    connection: &mut Connection,
    id: RollId,
    of: DieResult,
    counted: Counted,
) -> Result<Occurrence, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let before = IdRange { after: kept.oldest.previous().max(back(id)), before: id };
    let previous = previous(&transaction, before, of)?;
    let n_between = |ids: IdRange| n_rolls(&transaction, ids, of);
    let nth = if counted.up_to >= id && counted.up_to.0 - id.0 <= MAX_READ as i64 {
        let later = IdRange { after: id, before: counted.up_to.next() };
        counted.n_rolls.checked_sub(n_between(later)?)
    } else if kept.oldest == RollId::BEFORE_FIRST.next() && id.0 <= MAX_READ as i64 {
        Some(n_between(IdRange { after: RollId::BEFORE_FIRST, before: id.next() })?)
    } else {
        None
    };
    Ok(Occurrence { of, nth: nth.filter(|n| *n > 0), previous, n_read: before.n_rolls() })
}

/// The id before the first of the [`MAX_READ`] rolls before a roll.
fn back(id: RollId) -> RollId {
    RollId(id.0 - 1 - MAX_READ as i64)
}

/// The last roll of a range with this result.
fn previous(
    connection: &Connection,
    ids: IdRange,
    of: DieResult,
) -> Result<Option<RollId>, StoreError> {
    let sql = format!(
        "select id from rolls where {MATCHES} and id > ?3 and id < ?4 order by id desc limit 1"
    );
    let values = params![path(of.die), of.result, ids.after.0, ids.before.0];
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(values, |row| row.get(0).map(RollId)).optional()?)
}

/// How many rolls of a range have this result.
fn n_rolls(connection: &Connection, ids: IdRange, of: DieResult) -> Result<u64, StoreError> {
    let sql = format!("select count(*) from rolls where {MATCHES} and id > ?3 and id < ?4");
    let values = params![path(of.die), of.result, ids.after.0, ids.before.0];
    Ok(connection.prepare_cached(&sql)?.query_row(values, |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::store::test_history::history;

    #[test]
    fn a_result_is_counted_from_the_newest_roll_or_from_the_first() {
        let mut connection = history(12_000);
        // Roll n has 1 + n % 6: a 6 on rolls 5, 11, 17, …, 11,999.
        let of = DieResult { die: "1D6".parse().expect("a die"), result: 6 };
        let counted = |up_to| Counted { n_rolls: (up_to + 1) as u64 / 6, up_to: RollId(up_to) };
        let table = [
            // The roll, the last roll that is counted, its number, the one before, rolls read.
            (11_999, 12_000, Some(2_000), Some(11_993), 5_000),
            (11_993, 12_000, Some(1_999), Some(11_987), 5_000),
            (7_001, 12_000, Some(1_167), Some(6_995), 5_000),
            (6_995, 12_000, None, Some(6_989), 5_000),
            (5_003, 12_000, None, Some(4_997), 5_000),
            (4_997, 12_000, Some(833), Some(4_991), 4_996),
            (5, 12_000, Some(1), None, 4),
            // The statistics do not count the roll yet.
            (11_999, 11_990, None, Some(11_993), 5_000),
        ];
        for (id, up_to, nth, previous, n_read) in table {
            let found = occurrence(&mut connection, RollId(id), of, counted(up_to));
            let expected = Occurrence { of, nth, previous: previous.map(RollId), n_read };
            assert_eq!(found.expect("an occurrence"), expected, "roll {id}, counted to {up_to}");
        }
    }

    #[test]
    fn a_result_is_not_counted_from_the_first_roll_that_is_kept() {
        let mut connection = history(12_000);
        connection.execute("delete from rolls where id <= 10", []).expect("a prune");
        let of = DieResult { die: "1D6".parse().expect("a die"), result: 6 };
        let counted = Counted { n_rolls: 2_000, up_to: RollId(12_000) };
        let found = occurrence(&mut connection, RollId(11), of, counted).expect("an occurrence");
        assert_eq!(found, Occurrence { of, nth: None, previous: None, n_read: 0 });
    }
}
