//! The times of rows, and rows by time.

use rusqlite::{Connection, OptionalExtension};

use crate::cursor::Cursor;
use crate::roll::{RollId, RolledAt};
use crate::store::clock_steps::runs;
use crate::store::{IdRange, IdRanges, Kept, Order, StoreError};

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

/// The place of the first roll, in order of the ids, whose timestamp is at or after `moment`: no roll
/// before it has such a timestamp. After the head if there is none.
///
/// # Errors
///
/// The database cannot be read.
pub fn first_at(
    connection: &Connection,
    kept: Kept,
    moment: RolledAt,
) -> Result<RollId, StoreError> {
    for run in runs(connection, kept)? {
        let newest = first_time(connection, run, Order::NewestFirst)?;
        if newest.is_some_and(|(_, newest)| newest >= moment) {
            return first_in_run(connection, run, moment);
        }
    }
    Ok(kept.head.id.next())
}

/// The roll with the earliest timestamp at or after `moment`.
///
/// # Errors
///
/// The database cannot be read.
pub fn nearest_at(
    connection: &Connection,
    kept: Kept,
    moment: RolledAt,
) -> Result<Option<RollId>, StoreError> {
    let mut nearest: Option<(RollId, RolledAt)> = None;
    for run in runs(connection, kept)? {
        let end = |order| first_time(connection, run, order);
        let (oldest, newest) = (end(Order::OldestFirst)?, end(Order::NewestFirst)?);
        let Some((oldest, newest)) = Option::zip(oldest, newest) else { continue };
        if newest.1 < moment {
            continue;
        }
        // Most runs lie on one side of the moment. Only the others need a search.
        let first = if oldest.1 >= moment {
            Some(oldest)
        } else {
            let after = first_in_run(connection, run, moment)?.previous();
            first_time(connection, IdRange { after, ..run }, Order::OldestFirst)?
        };
        if let Some((id, time)) = first
            && nearest.is_none_or(|(_, nearest)| time < nearest)
        {
            nearest = Some((id, time));
        }
    }
    Ok(nearest.map(|(id, _)| id))
}

/// Rolls by time.
pub struct Period {
    /// The rolls whose timestamps lie in the period.
    pub ids: IdRanges,
    /// The earliest and the latest timestamp of all stored rolls.
    pub kept: Option<(RolledAt, RolledAt)>,
}

/// The rolls from a time on, before another one.
///
/// # Errors
///
/// The database cannot be read.
pub fn period(
    connection: &Connection,
    kept: Kept,
    (from, until): (RolledAt, RolledAt),
) -> Result<Period, StoreError> {
    let (mut ranges, mut times) = (Vec::new(), Vec::new());
    // Where the period would be, if it has no rolls: as in `first_at`.
    let mut place = None;
    for run in runs(connection, kept)? {
        let end = |order| first_time(connection, run, order);
        let (oldest, newest) = (end(Order::OldestFirst)?, end(Order::NewestFirst)?);
        let Some(((_, oldest), (_, newest))) = Option::zip(oldest, newest) else { continue };
        times.extend([oldest, newest]);
        let has_rolls = oldest < until && newest >= from;
        if !has_rolls && (place.is_some() || newest < until) {
            continue;
        }
        let before = first_in_run(connection, run, until)?;
        if newest >= until {
            place.get_or_insert(before);
        }
        if has_rolls {
            let after = first_in_run(connection, run, from)?.previous();
            ranges.push(IdRange { after, before });
        }
    }
    let ids = IdRanges::new(ranges, place.unwrap_or(kept.head.id.next()));
    let kept = Option::zip(times.iter().min().copied(), times.iter().max().copied());
    Ok(Period { ids, kept })
}

/// The first roll of a run at or after `moment`, or the place after the run. By binary search:
/// timestamps within a run grow with ids.
fn first_in_run(
    connection: &Connection,
    run: IdRange,
    moment: RolledAt,
) -> Result<RollId, StoreError> {
    let (mut low, mut high) = (run.after.next().0, run.before.0);
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
