//! Rows of the table `rolls`: rolls, and rows that cannot be read as a roll.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Row, Rows as Cursors};
use tracing::warn;

use crate::cursor::Cursor;
use crate::roll::{Roll, RollId};

/// The most rows that are logged, so that a damaged history does not fill the disk with logs.
const MAX_LOGGED: usize = 1_000;

/// A row that cannot be read as a roll.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("roll {id} cannot be read: {reason}")]
pub struct Unreadable {
    /// The id of the row.
    pub id: RollId,
    /// What was expected and what the row holds.
    pub reason: String,
}

/// The rows of a query, each kind in the query's order.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Rows that hold a roll.
    pub rolls: Vec<Roll>,
    /// Rows that do not.
    pub unreadable: Vec<Unreadable>,
}

impl Rows {
    /// Reads rows of the columns id, rolled_at and dice.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or an id is not an integer. A damaged roll is not an error.
    pub fn read(mut cursors: Cursors<'_>) -> rusqlite::Result<Rows> {
        let mut rows = Rows::default();
        while let Some(row) = cursors.next()? {
            match read(row)? {
                Ok(roll) => rows.rolls.push(roll),
                Err(unreadable) => rows.unreadable.push(unreadable),
            }
        }
        Ok(rows)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rolls.len() + self.unreadable.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The smallest id.
    pub fn oldest(&self) -> Option<RollId> {
        edges(&self.rolls, &self.unreadable).map(|(oldest, _)| oldest.id)
    }

    /// The greatest id.
    pub fn newest(&self) -> Option<RollId> {
        edges(&self.rolls, &self.unreadable).map(|(_, newest)| newest.id)
    }
}

/// The rows with the smallest and the greatest id, where both lists are in one order. The cursor
/// of a row that cannot be read has no time.
pub fn edges(rolls: &[Roll], unreadable: &[Unreadable]) -> Option<(Cursor, Cursor)> {
    let rolls = rolls.first().into_iter().chain(rolls.last()).map(Roll::cursor);
    let unreadable = unreadable.first().into_iter().chain(unreadable.last());
    let mut rows: Vec<Cursor> =
        rolls.chain(unreadable.map(|unreadable| Cursor::from(unreadable.id))).collect();
    rows.sort_by_key(|cursor| cursor.id);
    Some((*rows.first()?, *rows.last()?))
}

/// Reads a row of the columns id, rolled_at and dice.
///
/// # Errors
///
/// The outer error: the database cannot be read, or the id is not an integer. The inner one: the
/// row does not hold a roll.
pub fn read(row: &Row<'_>) -> rusqlite::Result<Result<Roll, Unreadable>> {
    let id = RollId(row.get(0)?);
    let unreadable = |reason: &dyn fmt::Display| Unreadable { id, reason: reason.to_string() };
    let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str());
    let (rolled_at, dice) = (text(1)?, text(2)?);
    Ok((|| {
        let rolled_at = rolled_at.map_err(|error| unreadable(&error))?;
        let dice = dice.map_err(|error| unreadable(&error))?;
        Ok(Roll {
            id,
            rolled_at: rolled_at.parse().map_err(|error| unreadable(&error))?,
            dice: dice.parse().map_err(|error| unreadable(&error))?,
        })
    })())
}

/// Logs each row that cannot be read once; cheap to clone.
#[derive(Clone, Default)]
pub struct UnreadableLog(Arc<Mutex<BTreeSet<RollId>>>);

impl UnreadableLog {
    /// Logs the rows that were not logged before.
    pub fn log(&self, unreadable: &[Unreadable]) {
        if unreadable.is_empty() {
            return;
        }
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for unreadable in unreadable {
            if logged.len() < MAX_LOGGED && logged.insert(unreadable.id) {
                let id = unreadable.id.0;
                warn!(roll.id = id, "{unreadable}; it is left out everywhere");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rusqlite::Connection;

    /// Reads a row with this time and these dice, as SQL.
    fn row(rolled_at: &str, dice: &str) -> Result<Roll, Unreadable> {
        let connection = Connection::open_in_memory().expect("a database");
        let sql = format!("select 41, {rolled_at}, {dice}");
        connection.query_row(&sql, [], read).expect("a row")
    }

    #[test]
    fn a_row_that_cannot_be_read_says_what_was_expected() {
        let (time, dice) = ("'2026-11-23T01:37:40.123Z'", "'{\"1D6\":4}'");
        assert_eq!(row(time, dice).expect("a roll").dice.to_string(), "{\"1D6\":4}");
        let table = [
            ("'garbage'", dice, "got `garbage`"),
            (time, "'{\"x\":1}'", "expected dice notation"),
            (time, "'[]'", "an object of die names"),
            (time, "'{\"1D6\":\"x\"}'", "invalid type"),
            (time, "'{'", "EOF"),
            // Neither text nor UTF-8.
            ("7", dice, "Invalid type"),
            (time, "cast(x'7bff7d' as text)", "utf-8"),
        ];
        for (rolled_at, dice, reason) in table {
            let error = row(rolled_at, dice).expect_err("no roll");
            assert!(error.reason.contains(reason), "{rolled_at}, {dice}: {error}");
            assert!(error.to_string().starts_with("roll 41 cannot be read: "), "{error}");
        }
    }

    #[test]
    fn the_oldest_and_the_newest_row_may_be_of_either_kind() {
        let roll = |id| Roll {
            id: RollId(id),
            ..row("'2026-11-23T01:37:40.123Z'", "'{}'").expect("a roll")
        };
        let unreadable = |id| Unreadable { id: RollId(id), reason: "garbage".into() };
        let ids = |rows: &Rows| (rows.oldest().map(|id| id.0), rows.newest().map(|id| id.0));
        let mut rows = Rows::default();
        assert_eq!((ids(&rows), rows.is_empty()), ((None, None), true));
        rows.unreadable = vec![unreadable(5), unreadable(3)];
        assert_eq!((ids(&rows), rows.len()), ((Some(3), Some(5)), 2));
        rows.rolls = vec![roll(7), roll(6), roll(4)];
        assert_eq!((ids(&rows), rows.len()), ((Some(3), Some(7)), 5));
        let (oldest, newest) = edges(&rows.rolls, &rows.unreadable).expect("rows");
        assert_eq!(format!("{oldest} {newest}"), "3 7-1795397860123");
    }
}
