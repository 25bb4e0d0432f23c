//! Reading the history. Every query finds its rows by key: the cost does not depend on how many
//! rolls are stored, nor on how deep in the history they lie.

use rusqlite::{Connection, OptionalExtension, params};

use crate::cursor::Cursor;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::row::{self, Rows, Unreadable, edges};
use crate::store::times::{cursor_of, first_at, nearest_at, time};
use crate::store::{IdRange, Kept, Order, RollRange, StoreError};

/// A page of the history.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rolls, in the [`Order`] of the request.
    pub rolls: Vec<Roll>,
    /// The rows of the page that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Which rolls were stored at that moment.
    pub kept: Kept,
}

impl Page {
    /// The rows with the smallest and the greatest id. The cursor of a row that cannot be read has
    /// no time.
    pub fn edges(&self) -> Option<(Cursor, Cursor)> {
        edges(&self.rolls, &self.unreadable)
    }

    /// How many rows the page has, also such that cannot be read.
    pub fn n_rows(&self) -> usize {
        self.rolls.len() + self.unreadable.len()
    }
}

/// The end of the history.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The newest rolls, newest first.
    pub rolls: Vec<Roll>,
    /// Rows among them that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// The cursor of the newest roll that was ever stored, at that moment.
    pub head: Cursor,
}

impl Newest {
    /// The smallest id among the rows.
    pub fn oldest(&self) -> Option<RollId> {
        edges(&self.rolls, &self.unreadable).map(|(oldest, _)| oldest.id)
    }
}

/// The rows after `id`, oldest first.
///
/// # Errors
///
/// The database cannot be read.
pub fn after(connection: &Connection, id: RollId, limit: usize) -> Result<Rows, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 order by id limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(Rows::read(statement.query(params![id.0, limit as i64])?)?)
}

/// The first or last rows of a range.
///
/// # Errors
///
/// [`StoreError::OtherHistory`] if a bound belongs to another history; otherwise the database
/// cannot be read.
pub fn page(
    connection: &mut Connection,
    range: &RollRange,
    order: Order,
    limit: usize,
) -> Result<Page, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let ids = resolve(&transaction, range, kept)?;
    let Rows { rolls, unreadable } = match order {
        Order::OldestFirst => between(&transaction, ids, limit)?,
        Order::NewestFirst => last_rows(&transaction, ids, limit)?,
    };
    Ok(Page { rolls, unreadable, kept })
}

/// The rows of a range, oldest first.
///
/// # Errors
///
/// The database cannot be read.
pub fn between(connection: &Connection, ids: IdRange, limit: usize) -> Result<Rows, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 and id < ?2
               order by id limit ?3";
    rows(connection, sql, ids, limit)
}

/// The rows of a range, newest first.
///
/// # Errors
///
/// The database cannot be read.
pub fn last_rows(connection: &Connection, ids: IdRange, limit: usize) -> Result<Rows, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 and id < ?2
               order by id desc limit ?3";
    rows(connection, sql, ids, limit)
}

fn rows(
    connection: &Connection,
    sql: &str,
    ids: IdRange,
    limit: usize,
) -> Result<Rows, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    Ok(Rows::read(statement.query(params![ids.after.0, ids.before.0, limit as i64])?)?)
}

/// The ids of a range, of which `kept` are stored.
///
/// # Errors
///
/// [`StoreError::OtherHistory`] if a bound belongs to another history; otherwise the database
/// cannot be read.
pub fn resolve(
    connection: &Connection,
    range: &RollRange,
    kept: Kept,
) -> Result<IdRange, StoreError> {
    let head = kept.head.id;
    for cursor in range.after.iter().chain(&range.before) {
        let stored = time(connection, cursor.id)?.map(RolledAt::unix_millis);
        let of_another = match cursor.unix_millis {
            Some(unix_millis) => {
                cursor.id > head || stored.is_some_and(|stored| stored != unix_millis)
            }
            // Without a time, only an id that nobody can have seen tells.
            None => range.after.as_ref() == Some(cursor) && cursor.id > head,
        };
        if of_another {
            return Err(StoreError::OtherHistory(*cursor));
        }
    }
    let after = match (range.after, range.since) {
        (Some(cursor), _) => cursor.id,
        (None, Some(time)) => first_at(connection, kept, time)?.previous(),
        (None, None) => RollId::BEFORE_FIRST,
    };
    let before = range.before.map_or(head.next(), |cursor| cursor.id.min(head.next()));
    Ok(IdRange { after: after.max(kept.oldest.previous()), before })
}

/// The newest rows, newest first, and the head. Does not read the oldest, so that damage there
/// matters neither to the feed nor to its page.
///
/// # Errors
///
/// The database cannot be read.
pub fn newest(connection: &mut Connection, limit: usize) -> Result<Newest, StoreError> {
    // One transaction, so that both are of one moment.
    let transaction = connection.transaction()?;
    let head = head(&transaction)?;
    let sql = "select id, rolled_at, dice from rolls where id <= ?1 order by id desc limit ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = Rows::read(statement.query(params![head.id.0, limit as i64])?)?;
    Ok(Newest { rolls: rows.rolls, unreadable: rows.unreadable, head })
}

/// One roll, if it is stored, and which rolls are.
///
/// # Errors
///
/// [`StoreError::Unreadable`] if the row is damaged; otherwise the database cannot be read.
pub fn roll(connection: &mut Connection, id: RollId) -> Result<(Option<Roll>, Kept), StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let sql = "select id, rolled_at, dice from rolls where id = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let roll = statement.query_row([id.0], row::read).optional()?.transpose()?;
    Ok((roll, kept))
}

/// The cursor of a stored row, without a time if that cannot be read, and which rolls are stored.
///
/// # Errors
///
/// The database cannot be read.
pub fn cursor(
    connection: &mut Connection,
    id: RollId,
) -> Result<(Option<Cursor>, Kept), StoreError> {
    let transaction = connection.transaction()?;
    Ok((time(&transaction, id)?.map(|time| cursor_of(id, time)), kept(&transaction)?))
}

/// The roll with the earliest timestamp at or after `time`, else the newest roll; `None` if no roll is
/// stored.
///
/// # Errors
///
/// The database cannot be read.
pub fn at(connection: &mut Connection, time: RolledAt) -> Result<Option<RollId>, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    if kept.oldest > kept.head.id {
        return Ok(None);
    }
    Ok(Some(nearest_at(&transaction, kept, time)?.unwrap_or(kept.head.id)))
}

/// The cursor before the first roll, in order of the ids, whose timestamp is at or after `moment`, or
/// the head.
///
/// # Errors
///
/// The database cannot be read.
pub fn since(connection: &mut Connection, moment: RolledAt) -> Result<Cursor, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let last = first_at(&transaction, kept, moment)?.previous();
    Ok(time(&transaction, last)?.map_or(Cursor::from(last), |time| cursor_of(last, time)))
}

/// Which rolls are stored. The head comes from SQLite's own sequence, so that it never goes back,
/// whatever was deleted.
///
/// # Errors
///
/// The database cannot be read.
pub fn kept(connection: &Connection) -> Result<Kept, StoreError> {
    let head = head(connection)?;
    let sql = "select min(id) from rolls";
    let oldest: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(Kept { oldest: oldest.map_or(head.id.next(), RollId), head })
}

/// The newest roll that was ever stored. Does not read the oldest ones, whose page may be damaged.
///
/// # Errors
///
/// The database cannot be read.
pub fn head(connection: &Connection) -> Result<Cursor, StoreError> {
    let sql = "select seq from sqlite_sequence where name = 'rolls'";
    let head: Option<i64> =
        connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    let head = RollId(head.unwrap_or(RollId::BEFORE_FIRST.0));
    Ok(time(connection, head)?.map_or(Cursor::from(head), |time| cursor_of(head, time)))
}

/// The id of the next roll: never one that was used before, whatever was deleted.
///
/// # Errors
///
/// [`StoreError::Malformed`] if the greatest id is in use; otherwise the database cannot be read.
pub fn next_id(connection: &Connection) -> Result<RollId, StoreError> {
    let sql = "select max(coalesce((select seq from sqlite_sequence where name = 'rolls'), 0),
                          coalesce((select max(id) from rolls), 0))";
    let newest: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let next = newest.checked_add(1);
    let next = next.ok_or_else(|| StoreError::Malformed(format!("roll {newest}, the last id")))?;
    Ok(RollId(next))
}

/// Whether the row with the roll's id holds this roll; `None` if there is no such row. The row
/// need not be readable as a roll.
///
/// # Errors
///
/// The database cannot be read.
pub fn is_stored_as(connection: &Connection, roll: &Roll) -> Result<Option<bool>, StoreError> {
    let sql = "select rolled_at = ?2 and dice = ?3 from rolls where id = ?1";
    let values = params![roll.id.0, roll.rolled_at.to_string(), roll.dice.to_string()];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
}
