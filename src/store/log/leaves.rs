//! Leaves, computed from the rows of rolls and the runs of seeds.

use rusqlite::Connection;

use crate::dice::{Dice, Die};
use crate::draw;
use crate::log::{Leaf, is_roll};
use crate::roll::{Roll, RollId};
use crate::seeds::Seed;
use crate::store::log::runs::{SeedRun, first_of, run_before, runs_of};
use crate::store::{IdRange, StoreError, history};

/// The leaves of a tile up to and including `last`, which is in it.
///
/// # Errors
///
/// The database cannot be read.
pub fn leaves(connection: &Connection, tile: u64, last: RollId) -> Result<Vec<Leaf>, StoreError> {
    let first = first_of(tile);
    let ids = IdRange { after: first.previous(), before: last.next() };
    let rows = history::between(connection, ids, (last.0 - first.0) as usize + 1)?;
    let mut leaves: Vec<Leaf> = (first.0..=last.0).map(|id| Leaf::Missing(RollId(id))).collect();
    for roll in rows.rolls.into_iter().filter(|roll| is_roll(&roll.dice)) {
        let place = (roll.id.0 - first.0) as usize;
        leaves[place] = Leaf::Unproven(roll);
    }
    for run in runs_of(connection, tile)? {
        add_seeds(&mut leaves, first, last, run);
    }
    Ok(leaves)
}

/// Adds the seeds of a run to the leaves from `first` to `last`.
fn add_seeds(leaves: &mut [Leaf], first: RollId, last: RollId, run: SeedRun) {
    let mut seed = run.seed;
    for id in (run.first.0..=run.last.0).rev() {
        if id <= last.0 {
            let leaf = &mut leaves[(id - first.0) as usize];
            let next = run.next.filter(|_| id == run.first.0);
            if let Leaf::Unproven(roll) = leaf {
                let roll: Roll = roll.clone();
                *leaf = Leaf::Proven { roll, seed, next };
            }
        }
        seed = seed.previous();
    }
}

/// Whether the results of a roll follow from a seed.
pub fn follows(roll: &Roll, seed: Seed) -> bool {
    let dice: Vec<Die> = roll.dice.0.iter().map(|result| result.die).collect();
    Dice::try_from(dice).is_ok_and(|dice| draw::results(seed, roll.id, &dice) == roll.dice)
}

/// Removes the seeds of those `leaves` of a tile, from the roll `from` on, whose dice do not follow
/// from them: somebody changed or deleted these rolls before they were in the log. A roll that
/// announced an anchor passes it on to the next roll of its chain. Returns whether any was removed.
///
/// # Errors
///
/// The error of SQLite.
pub fn drop_false_seeds(
    transaction: &Connection,
    tile: u64,
    from: RollId,
    leaves: &[Leaf],
) -> Result<bool, StoreError> {
    let is_true = |id: RollId| {
        let leaf = leaves.get((id.0 - first_of(tile).0) as usize);
        id < from || matches!(leaf, Some(Leaf::Proven { roll, seed, .. }) if follows(roll, *seed))
    };
    let (mut any, mut announced) = (false, None);
    for run in runs_of(transaction, tile)? {
        let ids: Vec<RollId> = (run.first.0..=run.last.0).map(RollId).collect();
        if announced.is_none() && ids.iter().all(|id| is_true(*id)) {
            continue;
        }
        any = true;
        run.delete(transaction)?;
        announced = run.next.or(announced);
        for part in ids.chunk_by(|a, b| is_true(*a) == is_true(*b)) {
            let (first, last) = (part[0], part[part.len() - 1]);
            if is_true(first) {
                let seed = run.seed.back((run.last.0 - last.0) as u64);
                SeedRun { first, last, seed, next: announced.take() }.save(transaction)?;
            }
        }
    }
    Ok(any)
}

/// The leaf of a roll.
///
/// # Errors
///
/// The database cannot be read.
pub fn leaf(connection: &Connection, id: RollId) -> Result<Leaf, StoreError> {
    let ids = IdRange { after: id.previous(), before: id.next() };
    let roll = history::between(connection, ids, 1)?.rolls.pop();
    let Some(roll) = roll.filter(|roll| is_roll(&roll.dice)) else { return Ok(Leaf::Missing(id)) };
    let run = run_before(connection, id)?.filter(|run| id <= run.last);
    let Some(SeedRun { first, last, seed, next }) = run else { return Ok(Leaf::Unproven(roll)) };
    let seed = seed.back((last.0 - id.0) as u64);
    Ok(Leaf::Proven { roll, seed, next: next.filter(|_| id == first) })
}
