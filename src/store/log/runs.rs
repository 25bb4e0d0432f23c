//! Runs of rolls with seeds: consecutive rolls of one chain in one tile.

use rusqlite::Error::FromSqlConversionFailure;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::log::TILE_LEN;
use crate::roll::RollId;
use crate::seeds::{Block, Seed};
use crate::store::StoreError;
use crate::text::ValueError;

/// Consecutive rolls with seeds, all in one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedRun {
    /// The first roll.
    pub first: RollId,
    /// The last roll.
    pub last: RollId,
    /// The seed of the last roll.
    pub seed: Seed,
    /// The anchor that the first roll announces, if it begins a chain.
    pub next: Option<Seed>,
}

impl SeedRun {
    /// The newest run after the roll `id` is added: the run `before`, extended by this roll, or a
    /// new run.
    pub fn continued(before: Option<SeedRun>, id: RollId, seed: Seed) -> SeedRun {
        match before {
            Some(run) if run.last.next() == id && tile_of(run.last) == tile_of(id) => {
                SeedRun { last: id, seed, ..run }
            }
            _ => SeedRun { first: id, last: id, seed, next: None },
        }
    }

    /// Stores the run, in place of the one that it continues.
    ///
    /// # Errors
    ///
    /// The error of SQLite.
    pub fn save(&self, connection: &Connection) -> Result<(), StoreError> {
        // Each roll comes here, and nearly always continues a run. An upsert would cost more.
        let sql = "update seed_runs set last_id = ?2, seed = ?3 where first_id = ?1";
        let update = params![self.first.0, self.last.0, self.seed.0];
        if connection.prepare_cached(sql)?.execute(update)? == 1 {
            return Ok(());
        }
        let sql = "insert into seed_runs (first_id, last_id, seed, next_anchor)
                   values (?1, ?2, ?3, ?4)";
        let next = self.next.map(|next| next.0);
        connection.prepare_cached(sql)?.execute(params![
            self.first.0,
            self.last.0,
            self.seed.0,
            next
        ])?;
        Ok(())
    }

    /// Deletes the run.
    ///
    /// # Errors
    ///
    /// The error of SQLite.
    pub fn delete(&self, connection: &Connection) -> Result<(), StoreError> {
        let sql = "delete from seed_runs where first_id = ?1";
        connection.prepare_cached(sql)?.execute([self.first.0])?;
        Ok(())
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<SeedRun> {
        let (first, last) = (RollId(row.get("first_id")?), RollId(row.get("last_id")?));
        // Loops over a run must be short, also if the file is damaged.
        if first.0 < 1 || last < first || tile_of(first) != tile_of(last) {
            let error = ValueError::new("a run of seeds in one tile", format!("{first} to {last}"));
            return Err(FromSqlConversionFailure(1, Type::Integer, error.into()));
        }
        Ok(SeedRun {
            first,
            last,
            seed: Seed(row.get("seed")?),
            next: row.get::<_, Option<[u8; 32]>>("next_anchor")?.map(Seed),
        })
    }
}

/// The tile of a roll.
pub fn tile_of(id: RollId) -> u64 {
    (id.0 - 1) as u64 / TILE_LEN
}

/// The first roll of a tile.
pub fn first_of(tile: u64) -> RollId {
    RollId((tile * TILE_LEN) as i64 + 1)
}

/// The runs of a tile, in order.
///
/// # Errors
///
/// The database cannot be read.
pub fn runs_of(connection: &Connection, tile: u64) -> Result<Vec<SeedRun>, StoreError> {
    let sql = "select first_id, last_id, seed, next_anchor from seed_runs
               where first_id >= ?1 and first_id < ?2 order by first_id";
    let mut statement = connection.prepare_cached(sql)?;
    let ids = [first_of(tile).0, first_of(tile + 1).0];
    let runs = statement.query_map(ids, SeedRun::read)?.collect::<Result<_, _>>()?;
    Ok(runs)
}

/// The newest run; `None` if no roll has a seed.
///
/// # Errors
///
/// The database cannot be read.
pub fn newest_run(connection: &Connection) -> Result<Option<SeedRun>, StoreError> {
    run_before(connection, RollId(i64::MAX))
}

/// The newest run that begins with the roll `id` or an earlier one.
///
/// # Errors
///
/// The database cannot be read.
pub fn run_before(connection: &Connection, id: RollId) -> Result<Option<SeedRun>, StoreError> {
    let sql = "select first_id, last_id, seed, next_anchor from seed_runs
               where first_id <= ?1 order by first_id desc limit 1";
    Ok(connection.prepare_cached(sql)?.query_row([id.0], SeedRun::read).optional()?)
}

/// The newest run that begins a chain, with the roll `id` or an earlier one.
///
/// # Errors
///
/// The database cannot be read.
pub fn chain_start_before(
    connection: &Connection,
    id: RollId,
) -> Result<Option<SeedRun>, StoreError> {
    let sql = "select first_id, last_id, seed, next_anchor from seed_runs
               where first_id <= ?1 and next_anchor is not null order by first_id desc limit 1";
    Ok(connection.prepare_cached(sql)?.query_row([id.0], SeedRun::read).optional()?)
}

/// Whether the roll `id` begins a chain: it is the first one with a seed, it is in another block
/// than the `newest` run, or the secret is new.
pub fn begins_chain(newest: Option<SeedRun>, has_new_secret: bool, id: RollId) -> bool {
    newest.is_none_or(|newest| has_new_secret || Block::of(newest.last) != Block::of(id))
}

/// Whether the secret is new since the `newest` run.
///
/// # Errors
///
/// The database cannot be read.
pub fn has_new_secret(
    connection: &Connection,
    newest: Option<SeedRun>,
) -> Result<bool, StoreError> {
    has_new_secret_between(connection, newest, RollId(i64::MAX))
}

/// Whether there was a new secret after the run `end` and before the roll `id`.
///
/// # Errors
///
/// The database cannot be read.
pub fn has_new_secret_between(
    connection: &Connection,
    end: Option<SeedRun>,
    id: RollId,
) -> Result<bool, StoreError> {
    let after = end.map_or(0, |end| end.last.0);
    let sql = "select exists (select 1 from new_secrets where after_id >= ?1 and after_id < ?2)";
    Ok(connection.prepare_cached(sql)?.query_row([after, id.0], |row| row.get(0))?)
}

/// Whether any roll has a seed.
///
/// # Errors
///
/// The database cannot be read.
pub fn has_seeds(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "select exists (select 1 from seed_runs)";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Deletes the seeds of all rolls after `head`, and the notes of new secrets.
///
/// # Errors
///
/// The error of SQLite.
pub fn forget_seeds_after(connection: &Connection, head: RollId) -> Result<(), StoreError> {
    connection.execute("delete from seed_runs where first_id > ?1", [head.0])?;
    connection.execute("delete from new_secrets where after_id > ?1", [head.0])?;
    if let Some(run) = newest_run(connection)?.filter(|run| run.last > head) {
        let seed = run.seed.back((run.last.0 - head.0) as u64);
        SeedRun { last: head, seed, ..run }.save(connection)?;
    }
    Ok(())
}

/// Records that a new secret applies to the rolls after `head`.
///
/// # Errors
///
/// The error of SQLite.
pub fn note_new_secret(connection: &Connection, head: RollId) -> Result<(), StoreError> {
    let sql = "insert or ignore into new_secrets (after_id) values (?1)";
    connection.prepare_cached(sql)?.execute([head.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_run_is_neither_stored_nor_read() {
        let connection = Connection::open_in_memory().expect("a database");
        let sql = include_str!("../../../migrations/0001_rolls.sql");
        connection.execute_batch(sql).expect("the table of rolls");
        let sql = include_str!("../../../migrations/0006_log.sql");
        connection.execute_batch(sql).expect("the tables");
        let insert = |first: i64, last: i64| {
            let sql = "insert into seed_runs values (?1, ?2, zeroblob(32), null)";
            connection.execute("delete from seed_runs", []).expect("an empty table");
            connection.execute(sql, [first, last])
        };
        let damaged = [(1, 0), (1, 257), (300, 556), (257, 1 << 40), (257, i64::MIN)];
        for (first, last) in damaged {
            insert(first, last).expect_err("a run that is too long");
        }
        connection.pragma_update(None, "ignore_check_constraints", true).expect("no checks");
        // Too long, over the end of a tile, or before the first roll.
        for (first, last) in [&damaged[..], &[(256, 257), (0, 1), (-5, -4)]].concat() {
            insert(first, last).expect("a damaged row");
            newest_run(&connection).expect_err("a damaged row");
        }
        // Control: whole and partial tiles.
        connection.pragma_update(None, "ignore_check_constraints", false).expect("checks");
        for (first, last) in [(1, 1), (1, 256), (257, 512), (300, 301)] {
            insert(first, last).expect("a run");
            let run = newest_run(&connection).expect("a sound row").expect("a run");
            assert_eq!((run.first, run.last), (RollId(first), RollId(last)));
        }
    }
}
