//! The errors of the store.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::{Access, access};

use crate::cursor::Cursor;
use crate::draft::DraftError;
use crate::roll::RollId;
use crate::store::row::Unreadable;
use crate::store::time_limits::{PERMIT_TIMEOUT, QUERY_TIMEOUT};

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The path has no rollcast database that this program can use. Nothing was changed.
    #[error("expected a rollcast database, found {found} at `{}`; {remedy}", .path.display())]
    UnusableDatabase {
        /// What the file is.
        found: String,
        /// The path of the file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A new file cannot be written.
    #[error(transparent)]
    Draft(DraftError),
    /// The caller asked for it to stop.
    #[error("stopped before it was done; nothing was changed")]
    Stopped,
    /// Another server uses the file.
    #[error(
        "`{}` is in use by another rollcast{holder}; stop that one, or give this one a database \
         of its own (rollcast.database)", .path.display()
    )]
    InUse {
        /// The path of the file.
        path: PathBuf,
        /// Which process uses it, if known.
        holder: String,
    },
    /// The folder or the file cannot be used.
    #[error("cannot {action} `{}`", .path.display())]
    File {
        /// What failed.
        action: &'static str,
        /// The path of the file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file was deleted or replaced while it was open: everything written now is lost.
    #[error(
        "`{}` was moved, deleted or replaced while in use; put it back, then start again",
        .0.display()
    )]
    Moved(PathBuf),
    /// Another database was written into the file while it was open: new rolls would be lost.
    #[error(
        "`{}` was overwritten while in use; to continue with the database that is there now, \
         remove the log beside it (`-wal`), then start again", .0.display()
    )]
    Overwritten(PathBuf),
    /// The path cannot be examined, so the file may have been replaced.
    #[error("cannot tell whether `{}` is still the file in use", .path.display())]
    CannotExamine {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// SQLite cannot read the file, because it must create files beside it.
    #[error(
        "cannot read `{}`: its folder is read-only, and while no server runs, SQLite must create \
         files in it; run this as the server's user, or on a copy in another folder (also of its \
         `-wal` file, if there is one)",
        .0.display()
    )]
    ReadOnlyFolder(PathBuf),
    /// A file of the database cannot grow any further.
    #[error(
        "`{}` has reached the limit of {limit} bytes for the size of a file; raise the limit \
         (ulimit -f, LimitFSIZE=)", .path.display()
    )]
    FileLimit {
        /// The path of the file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file system does not support a write-ahead log.
    #[error("expected a write-ahead log beside `{}`, got journal mode `{mode}`", .path.display())]
    NoLog {
        /// The path of the database.
        path: PathBuf,
        /// The mode that SQLite chose instead.
        mode: String,
    },
    /// No permit to read was free in time.
    #[error(
        "timed out after {} ms waiting for a database connection (all are busy)",
        PERMIT_TIMEOUT.as_millis()
    )]
    Busy,
    /// The disk hangs.
    #[error("the database's disk does not answer within {} ms", PERMIT_TIMEOUT.as_millis())]
    NoAnswer,
    /// A query was interrupted.
    #[error("query timed out after {} s; is the disk slow?", QUERY_TIMEOUT.as_secs())]
    TooLong,
    /// The cursor belongs to another history.
    #[error("expected a cursor of this history, got `{0}`; it has no such roll")]
    OtherHistory(Cursor),
    /// A roll that is not stored has another id than the next one.
    #[error("expected roll {expected} as the next one, got roll {given}")]
    NotNext {
        /// The id of the next roll.
        expected: RollId,
        /// The id of the roll that was given.
        given: RollId,
    },
    /// Another roll is stored under the id of a roll that was given.
    #[error(
        "expected roll {expected} as the next one, got a roll {given} that differs from the stored \
         one"
    )]
    Conflict {
        /// The id of the next roll.
        expected: RollId,
        /// The id of the roll that was given.
        given: RollId,
    },
    /// A stored row cannot be read as a roll.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A stored row that rollcast did not write.
    #[error("expected a stored roll, got {0}")]
    Malformed(String),
    /// The secret of the log cannot be used.
    #[error(
        "the secret `{}` {fault}, so no new roll can be proven; put the right one back, or begin \
         a new chain with `rollcast rekey`", .path.display()
    )]
    Secret {
        /// The path of the secret.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The database does not match the signed log.
    #[error(
        "the database does not match the signed log: {signed} rolls were signed, the database has \
         {stored}{differing}; put the newer database back, or begin a new chain with \
         `rollcast rekey`",
        differing = if stored < signed { "" } else { ", and a signed roll differs" }
    )]
    Fork {
        /// How many rolls the newest checkpoint covers.
        signed: u64,
        /// The id of the newest roll in the database.
        stored: u64,
    },
    /// The file of the newest checkpoint is not a checkpoint.
    #[error("`{}` is not a checkpoint; put it back, or remove it", .0.display())]
    Checkpoint(PathBuf),
    /// A row was changed after it was added to the log.
    #[error("one of the rolls {first} to {last} was changed after it was added to the log")]
    Changed {
        /// The first roll that may be changed.
        first: RollId,
        /// The last roll that may be changed.
        last: RollId,
    },
    /// SQLite's own error.
    #[error("the database cannot be used")]
    Sqlite(#[from] rusqlite::Error),
    /// The migrations are inconsistent.
    #[error("the database cannot be brought up to date")]
    Migration(#[from] rusqlite_migration::Error),
    /// SQLite's own error during a migration.
    #[error("the database cannot be brought up to date")]
    Upgrade(#[source] rusqlite::Error),
    /// The writer's thread could not be started.
    #[error("cannot start a thread for the database")]
    Thread(#[source] std::io::Error),
    /// The read connections could not be opened.
    #[error("the database cannot be opened for reading")]
    Pool(#[from] r2d2::Error),
}

impl StoreError {
    /// Whether trying the same again is of no use: commits would be lost, or the roll itself is
    /// refused.
    pub fn is_final(&self) -> bool {
        match self {
            StoreError::Moved(_) | StoreError::Overwritten(_) | StoreError::Malformed(_) => true,
            StoreError::NotNext { .. } | StoreError::Conflict { .. } => true,
            StoreError::Fork { .. } | StoreError::Changed { .. } => true,
            // The rolls are in that file, wherever it is, and may be lost with it.
            StoreError::CannotExamine { .. } => true,
            StoreError::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ConstraintViolation | ErrorCode::NotADatabase)
            ),
            _ => false,
        }
    }

    /// Whether load is the cause, so that the same query may succeed a moment later.
    pub fn is_load(&self) -> bool {
        matches!(self, StoreError::Busy | StoreError::TooLong)
    }
}

impl From<DraftError> for StoreError {
    fn from(error: DraftError) -> StoreError {
        match error {
            DraftError::File { action, path, source } => StoreError::File { action, path, source },
            error => StoreError::Draft(error),
        }
    }
}

/// An error of the file system while doing `action` with the file or folder at `path`.
pub fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    StoreError::File { action, path, source }
}

/// Replaces SQLite's errors about damage by one that names the file and the remedy. Returns all
/// other errors unchanged.
pub fn explain_damage(error: StoreError, path: &Path) -> StoreError {
    let damage = match &error {
        StoreError::Sqlite(error) | StoreError::Upgrade(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ) =>
        {
            error.to_string()
        }
        _ => return error,
    };
    unusable(&format!("a damaged one ({damage})"), path, "restore a backup")
}

/// Replaces SQLite's error about a folder in which it can create no files. Returns all other errors
/// unchanged.
pub fn explain_read_only(error: rusqlite::Error, path: &Path) -> StoreError {
    let code = error.sqlite_error_code();
    let may_be = matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if may_be && access(folder.unwrap_or(Path::new(".")), Access::WRITE_OK).is_err() {
        return StoreError::ReadOnlyFolder(path.to_path_buf());
    }
    StoreError::Sqlite(error)
}

/// The file at `path` is `found` instead of a rollcast database that can be used.
pub fn unusable(found: &str, path: &Path, remedy: &'static str) -> StoreError {
    let (found, path) = (found.to_string(), path.to_path_buf());
    StoreError::UnusableDatabase { found, path, remedy }
}
