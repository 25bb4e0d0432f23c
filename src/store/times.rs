//! The times of rows, and rows by time.

use rusqlite::{Connection, OptionalExtension};

use crate::cursor::Cursor;
use crate::roll::{RollId, RolledAt};
use crate::store::{IdRange, Kept, Order, StoreError};

/// The time of a stored row; `None` if it is not stored or cannot be read.
///
/// # Errors
///
/// The database cannot be read.
pub fn time(connection: &Connection, id: RollId) -> Result<Option<RolledAt>, StoreError> {
    let sql = "select rolled_at from rolls where id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let time = statement.query_row([id.0], |row| {
        Ok(row.get_ref(0)?.as_str().ok().and_then(|text| text.parse().ok()))
    });
    Ok(time.optional()?.flatten())
}

/// The cursor of a row, without a time if that cannot be read.
///
/// # Errors
///
/// The database cannot be read.
pub fn cursor_at(connection: &Connection, id: RollId) -> Result<Cursor, StoreError> {
    Ok(time(connection, id)?.map_or(Cursor::from(id), |time| cursor_of(id, time)))
}

/// The cursor of a row with this time.
pub fn cursor_of(id: RollId, time: RolledAt) -> Cursor {
    Cursor { id, unix_millis: Some(time.unix_millis()) }
}

/// The first stored roll at or after `moment`, or the next one.
///
/// # Errors
///
/// The database cannot be read.
pub fn first_at(
    connection: &Connection,
    kept: Kept,
    moment: RolledAt,
) -> Result<RollId, StoreError> {
    let (mut low, mut high) = (kept.oldest.0, kept.head.id.next().0);
    while low < high {
        let middle = low + (high - low) / 2;
        // The row in the middle may be missing, or its time may be unreadable. Then the next one
        // with a time decides.
        let ids = IdRange { after: RollId(middle - 1), before: RollId(high) };
        match first_time(connection, ids, Order::OldestFirst)? {
            Some((id, time)) if time < moment => low = id.0 + 1,
            _ => high = middle,
        }
    }
    Ok(RollId(low))
}

/// The first row of a range, in this order, whose time can be read.
///
/// # Errors
///
/// The database cannot be read.
pub fn first_time(
    connection: &Connection,
    ids: IdRange,
    order: Order,
) -> Result<Option<(RollId, RolledAt)>, StoreError> {
    let sql = match order {
        Order::OldestFirst => {
            "select id, rolled_at from rolls where id > ?1 and id < ?2 order by id"
        }
        Order::NewestFirst => {
            "select id, rolled_at from rolls where id > ?1 and id < ?2 order by id desc"
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([ids.after.0, ids.before.0])?;
    while let Some(row) = rows.next()? {
        if let Some(time) = row.get_ref(1)?.as_str().ok().and_then(|text| text.parse().ok()) {
            return Ok(Some((RollId(row.get(0)?), time)));
        }
    }
    Ok(None)
}
