//! A range of the history for a download: which ids it has, and which dice.

use rusqlite::Connection;

use crate::dice::Die;
use crate::roll::RollId;
use crate::store::history::{between, kept, last_rows, resolve};
use crate::store::{IdRange, Order, RollRange, StoreError, statistics};

/// A range of the history at one moment: it does not grow.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The ids of its rolls.
    pub ids: IdRange,
    /// The last of its rolls that can be read; [`RollId::BEFORE_FIRST`] if there is none.
    pub last: RollId,
    /// The rows before its first and after its last roll that can be read.
    pub unreadable_ends: Vec<RollId>,
    /// The dice of all rolls ever stored, by number and sides.
    pub dice: Vec<Die>,
}

/// The ids of a range at this moment, and the dice of all rolls.
///
/// `counted` holds a roll and all dice that were rolled up to it, where the caller knows them.
///
/// # Errors
///
/// [`StoreError::OtherHistory`] if a bound belongs to another history; otherwise the database
/// cannot be read.
pub fn extent(
    connection: &mut Connection,
    range: &RollRange,
    counted: Option<(RollId, Vec<Die>)>,
) -> Result<Extent, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let ids = resolve(&transaction, range, kept)?;
    let (first, mut unreadable_ends) = end(&transaction, ids, Order::OldestFirst)?;
    let mut last = RollId::BEFORE_FIRST;
    if let Some(first) = first {
        let others = IdRange { after: first.previous(), ..ids };
        let (found, unreadable) = end(&transaction, others, Order::NewestFirst)?;
        last = found.unwrap_or(first);
        unreadable_ends.extend(unreadable.into_iter().rev());
    }
    Ok(Extent { ids, last, unreadable_ends, dice: dice(&transaction, counted)? })
}

/// The first roll in this order that can be read, and the rows before it that cannot.
fn end(
    connection: &Connection,
    mut ids: IdRange,
    order: Order,
) -> Result<(Option<RollId>, Vec<RollId>), StoreError> {
    let mut unreadable = Vec::new();
    loop {
        let rows = match order {
            Order::OldestFirst => between(connection, ids, 1)?,
            Order::NewestFirst => last_rows(connection, ids, 1)?,
        };
        if let Some(roll) = rows.rolls.first() {
            return Ok((Some(roll.id), unreadable));
        }
        let Some(row) = rows.unreadable.first() else { return Ok((None, unreadable)) };
        match order {
            Order::OldestFirst => ids.after = row.id,
            Order::NewestFirst => ids.before = row.id,
        }
        unreadable.push(row.id);
    }
}

/// The dice of all rolls ever stored, by number and sides. Names that are no dice are left out.
fn dice(
    connection: &Connection,
    counted: Option<(RollId, Vec<Die>)>,
) -> Result<Vec<Die>, StoreError> {
    let (last_id, mut dice) = counted.unwrap_or((RollId::BEFORE_FIRST, Vec::new()));
    let sql = if last_id > RollId::BEFORE_FIRST {
        "select d.key from rolls r, json_each(case when json_valid(r.dice) then r.dice else '{}' end) d
         where r.id > ?1"
    } else if statistics::exists(connection, "projections")? {
        "select die from die_statistics
         union all select d.key
         from rolls r, json_each(case when json_valid(r.dice) then r.dice else '{}' end) d
         where r.id > (select last_id from projections where name = 'statistics') and ?1 = 0"
    } else {
        // An older schema counted with every roll.
        "select distinct die from tallies where ?1 = 0"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map([last_id.0], |row| row.get::<_, String>(0))?;
    let names = names.collect::<Result<Vec<String>, _>>()?;
    dice.extend(names.iter().filter_map(|name| name.parse::<Die>().ok()));
    dice.sort_by_key(|die| (die.n_dice(), die.n_sides()));
    dice.dedup();
    Ok(dice)
}
