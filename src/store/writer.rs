//! The writer: the one connection that appends.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::roll::{NewRoll, Roll};
use crate::store::{StoreError, file, history};

/// How long a commit waits for an outside writer's lock, in milliseconds.
const BUSY_MS: u32 = 1_000;
/// What a checkpoint leaves of the write-ahead log after an outside reader made it grow.
const JOURNAL_BYTES: u32 = 16 << 20;

pub struct Writer {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file that `connection` has open.
    identity: (u64, u64),
}

impl Writer {
    pub fn open(path: &Path) -> Result<Writer, StoreError> {
        let connection = file::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "busy_timeout", BUSY_MS)?;
        // The answer is the mode in force, hence the query.
        connection.query_row("pragma journal_mode = wal", [], |_| Ok(()))?;
        // An acknowledged roll survives a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.query_row(
            &format!("pragma journal_size_limit = {JOURNAL_BYTES}"),
            [],
            |_| Ok(()),
        )?;
        let identity = identity(path).map_err(|_| StoreError::Moved(path.to_path_buf()))?;
        let path = path.to_path_buf();
        Ok(Writer { connection, path, identity })
    }

    pub fn append(&mut self, new: &NewRoll) -> Result<Roll, StoreError> {
        // Immediate: a transaction that reads before it writes could fail halfway.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let roll = transaction
            .prepare_cached(
                "insert into rolls (rolled_at, dice) values (?1, ?2)
                 returning id, rolled_at, dice",
            )?
            .query_row((new.rolled_at.to_string(), new.dice.to_string()), |row| {
                Ok(history::roll_of(row))
            })??;
        transaction.commit()?;
        // A commit into a deleted file succeeds and is lost with it.
        match identity(&self.path) {
            Ok(identity) if identity == self.identity => Ok(roll),
            _ => Err(StoreError::Moved(self.path.clone())),
        }
    }

    pub fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(self.connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
