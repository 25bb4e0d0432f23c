//! The statistics in the database: loading them, and saving the changes since the last save.
//!
//! Loading reads a few rows per result, however many rolls there are.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};

use crate::dice::Die;
use crate::roll::RollId;
use crate::statistics::{Block, Change, DieTally, Peak, ResultTally, Streak, Tallies};
use crate::store::StoreError;

/// The name of the statistics in the table `projections`.
const NAME: &str = "statistics";

/// Loads the saved tallies: those before the first roll, for a schema that has none.
///
/// # Errors
///
/// The database cannot be read.
pub fn load(connection: &Connection) -> Result<Tallies, StoreError> {
    if !exists(connection, "die_statistics")? {
        return Ok(Tallies::default());
    }
    let mut tallies = load_dice(connection)?;
    load_results(connection, &mut tallies)?;
    load_peaks(connection, &mut tallies)?;
    let sql = "select die, cell, n_rolls from block_cells order by die, cell";
    load_counts(connection, sql, &mut tallies, |tally| &mut tally.cells)?;
    let sql = "select die, bin, n_blocks from p_value_bins order by die, bin";
    load_counts(connection, sql, &mut tallies, |tally| &mut tally.p_values)?;
    Ok(Tallies::new(last_id(connection)?, tallies.into_values()))
}

/// The last roll that the saved statistics include.
fn last_id(connection: &Connection) -> Result<RollId, StoreError> {
    let newest = "select ifnull(max(last_id), 0) from die_statistics";
    // Schema 2 saved them with every roll.
    if !exists(connection, "projections")? {
        return Ok(RollId(connection.query_row(newest, [], |row| row.get(0))?));
    }
    let sql = "select last_id from projections where name = ?1";
    match connection.query_row(sql, [NAME], |row| row.get(0)).optional()? {
        Some(last_id) => Ok(RollId(last_id)),
        // Somebody deleted the row. Start at 0, and every roll would count twice.
        None => Ok(RollId(connection.query_row(newest, [], |row| row.get(0))?)),
    }
}

/// Whether the schema has a table or view of this name.
///
/// # Errors
///
/// The database cannot be read.
pub fn exists(connection: &Connection, name: &str) -> Result<bool, StoreError> {
    let sql = "select 1 from sqlite_schema where name = ?1";
    Ok(connection.prepare_cached(sql)?.exists([name])?)
}

/// The tallies by die, without their parts. Rows of dice that do not exist are left out.
fn load_dice(connection: &Connection) -> Result<BTreeMap<String, DieTally>, StoreError> {
    let mut tallies = BTreeMap::new();
    let sql = "select die, last_id, n_rolls, total, streak_result, streak_length,
                      longest_result, longest_length, longest_id, log_e, highest_log_e,
                      alarm_id, n_block_rolls, n_blocks, block_id, block_chi_square, block_p
               from die_statistics order by die";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let Ok(die) = name.parse::<Die>() else { continue };
        let mut tally = DieTally::new(die);
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
        tallies.insert(name, tally);
    }
    Ok(tallies)
}

fn load_results(
    connection: &Connection,
    tallies: &mut BTreeMap<String, DieTally>,
) -> Result<(), StoreError> {
    let sql = "select die, result, n_rolls, last_n, longest_drought
               from result_statistics order by die, result";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Some(tally) = tallies.get_mut(row.get_ref(0)?.as_str().unwrap_or_default()) else {
            continue;
        };
        let Some(index) = tally.fair.index(row.get(1)?) else { continue };
        tally.results[index] =
            ResultTally { n_rolls: row.get(2)?, last_n: row.get(3)?, longest_drought: row.get(4)? };
    }
    Ok(())
}

fn load_peaks(
    connection: &Connection,
    tallies: &mut BTreeMap<String, DieTally>,
) -> Result<(), StoreError> {
    // Schema 7 began with them.
    if !exists(connection, "evidence_peaks")? {
        return Ok(());
    }
    let sql = "select die, last_n, log_e from evidence_peaks order by die, last_n";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let die: String = row.get(0)?;
        if let Some(tally) = tallies.get_mut(&die) {
            tally.peaks.push(Peak { last_n: row.get(1)?, log_e: row.get(2)? });
        }
    }
    Ok(())
}

/// Loads rows of a die, an index and a count into the `counts` of each tally.
fn load_counts(
    connection: &Connection,
    sql: &str,
    tallies: &mut BTreeMap<String, DieTally>,
    counts: impl Fn(&mut DieTally) -> &mut [u64],
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (die, index): (String, usize) = (row.get(0)?, row.get(1)?);
        if let Some(tally) = tallies.get_mut(&die)
            && let Some(count) = counts(tally).get_mut(index)
        {
            *count = row.get(2)?;
        }
    }
    Ok(())
}

/// What changed since the last save.
#[derive(Default)]
pub struct Unsaved(BTreeMap<String, UnsavedDie>);

#[derive(Default)]
struct UnsavedDie {
    /// Indexes of results.
    results: BTreeSet<usize>,
    /// Cells of the current block.
    cells: BTreeSet<usize>,
    /// Whether the saved cells belong to a block that is complete by now.
    block: bool,
    /// The lowest index of a changed peak.
    first_peak: Option<usize>,
}

impl Unsaved {
    /// Adds the changes of a roll.
    pub fn add(&mut self, change: Change) {
        let die = self.0.entry(change.die).or_default();
        die.results.insert(change.result);
        die.first_peak = die.first_peak.or(change.peak);
        if change.completes_block {
            die.cells.clear();
            die.block = true;
        } else {
            die.cells.insert(change.cell);
        }
    }

    /// Adds everything.
    pub fn add_all(&mut self, tallies: &Tallies) {
        for tally in tallies.iter() {
            let die = self.0.entry(tally.die.to_string()).or_default();
            let shown = tally.results.iter().enumerate().filter(|(_, result)| result.n_rolls > 0);
            die.results = shown.map(|(index, _)| index).collect();
            die.cells = (0..tally.cells.len()).collect();
            die.block = true;
            die.first_peak = Some(0);
        }
    }

    /// Saves the changed parts of `tallies`.
    ///
    /// # Errors
    ///
    /// SQLite's. The caller's transaction must not be committed then.
    pub fn save(&self, connection: &Connection, tallies: &Tallies) -> Result<(), StoreError> {
        for (name, unsaved) in &self.0 {
            let tally = tallies.get(name).expect("a changed die has a tally");
            save_die(connection, name, tally)?;
            save_results(connection, name, tally, &unsaved.results)?;
            if let Some(first) = unsaved.first_peak {
                save_peaks(connection, name, &tally.peaks[first..])?;
            }
            if unsaved.block {
                save_block(connection, name, tally)?;
            }
            let sql = "insert or replace into block_cells (die, cell, n_rolls) values (?1, ?2, ?3)";
            let mut statement = connection.prepare_cached(sql)?;
            for cell in &unsaved.cells {
                statement.execute(params![name, cell, tally.cells[*cell]])?;
            }
        }
        let sql = "insert or replace into projections (name, last_id) values (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![NAME, tallies.last_id().0])?;
        Ok(())
    }
}

fn save_die(connection: &Connection, name: &str, tally: &DieTally) -> Result<(), StoreError> {
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

fn save_results(
    connection: &Connection,
    name: &str,
    tally: &DieTally,
    indexes: &BTreeSet<usize>,
) -> Result<(), StoreError> {
    let sql = "insert or replace into result_statistics
                 (die, result, n_rolls, last_n, longest_drought)
               values (?1, ?2, ?3, ?4, ?5)";
    let mut statement = connection.prepare_cached(sql)?;
    for index in indexes {
        let ResultTally { n_rolls, last_n, longest_drought } = tally.results[*index];
        let result = tally.fair.result(*index);
        statement.execute(params![name, result, n_rolls, last_n, longest_drought])?;
    }
    Ok(())
}

fn save_peaks(connection: &Connection, name: &str, peaks: &[Peak]) -> Result<(), StoreError> {
    let sql = "insert or replace into evidence_peaks (die, last_n, log_e) values (?1, ?2, ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    for Peak { last_n, log_e } in peaks {
        statement.execute(params![name, last_n, log_e])?;
    }
    Ok(())
}

/// Saves that a block is complete: the next one has no rolls yet, and there is one more p-value.
fn save_block(connection: &Connection, name: &str, tally: &DieTally) -> Result<(), StoreError> {
    connection.prepare_cached("delete from block_cells where die = ?1")?.execute([name])?;
    let sql = "insert or replace into p_value_bins (die, bin, n_blocks) values (?1, ?2, ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    for (bin, n_blocks) in tally.p_values.iter().enumerate() {
        statement.execute(params![name, bin, n_blocks])?;
    }
    Ok(())
}
