//! The writer: the one connection that appends, and that prunes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};
use tracing::info;

use crate::roll::{NewRoll, Roll, RollId};
use crate::store::file::{OpenFiles, Placed};
use crate::store::prune::{self, Step};
use crate::store::statistics::Tallies;
use crate::store::{Beyond, Pruned, StoreError, file, history};

/// How long the commit of a roll waits for an outside writer's lock.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a checkpoint leaves of the write-ahead log after an outside reader made it grow.
const JOURNAL_BYTES: u32 = 16 << 20;
/// How long counting goes on in silence.
const TELL_EVERY: Duration = Duration::from_secs(2);

pub struct Writer {
    connection: Connection,
    files: Arc<OpenFiles>,
    /// As of the newest roll. `None` after a failed attempt, when they may be ahead of it.
    tallies: Option<Tallies>,
}

impl Writer {
    pub fn open(database: &Path) -> Result<Writer, StoreError> {
        let mut connection = file::open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let placed = Placed::at(database)?;
        // A file that cannot be opened for writing SQLite opens for reading, and says nothing.
        if connection.is_readonly(MAIN_DB)? {
            let source = io::Error::other("it could be opened for reading only");
            return Err(file::file_error("write to", database, source));
        }
        connection.busy_timeout(PATIENCE)?;
        file::use_log(&connection, database)?;
        // An acknowledged roll survives a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        let limit = format!("pragma journal_size_limit = {JOURNAL_BYTES}");
        connection.query_row(&limit, [], |_| Ok(()))?;
        let tallies = count_all(&mut connection)?;
        // The log is there now. SQLite syncs the folder, too, but passes over an error: a power
        // cut could then take away the log with all rolls in it.
        file::sync_folder(database)?;
        let files = Arc::new(OpenFiles::new(placed)?);
        Ok(Writer { connection, files, tallies: Some(tallies) })
    }

    /// The files that it writes to.
    pub fn files(&self) -> Arc<OpenFiles> {
        self.files.clone()
    }

    pub fn append(&mut self, rolls: &[NewRoll]) -> Result<Vec<Roll>, StoreError> {
        let stored = self.commit(rolls);
        if let Err(StoreError::Sqlite(error)) = &stored
            && error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        {
            // The log is the larger part of a young database: emptying it may make room for
            // the next attempt. If that fails too, the full disk is what counts.
            let _ = self.checkpoint();
        }
        let stored = stored?;
        self.files.check()?;
        Ok(stored)
    }

    fn commit(&mut self, rolls: &[NewRoll]) -> Result<Vec<Roll>, StoreError> {
        let transaction = begin(&mut self.connection)?;
        let mut tallies = match self.tallies.take() {
            Some(tallies) => tallies,
            None => Tallies::load(&transaction)?,
        };
        let stored: Vec<Roll> =
            rolls.iter().map(|new| insert(&transaction, new)).collect::<Result<_, _>>()?;
        for roll in &stored {
            tallies.append(&transaction, roll)?;
        }
        transaction.commit()?;
        self.tallies = Some(tallies);
        Ok(stored)
    }

    /// Deletes some of the oldest rolls, if there are any beyond what is kept.
    pub fn prune(&mut self, beyond: Beyond) -> Result<Pruned, StoreError> {
        let last_counted = match &self.tallies {
            Some(tallies) => tallies.last_id(),
            None => Tallies::load(&self.connection)?.last_id(),
        };
        // Looked first without a lock, which somebody else may hold.
        let Step { kept, up_to } = prune::next_step(&self.connection, beyond, last_counted)?;
        let Some(up_to) = up_to else {
            return Ok(Pruned { n_rolls: 0, oldest: kept.oldest, more: false });
        };
        // The next roll waits behind this: let it be the one that waits for somebody else's lock.
        self.connection.busy_timeout(Duration::ZERO)?;
        let n_rolls = self.delete(up_to);
        self.connection.busy_timeout(PATIENCE)?;
        let more = up_to.0 - kept.oldest.previous().0 == prune::N_AT_ONCE;
        Ok(Pruned { n_rolls: n_rolls?, oldest: up_to.next(), more })
    }

    fn delete(&mut self, up_to: RollId) -> Result<u64, StoreError> {
        let transaction = begin(&mut self.connection)?;
        let n_rolls = prune::delete(&transaction, up_to)?;
        transaction.commit()?;
        Ok(n_rolls)
    }

    /// Moves the log into the database, as far as readers allow: whether all of it.
    pub fn checkpoint(&self) -> Result<bool, StoreError> {
        let sql = "pragma wal_checkpoint(truncate)";
        let n_busy: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(n_busy == 0)
    }
}

/// Counts the rolls that are stored but not in the statistics: all of a database that had none.
fn count_all(connection: &mut Connection) -> Result<Tallies, StoreError> {
    let mut tallies = Tallies::load(connection)?;
    let (start, mut said) = (Instant::now(), Instant::now());
    // Looked first without a lock, which somebody else may hold.
    while history::is_any_after(connection, tallies.last_id())? {
        let transaction = begin(connection)?;
        tallies.count_some(&transaction)?;
        transaction.commit()?;
        if said.elapsed() > TELL_EVERY {
            said = Instant::now();
            let last_id = tallies.last_id().0;
            info!(last_id, "counting past rolls for the statistics: {last_id} so far");
        }
    }
    if start.elapsed() > TELL_EVERY {
        let seconds = start.elapsed().as_secs_f64();
        info!(seconds, "all past rolls are counted, in {seconds:.1} s");
    }
    Ok(tallies)
}

/// Immediate: a transaction that reads before it writes could fail halfway.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// The stored row, not the input, is what everybody gets to see.
fn insert(transaction: &Transaction<'_>, new: &NewRoll) -> Result<Roll, StoreError> {
    let sql = "insert into rolls (rolled_at, dice) values (?1, ?2) returning id, rolled_at, dice";
    let values = (new.rolled_at.to_string(), new.dice.to_string());
    transaction.prepare_cached(sql)?.query_row(values, |row| Ok(history::roll_of(row)))?
}
