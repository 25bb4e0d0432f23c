//! The statistics as they are kept: read at the start, written with every roll.
//!
//! The writer holds all tallies in memory. With a roll it writes what that roll changed, in the
//! roll's own transaction, so that what is stored is always as of the newest roll. Reading them
//! costs a few rows a result, however many rolls there are.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use tracing::warn;

use crate::dice::Die;
use crate::roll::{Roll, RollId};
use crate::statistics::{Block, DieTally, ResultTally, Streak};
use crate::store::{StoreError, history};

/// Rolls that are counted in one transaction where many are not counted yet.
const N_AT_ONCE: usize = 50_000;

/// The tallies of all dice that were ever rolled.
#[derive(Default)]
pub struct Tallies {
    /// The last roll that is counted.
    last_id: RollId,
    dice: BTreeMap<String, DieTally>,
}

impl Tallies {
    /// Those that are stored.
    pub fn load(connection: &Connection) -> Result<Tallies, StoreError> {
        let mut tallies = Tallies::default();
        let sql = "select die, last_id, n_rolls, total, streak_result, streak_length,
                          longest_result, longest_length, longest_id, log_e, highest_log_e,
                          alarm_id, n_block_rolls, n_blocks, block_id, block_chi_square, block_p
                   from die_statistics order by die";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let mut tally = DieTally::new(die(&name)?);
            tally.last_id = RollId(row.get(1)?);
            (tally.n_rolls, tally.total) = (row.get(2)?, row.get(3)?);
            tally.streak = Streak { result: row.get(4)?, length: row.get(5)? };
            tally.longest = Streak { result: row.get(6)?, length: row.get(7)? };
            tally.longest_id = RollId(row.get(8)?);
            (tally.log_e, tally.highest_log_e) = (row.get(9)?, row.get(10)?);
            tally.alarm_id = row.get::<_, Option<i64>>(11)?.map(RollId);
            (tally.n_block_rolls, tally.n_blocks) = (row.get(12)?, row.get(13)?);
            if let Some(id) = row.get::<_, Option<i64>>(14)? {
                let (chi_square, p) = (row.get(15)?, row.get(16)?);
                tally.block = Some(Block { id: RollId(id), chi_square, p });
            }
            tallies.last_id = tallies.last_id.max(tally.last_id);
            tallies.dice.insert(name, tally);
        }
        tallies.load_parts(connection)?;
        Ok(tallies)
    }

    fn load_parts(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let sql = "select die, result, n_rolls, last_n, longest_drought
                   from result_statistics order by die, result";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (tally, result) = (self.known(row.get(0)?)?, row.get(1)?);
            let index = tally.fair.index(result);
            let index = index.ok_or_else(|| malformed(tally.die, "result", result))?;
            tally.results[index] = ResultTally {
                n_rolls: row.get(2)?,
                last_n: row.get(3)?,
                longest_drought: row.get(4)?,
            };
        }
        for (table, part, parts) in
            [("block_cells", "cell", Parts::Cells), ("p_value_bins", "bin", Parts::PValues)]
        {
            let count = if part == "cell" { "n_rolls" } else { "n_blocks" };
            let sql = format!("select die, {part}, {count} from {table} order by die, {part}");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (tally, index): (_, usize) = (self.known(row.get(0)?)?, row.get(1)?);
                let place = match parts {
                    Parts::Cells => tally.cells.get_mut(index),
                    Parts::PValues => tally.p_values.get_mut(index),
                };
                let die = tally.die;
                *place.ok_or_else(|| malformed(die, part, index as u32))? = row.get(2)?;
            }
        }
        Ok(())
    }

    fn known(&mut self, name: String) -> Result<&mut DieTally, StoreError> {
        self.dice
            .get_mut(&name)
            .ok_or_else(|| StoreError::Malformed(format!("statistics of `{name}` without a whole")))
    }

    /// Of all dice, by name.
    pub fn into_dice(self) -> (RollId, Vec<DieTally>) {
        (self.last_id, self.dice.into_values().collect())
    }

    /// Counts the newest roll and stores what that changes. Also those before it that somebody
    /// else stored meanwhile.
    ///
    /// After an error memory is ahead of the database: load anew.
    pub fn append(&mut self, connection: &Connection, roll: &Roll) -> Result<(), StoreError> {
        if self.last_id.next() != roll.id {
            while self.last_id < roll.id && self.count_some(connection)? {}
            return Ok(());
        }
        for (name, index, n_blocks) in self.add(roll) {
            let tally = &self.dice[&name];
            store_die(connection, &name, tally)?;
            store_result(connection, &name, tally, index)?;
            if tally.n_blocks == n_blocks {
                let cell = tally.fair.cell(index);
                store_cell(connection, &name, tally, cell)?;
            } else {
                store_block(connection, &name, tally)?;
            }
        }
        Ok(())
    }

    /// Counts some rolls that are stored but not counted: whether there were any.
    pub fn count_some(&mut self, connection: &Connection) -> Result<bool, StoreError> {
        let rolls = history::each_after(connection, self.last_id, N_AT_ONCE)?;
        if rolls.is_empty() {
            return Ok(false);
        }
        for (id, roll) in rolls {
            match roll {
                Ok(roll) => drop(self.add(&roll)),
                // One that no rollcast wrote must not end all that is to come.
                Err(error) => {
                    self.last_id = id;
                    warn!(roll.id = id.0, "roll {id} is left out of the statistics: {error}");
                }
            }
        }
        for (name, tally) in &self.dice {
            store_die(connection, name, tally)?;
            for (index, result) in tally.results.iter().enumerate() {
                if result.n_rolls > 0 {
                    store_result(connection, name, tally, index)?;
                }
            }
            store_block(connection, name, tally)?;
            for cell in 0..tally.cells.len() {
                store_cell(connection, name, tally, cell)?;
            }
        }
        Ok(true)
    }

    /// The last roll that is counted.
    pub fn last_id(&self) -> RollId {
        self.last_id
    }

    /// What changed: the die, the place of its result, and how many blocks it had before.
    fn add(&mut self, roll: &Roll) -> Vec<(String, usize, u64)> {
        self.last_id = roll.id;
        let mut changed = Vec::with_capacity(roll.dice.0.len());
        for face in &roll.dice.0 {
            let name = face.die.to_string();
            let tally = self.dice.entry(name.clone()).or_insert_with(|| DieTally::new(face.die));
            let n_blocks = tally.n_blocks;
            if let Some(index) = tally.add(roll.id, face.result) {
                changed.push((name, index, n_blocks));
            }
        }
        changed
    }
}

#[derive(Clone, Copy)]
enum Parts {
    Cells,
    PValues,
}

fn die(name: &str) -> Result<Die, StoreError> {
    name.parse().map_err(|error| StoreError::Malformed(format!("statistics: {error}")))
}

fn malformed(die: Die, what: &str, value: u32) -> StoreError {
    StoreError::Malformed(format!("statistics of {die} with {what} {value}"))
}

fn store_die(connection: &Connection, name: &str, tally: &DieTally) -> Result<(), StoreError> {
    let sql = "insert or replace into die_statistics
                 (die, last_id, n_rolls, total, streak_result, streak_length,
                  longest_result, longest_length, longest_id, log_e, highest_log_e,
                  alarm_id, n_block_rolls, n_blocks, block_id, block_chi_square, block_p)
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    connection.prepare_cached(sql)?.execute(params![
        name,
        tally.last_id.0,
        tally.n_rolls,
        tally.total,
        tally.streak.result,
        tally.streak.length,
        tally.longest.result,
        tally.longest.length,
        tally.longest_id.0,
        tally.log_e,
        tally.highest_log_e,
        tally.alarm_id.map(|id| id.0),
        tally.n_block_rolls,
        tally.n_blocks,
        tally.block.map(|block| block.id.0),
        tally.block.map(|block| block.chi_square),
        tally.block.map(|block| block.p),
    ])?;
    Ok(())
}

fn store_result(
    connection: &Connection,
    name: &str,
    tally: &DieTally,
    index: usize,
) -> Result<(), StoreError> {
    let sql = "insert or replace into result_statistics
                 (die, result, n_rolls, last_n, longest_drought)
               values (?1, ?2, ?3, ?4, ?5)";
    let ResultTally { n_rolls, last_n, longest_drought } = tally.results[index];
    let values = params![name, tally.fair.result(index), n_rolls, last_n, longest_drought];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn store_cell(
    connection: &Connection,
    name: &str,
    tally: &DieTally,
    cell: usize,
) -> Result<(), StoreError> {
    let sql = "insert or replace into block_cells (die, cell, n_rolls) values (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![name, cell, tally.cells[cell]])?;
    Ok(())
}

/// A block was completed: the next one has no rolls, and one p-value more is known.
fn store_block(connection: &Connection, name: &str, tally: &DieTally) -> Result<(), StoreError> {
    connection.prepare_cached("delete from block_cells where die = ?1")?.execute([name])?;
    let sql = "insert or replace into p_value_bins (die, bin, n_blocks) values (?1, ?2, ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    for (bin, n_blocks) in tally.p_values.iter().enumerate() {
        statement.execute(params![name, bin, n_blocks])?;
    }
    Ok(())
}

/// The last roll that is counted.
pub fn last_id(connection: &Connection) -> Result<RollId, StoreError> {
    let sql = "select ifnull(max(last_id), 0) from die_statistics";
    Ok(RollId(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?))
}

/// Whether this database keeps statistics: one of an older schema does not yet.
pub fn are_kept(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "select 1 from sqlite_schema where name = 'die_statistics'";
    Ok(connection.query_row(sql, [], |_| Ok(())).optional()?.is_some())
}
