//! The database file: checks that it is a rollcast database, locks it and creates it.
//!
//! SQLite never opens another program's file for writing, because even opening and closing a file
//! can change it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::draft;
use crate::store::StoreError;
use crate::store::content::OVERWRITTEN;
use crate::store::error::{file_error, unusable};
use crate::store::schema::{check_schema, check_version, migrate};
use crate::store::server_lock::ServerLock;

/// The ASCII codes of "ROLL". The first migration sets it.
const APPLICATION_ID: i32 = 0x524F_4C4C;
/// <https://sqlite.org/fileformat.html#the_database_header>
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The mode of new files, as that of a copy: the user and its group read, and only the user writes.
pub const MODE: u32 = 0o640;
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;
const HEADER_BYTES: usize = 100;

/// Locks the database at `path` for this process, creates it if it does not exist, and migrates it
/// to the newest schema. Returns its absolute path and the lock, which is held until it is dropped.
///
/// # Errors
///
/// [`StoreError::UnusableDatabase`] if the file is not a rollcast database or has a newer schema;
/// [`StoreError::InUse`] if another server holds the lock; [`StoreError::File`] if the folder or
/// the file cannot be used; otherwise the error of SQLite or of a migration.
pub fn claim(path: &Path) -> Result<(PathBuf, ServerLock), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = DirBuilder::new();
    // Only the server's user and group may read the rolls.
    let created = builder.recursive(true).mode(0o750).create(folder);
    created.map_err(|source| file_error("create the folder", folder, source))?;
    let path = resolve(path)?;
    // Check before creating the lock file, so that no file appears beside another program's file.
    // Check again under the lock, because another server may have created the database meanwhile.
    history_exists(&path)?;
    let mut lock = ServerLock::acquire(&path)?;
    if history_exists(&path)? {
        lock.acquire_database()?;
        let connection = open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        check_schema(&connection, &path)?;
        connection.close().map_err(|(_, error)| error)?;
        migrate(&mut open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?)?;
    } else {
        create(&path)?;
        lock.acquire_database()?;
    }
    Ok((path, lock))
}

/// The canonical path of the database, absolute and without links. All processes lock this path.
///
/// # Errors
///
/// [`StoreError::UnusableDatabase`] for a dangling link or a path without a file name;
/// [`StoreError::File`] if the folder does not exist or cannot be read.
pub fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    if path.is_symlink() {
        let remedy = "repair the link, or name another file in rollcast.database";
        return Err(unusable("a broken symbolic link", path, remedy));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(unusable("a folder", path, "name a file in rollcast.database"));
    };
    let folder = folder.canonicalize();
    let folder = folder.map_err(|source| file_error("find the folder of", path, source))?;
    Ok(folder.join(name))
}

/// Whether the file exists. Reads only its header.
///
/// # Errors
///
/// [`StoreError::UnusableDatabase`] if the file is not a rollcast database, has a newer schema, is
/// missing while its write-ahead log exists, or has the log of another database;
/// [`StoreError::File`] if it cannot be read.
pub fn history_exists(path: &Path) -> Result<bool, StoreError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let log = log_path(path);
            if fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0) {
                // SQLite would apply this log to the new database.
                let remedy = "put the database back, or remove its log to start a new history";
                return Err(unusable("a write-ahead log without its database", &log, remedy));
            }
            return Ok(false);
        }
        Err(source) => return Err(file_error("read", path, source)),
    };
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "something that is not a file" };
        return Err(unusable(found, path, "name a file in rollcast.database"));
    }
    if belongs_to_another(path) {
        let remedy = "to continue with the database that is there now, remove this log";
        let found = "the write-ahead log of a database that was overwritten while in use";
        return Err(unusable(found, &log_path(path), remedy));
    }
    let mut file = File::open(path).map_err(|source| file_error("open", path, source))?;
    let remedy = "move it away, or name another file in rollcast.database; nothing was changed";
    if metadata.len() == 0 {
        return Err(unusable(
            "an empty file",
            path,
            "restore a backup, or remove it to start a new history; nothing was changed",
        ));
    }
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Ok(()) if header.starts_with(MAGIC) => {}
        Ok(()) => return Err(unusable("something that is not SQLite", path, remedy)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Err(unusable("something that is not SQLite", path, remedy));
        }
        Err(source) => return Err(file_error("read", path, source)),
    }
    let number = |at: usize| {
        let bytes = header[at..at + 4].try_into().expect("four bytes");
        i32::from_be_bytes(bytes)
    };
    if number(APPLICATION_ID_AT) != APPLICATION_ID {
        return Err(unusable("another program's SQLite database", path, remedy));
    }
    check_version(i64::from(number(USER_VERSION_AT)), path)?;
    Ok(true)
}

/// Whether the log beside the database is known to belong to another one, which a server found
/// overwritten. SQLite would apply it to the one that is there now.
fn belongs_to_another(path: &Path) -> bool {
    let lock = lock_path(path);
    let is_file = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let has_log = fs::metadata(log_path(path)).is_ok_and(|metadata| metadata.len() > 0);
    has_log
        && is_file(&lock)
        && fs::read(&lock).is_ok_and(|text| text.starts_with(OVERWRITTEN.as_bytes()))
}

/// Creates the database under a temporary name, sets it up and renames it. So a kill at any moment
/// leaves either no file or a complete one. WAL mode is also set before the rename: a kill during
/// that change can leave a rollback journal, which a read-only connection cannot apply.
fn create(path: &Path) -> Result<(), StoreError> {
    let draft = beside(path, "-new");
    // Also remove the old draft's journals, because SQLite would apply them to the new draft.
    for leftover in ["", "-journal", "-wal", "-shm"].map(|suffix| beside(&draft, suffix)) {
        match fs::remove_file(&leftover) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(file_error("remove", &leftover, source));
            }
            _ => {}
        }
    }
    // Use the file system here: unlike SQLite, it reports why a file cannot be created.
    // SQLite gives the log the same mode.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(MODE);
    options.open(&draft).map_err(|source| file_error("create", &draft, source))?;
    let mut connection = open(&draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    migrate(&mut connection)?;
    enable_wal(&connection, path)?;
    connection.close().map_err(|(_, error)| error)?;
    // This replaces no file: none existed, and this process holds the lock.
    Ok(draft::rename(&draft, path)?)
}

/// Sets WAL mode, which is stored in the file.
///
/// # Errors
///
/// [`StoreError::NoLog`] if SQLite keeps another mode; [`StoreError::Sqlite`] if the pragma fails.
pub fn enable_wal(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    // SQLite returns the effective mode, which may differ from the requested one.
    let mode: String = connection.query_row("pragma journal_mode = wal", [], |row| row.get(0))?;
    match mode.as_str() {
        "wal" => Ok(()),
        _ => Err(StoreError::NoLog { path: path.to_path_buf(), mode }),
    }
}

/// Opens a connection to `path`. The flags of all callers exclude creating the file.
///
/// # Errors
///
/// [`StoreError::Sqlite`] if the file cannot be opened.
pub fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    Ok(Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

/// The path of SQLite's write-ahead log for this database.
pub fn log_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The path of the shared index of this log.
pub fn index_path(path: &Path) -> PathBuf {
    beside(path, "-shm")
}

pub fn lock_path(path: &Path) -> PathBuf {
    beside(path, "-lock")
}

pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
