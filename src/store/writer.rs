//! The writer: the one connection that appends.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::roll::{NewRoll, Roll};
use crate::store::{StoreError, file, history};

/// How long a commit waits for an outside writer's lock, in milliseconds.
const BUSY_MS: u32 = 1_000;
/// What a checkpoint leaves of the write-ahead log after an outside reader made it grow.
const JOURNAL_BYTES: u32 = 16 << 20;

pub struct Writer {
    connection: Connection,
    database: PathBuf,
    /// The files that `connection` has open. The log's is known from the first commit on, which
    /// makes it.
    database_id: Identity,
    log_id: Option<Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

impl Writer {
    pub fn open(database: &Path) -> Result<Writer, StoreError> {
        let connection = file::open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "busy_timeout", BUSY_MS)?;
        file::use_log(&connection, database)?;
        // An acknowledged roll survives a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        let limit = format!("pragma journal_size_limit = {JOURNAL_BYTES}");
        connection.query_row(&limit, [], |_| Ok(()))?;
        let (database, database_id) = (database.to_path_buf(), identify(database)?);
        Ok(Writer { connection, database, database_id, log_id: None })
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
        self.check_files()?;
        Ok(stored)
    }

    fn commit(&mut self, rolls: &[NewRoll]) -> Result<Vec<Roll>, StoreError> {
        // Immediate: a transaction that reads before it writes could fail halfway.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let stored = rolls.iter().map(|new| insert(&transaction, new)).collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(stored)
    }

    /// A commit into a deleted file succeeds, and is lost with the file.
    fn check_files(&mut self) -> Result<(), StoreError> {
        if identify(&self.database)? != self.database_id {
            return Err(StoreError::Moved(self.database.clone()));
        }
        let log = file::log_path(&self.database);
        let log_id = identify(&log)?;
        if *self.log_id.get_or_insert(log_id) != log_id {
            return Err(StoreError::Moved(log));
        }
        Ok(())
    }

    /// Moves the log into the database, as far as readers allow: whether all of it.
    pub fn checkpoint(&self) -> Result<bool, StoreError> {
        let sql = "pragma wal_checkpoint(truncate)";
        let n_busy: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(n_busy == 0)
    }
}

/// The stored row, not the input, is what everybody gets to see.
fn insert(transaction: &Transaction<'_>, new: &NewRoll) -> Result<Roll, StoreError> {
    let sql = "insert into rolls (rolled_at, dice) values (?1, ?2) returning id, rolled_at, dice";
    let values = (new.rolled_at.to_string(), new.dice.to_string());
    transaction.prepare_cached(sql)?.query_row(values, |row| Ok(history::roll_of(row)))?
}

fn identify(path: &Path) -> Result<Identity, StoreError> {
    let metadata = fs::metadata(path).map_err(|_| StoreError::Moved(path.to_path_buf()))?;
    Ok((metadata.dev(), metadata.ino()))
}
