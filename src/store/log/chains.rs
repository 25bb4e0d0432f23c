//! Finds the roll that fixes a roll: the first one of its chain, or of the chain before.

use rusqlite::Connection;

use crate::roll::RollId;
use crate::seeds::Block;
use crate::store::StoreError;
use crate::store::log::runs::{
    SeedRun, chain_start_before, has_new_secret, has_new_secret_between, newest_run, run_before,
};

/// What fixes a roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The roll since which it is fixed.
    pub since: RollId,
    /// Whether that roll is a break: it begins a chain that the chain before did not announce.
    /// Draws across it are void.
    pub is_break: bool,
}

/// What fixes a stored or future roll, and how far rolls are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// What fixes the roll; `None` if nothing does yet.
    pub fixed: Option<Fixed>,
    /// The last roll that the newest chain fixes.
    pub last_fixed: RollId,
}

/// What fixes a roll. `None` if no roll has a seed.
///
/// # Errors
///
/// The database cannot be read.
pub fn chain(connection: &Connection, id: RollId) -> Result<Option<Chain>, StoreError> {
    let Some(newest) = newest_run(connection)? else { return Ok(None) };
    let Some(newest_start) = chain_start_before(connection, newest.last)? else { return Ok(None) };
    // The next roll gets its seed from the new secret, so nothing fixes it yet.
    let last_fixed = match has_new_secret(connection, Some(newest))? {
        true => newest.last,
        false => Block::of(newest_start.first).next().last(),
    };
    if id > last_fixed {
        return Ok(Some(Chain { fixed: None, last_fixed }));
    }
    let fixed = match chain_start_before(connection, id)? {
        Some(start) if Block::of(start.first) == Block::of(id) => {
            let before = chain_start_before(connection, start.first.previous())?;
            let announcing = match before {
                Some(before) if is_announced(connection, before, start)? => before,
                _ => start,
            };
            Some(fixed_by(connection, announcing)?)
        }
        // The chain announced the block of the roll.
        Some(start) if Block::of(start.first).next() == Block::of(id) => {
            Some(fixed_by(connection, start)?)
        }
        _ => None,
    };
    Ok(Some(Chain { fixed, last_fixed }))
}

/// What a chain fixes, by its first roll.
fn fixed_by(connection: &Connection, start: SeedRun) -> Result<Fixed, StoreError> {
    let is_break = match chain_start_before(connection, start.first.previous())? {
        Some(before) => !is_announced(connection, before, start)?,
        None => false,
    };
    Ok(Fixed { since: start.first, is_break })
}

/// Whether the chain `before` announced the next chain, which begins with `start`: it is in the next
/// block, and the secret is the same. Verifiers compute the anchor instead, with up to `2^20` hashes.
fn is_announced(
    connection: &Connection,
    before: SeedRun,
    start: SeedRun,
) -> Result<bool, StoreError> {
    let end = run_before(connection, start.first.previous())?;
    let is_next = Block::of(start.first) == Block::of(before.first).next();
    Ok(is_next && !has_new_secret_between(connection, end, start.first)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::seeds::{BLOCK_LEN, BlockSeeds, Secret};
    use crate::store::log::runs::note_new_secret;

    /// The seeds of the blocks 0, 1 and 2 of a secret.
    fn seeds(digit: &str) -> [BlockSeeds; 3] {
        let secret = Secret::parse(&format!("{}\n", digit.repeat(64))).expect("a secret");
        [1, 2, 3].map(|n| BlockSeeds::compute(&secret, Block::of(RollId(n * BLOCK_LEN))))
    }

    /// Stores the first roll of a chain.
    fn begin(connection: &Connection, block: &BlockSeeds, next: &BlockSeeds, first: i64) {
        let first = RollId(first);
        let (seed, next) = (block.clone().seed(first), Some(next.anchor()));
        SeedRun { first, last: first, seed, next }.save(connection).expect("a stored chain");
    }

    #[test]
    fn a_roll_is_fixed_by_its_chain_unless_a_new_secret_waits_and_a_break_stays_a_break() {
        let connection = Connection::open_in_memory().expect("a database");
        let sql = include_str!("../../../migrations/0001_rolls.sql");
        connection.execute_batch(sql).expect("the table of rolls");
        let sql = include_str!("../../../migrations/0006_log.sql");
        connection.execute_batch(sql).expect("the tables");
        let get = |id: i64| chain(&connection, RollId(id)).expect("a readable log");
        let fixed = |id: i64| {
            let fixed = get(id).expect("a chain").fixed;
            fixed.map(|Fixed { since, is_break }| (since.0, is_break))
        };
        let last_fixed = || get(1).expect("a chain").last_fixed.0;
        let (old, new) = (seeds("a"), seeds("b"));
        let (in_block_1, in_block_2) = (BLOCK_LEN + 5, 2 * BLOCK_LEN + 5);
        assert_eq!(get(1), None);

        begin(&connection, &old[0], &old[1], 1);
        let seed = old[0].clone().seed(RollId(300));
        let run = SeedRun { first: RollId(257), last: RollId(300), seed, next: None };
        run.save(&connection).expect("a stored run");
        assert_eq!([1, 300, 400, in_block_1].map(fixed), [Some((1, false)); 4]);
        assert_eq!((fixed(in_block_2), last_fixed()), (None, 2 * BLOCK_LEN));

        // A new secret, and its first roll is still to come.
        note_new_secret(&connection, RollId(300)).expect("a note");
        assert_eq!([1, 300].map(fixed), [Some((1, false)); 2]);
        assert_eq!([301, 400, in_block_1].map(fixed), [None; 3]);
        assert_eq!(last_fixed(), 300);

        begin(&connection, &new[0], &new[1], 301);
        assert_eq!([1, 300].map(fixed), [Some((1, false)); 2]);
        assert_eq!([301, 400, in_block_1].map(fixed), [Some((301, true)); 3]);
        assert_eq!((fixed(in_block_2), last_fixed()), (None, 2 * BLOCK_LEN));

        // The block that the broken chain announced. The break stays where it was.
        begin(&connection, &new[1], &new[2], BLOCK_LEN + 1);
        assert_eq!([301, BLOCK_LEN + 1, in_block_1].map(fixed), [Some((301, true)); 3]);
        assert_eq!(fixed(in_block_2), Some((BLOCK_LEN + 1, false)));
        assert_eq!(last_fixed(), 3 * BLOCK_LEN);
    }
}
