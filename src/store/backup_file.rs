//! The file of a backup: where a copy may be written, and how SQLite opens its draft.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::draft::{self, Draft, Existing};
use crate::store::log::checkpoint_path;
use crate::store::{StoreError, file};

/// Suffixes of the files that SQLite and rollcast create beside a database.
const COMPANIONS: [&str; 5] = ["-wal", "-shm", "-journal", "-lock", "-new"];

/// The absolute path of the copy, without links, if a copy may be written there.
///
/// # Errors
///
/// [`StoreError::Draft`] if none may.
pub fn target(
    to: &Path,
    database: &Path,
    secret: &Path,
    existing: Existing,
) -> Result<PathBuf, StoreError> {
    let to = draft::resolve(to)?;
    refuse_own(&to, database, secret)?;
    draft::check(&to, existing)?;
    // SQLite would apply this log to the copy.
    let log = file::log_path(&to);
    if log.exists() {
        let remedy = "a database of that name is in use or was; use another file name";
        draft::refuse("a write-ahead log", &log, remedy)?;
    }
    Ok(to)
}

/// Refuses a path without links that leads to the database or to a file of it, such as its secret.
///
/// # Errors
///
/// [`StoreError::Draft`] if it does.
pub fn refuse_own(to: &Path, database: &Path, secret: &Path) -> Result<(), StoreError> {
    let secrets = [secret.to_path_buf(), checkpoint_path(secret)];
    let is_secret = secrets.iter().any(|file| file == to || draft::is_same_file(to, file));
    if is_of_database(to, database) || is_secret {
        let found = "the database itself or a file of it";
        draft::refuse(found, to, "use another file name")?;
    }
    let draft = draft::path_of(to);
    if !draft.is_symlink() && draft::is_same_file(&draft, database) {
        let remedy = "remove it, or use another file name";
        draft::refuse("the database itself under a draft's name", &draft, remedy)?;
    }
    Ok(())
}

/// Whether a path without links leads to the database or to a file that SQLite or rollcast creates
/// beside it.
pub fn is_of_database(path: &Path, database: &Path) -> bool {
    let own = COMPANIONS.map(|suffix| file::beside(database, suffix));
    path == database || own.iter().any(|own| own == path) || draft::is_same_file(path, database)
}

/// Opens a draft without SQLite's locks and journal. No other process uses the draft, and a failed
/// copy is deleted.
///
/// # Errors
///
/// [`StoreError::Sqlite`] if it cannot be opened.
pub fn open(draft: &Draft) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let copy = Connection::open_with_flags_and_vfs(draft.path(), flags, c"unix-none")?;
    copy.pragma_update(None, "locking_mode", "exclusive")?;
    copy.query_row("pragma journal_mode = off", [], |_| Ok(()))?;
    Ok(copy)
}
