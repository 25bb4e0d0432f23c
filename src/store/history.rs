//! Reading the history. Every query finds its rows by key: the cost does not depend on how many
//! rolls are stored, nor on how deep in the history they lie.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::roll::{Cursor, Die, Face, Faces, Roll, RollId, RolledAt};
use crate::store::{Kept, Page, StoreError};

pub fn after(connection: &Connection, id: RollId, limit: usize) -> Result<Vec<Roll>, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 order by id limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rolls = statement.query_map(params![id.0, limit as i64], |row| Ok(roll_of(row)))?;
    rolls.map(|roll| roll?).collect()
}

pub fn page(
    connection: &mut Connection,
    before: Option<RollId>,
    limit: usize,
) -> Result<Page, StoreError> {
    // One transaction, so that the rows and the links around them belong together.
    let transaction = connection.transaction()?;
    let before = before.unwrap_or(RollId(i64::MAX));
    let sql = "select id, rolled_at, dice from rolls where id < ?1 order by id desc limit ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rolls = statement.query_map(params![before.0, limit as i64], |row| Ok(roll_of(row)))?;
    let rolls = rolls.map(|roll| roll?).collect::<Result<Vec<Roll>, StoreError>>()?;
    let kept = kept(&transaction)?;
    Ok(Page { rolls, kept })
}

pub fn roll(connection: &mut Connection, id: RollId) -> Result<(Option<Roll>, Kept), StoreError> {
    let transaction = connection.transaction()?;
    Ok((find(&transaction, id)?, kept(&transaction)?))
}

/// By halving the range of ids: they have no gaps, and moments grow with them.
pub fn at(connection: &mut Connection, moment: RolledAt) -> Result<Option<RollId>, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    if kept.oldest > kept.head.id {
        return Ok(None);
    }
    let (mut low, mut high) = (kept.oldest.0, kept.head.id.0);
    while low < high {
        let middle = low + (high - low) / 2;
        // A row that is missing in the middle, deleted by hand, counts as too early.
        let too_early = find(&transaction, RollId(middle))?.is_none_or(|r| r.rolled_at < moment);
        if too_early {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(Some(RollId(low)))
}

/// Which rolls are kept. The head comes from SQLite's own sequence, so that it never goes back,
/// whatever was deleted.
pub fn kept(connection: &Connection) -> Result<Kept, StoreError> {
    let sql = "select seq from sqlite_sequence where name = 'rolls'";
    let head: Option<i64> =
        connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    let head = RollId(head.unwrap_or(RollId::BEFORE_FIRST.0));
    let sql = "select min(id) from rolls";
    let oldest: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(Kept {
        oldest: oldest.map_or(head.next(), RollId),
        head: find(connection, head)?.map_or(Cursor::from(head), |roll| roll.cursor()),
    })
}

fn find(connection: &Connection, id: RollId) -> Result<Option<Roll>, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([id.0], |row| Ok(roll_of(row))).optional()?.transpose()
}

/// The roll of a row with the columns id, rolled_at and dice.
pub fn roll_of(row: &Row<'_>) -> Result<Roll, StoreError> {
    let id = RollId(row.get(0)?);
    let (rolled_at, dice): (String, String) = (row.get(1)?, row.get(2)?);
    let malformed = |why: &dyn fmt::Display| StoreError::Malformed(format!("roll {id}: {why}"));
    Ok(Roll {
        id,
        rolled_at: rolled_at.parse().map_err(|error| malformed(&error))?,
        dice: faces(&dice).map_err(|error| malformed(&error))?,
    })
}

/// Reads a flat JSON object of die names and results, in its own order.
fn faces(json: &str) -> Result<Faces, serde_json::Error> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Faces;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of die names and results")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Faces, A::Error> {
            let mut faces = Vec::with_capacity(pairs.size_hint().unwrap_or(2));
            while let Some((name, result)) = pairs.next_entry::<&str, u32>()? {
                let die = name.parse::<Die>().map_err(serde::de::Error::custom)?;
                faces.push(Face { die, result });
            }
            Ok(Faces(faces))
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(json);
    let faces = deserializer.deserialize_map(Pairs)?;
    deserializer.end()?;
    Ok(faces)
}
