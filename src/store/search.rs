//! Looking for rolls: of a day, with a result.
//!
//! A day is found by halving. A result is found by walking along the rolls, at most so many at a
//! time: at 0.3 to 0.8 µs a roll the bound keeps a page within its 5 ms however large the history
//! is and however rare the result, and whoever wants more goes on from where the walk ended. An
//! index over the faces would find the rarest at once, but cost a row a die and so about as much
//! space and writing as the rolls themselves, for ever and for all.

use rusqlite::{Connection, OptionalExtension, params};

use crate::dice::DieResult;
use crate::roll::{Roll, RollId};
use crate::store::history::{find, first_at, kept, roll_of};
use crate::store::{Found, Search, Span, StoreError};

/// Rolls that are looked at for one page.
pub const N_LOOKED_AT: i64 = 5_000;

pub fn search(
    connection: &mut Connection,
    search: &Search,
    limit: usize,
) -> Result<Found, StoreError> {
    // One transaction, so that the rows and the links around them belong together.
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let mut all = Span { after: kept.oldest.previous(), before: kept.head.id.next() };
    if let Some((from, until)) = search.day {
        all.after = first_at(&transaction, kept, from)?.previous();
        all.before = first_at(&transaction, kept, until)?;
    }
    let mut span = Span {
        after: search.after.unwrap_or(all.after).clamp(all.after, all.before.previous()),
        before: search.before.unwrap_or(all.before).clamp(all.after.next(), all.before),
    };
    let upward = search.after.is_some() && search.before.is_none();
    let n = if search.face.is_some() { N_LOOKED_AT } else { limit as i64 };
    if upward {
        span.before = span.before.min(RollId(span.after.0.saturating_add(n + 1)));
    } else {
        span.after = span.after.max(RollId(span.before.0.saturating_sub(n + 1)));
    }
    let rolls = walk(&transaction, span, search.face, limit, upward)?;
    // A full page ends at its last roll, wherever the walk could have gone on to.
    if let (Some(newest), Some(oldest), true) = (rolls.first(), rolls.last(), rolls.len() == limit)
    {
        if upward {
            span.before = newest.id.next();
        } else {
            span.after = oldest.id.previous();
        }
    }
    let n_ever = search.face.map(|face| n_ever(&transaction, face)).transpose()?;
    let moment = |id| Ok::<_, StoreError>(find(&transaction, id)?.map(|roll| roll.rolled_at));
    let days = (moment(kept.oldest)?, moment(kept.head.id)?);
    let days = Option::zip(days.0, days.1);
    Ok(Found { rolls, kept, all, looked_at: span, n_ever, kept_from_to: days })
}

/// The rolls with that face, newest first.
fn walk(
    connection: &Connection,
    span: Span,
    face: Option<DieResult>,
    limit: usize,
    upward: bool,
) -> Result<Vec<Roll>, StoreError> {
    let (path, result) = match face {
        Some(face) => (format!("$.\"{}\"", face.die), Some(face.result)),
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
    let values = params![span.after.0, span.before.0, path, result, limit as i64];
    let rolls = statement.query_map(values, |row| Ok(roll_of(row)))?;
    let mut rolls = rolls.map(|roll| roll?).collect::<Result<Vec<Roll>, StoreError>>()?;
    if upward {
        rolls.reverse();
    }
    Ok(rolls)
}

/// How often a die showed a face, of all time.
fn n_ever(connection: &Connection, face: DieResult) -> Result<u64, StoreError> {
    let sql = "select n_rolls from tallies where die = ?1 and face = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![face.die.to_string(), face.result];
    let n_rolls: Option<i64> = statement.query_row(values, |row| row.get(0)).optional()?;
    Ok(u64::try_from(n_rolls.unwrap_or(0)).unwrap_or(0))
}
