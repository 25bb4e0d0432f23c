//! The database file: whose it is, and that nobody else has it.
//!
//! A file that is not ours is never opened by SQLite for writing: even opening and closing one
//! can change it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{M, Migrations};

use crate::store::StoreError;

/// In order; one that has landed is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_rolls.sql"),
    include_str!("../../migrations/0002_statistics.sql"),
    include_str!("../../migrations/0003_projections.sql"),
];
/// The newest schema this program knows.
const SCHEMA: usize = MIGRATIONS.len();
/// "ROLL", set by the first migration.
const APPLICATION_ID: i32 = 0x524F_4C4C;
/// <https://sqlite.org/fileformat.html#the_database_header>
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;
const HEADER_BYTES: usize = 100;

/// Makes sure that `path` is a history and that it is ours alone: locked, created where there
/// was none, and with the newest schema. Gives back its absolute path and the lock.
pub fn claim(path: &Path) -> Result<(PathBuf, File), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = DirBuilder::new();
    // The rolls are for the user who runs the server and their group.
    let created = builder.recursive(true).mode(0o750).create(folder);
    created.map_err(|source| file_error("create the folder", folder, source))?;
    let path = resolve(path)?;
    // Look before the lock file is made, so that nothing appears beside a file that is not ours;
    // and again, since only the lock keeps another server from creating the file.
    looks_like_ours(&path)?;
    let lock = lock(&path)?;
    if looks_like_ours(&path)? {
        // By the file system, which says why it cannot be written where SQLite does not.
        let writable = OpenOptions::new().write(true).open(&path);
        writable.map_err(|source| file_error("write to", &path, source))?;
        let connection = open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        check_schema(&connection, &path)?;
        connection.close().map_err(|(_, error)| error)?;
        migrate(&mut open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?)?;
    } else {
        create(&path)?;
    }
    Ok((path, lock))
}

/// The one name of the database, which all who mean it lock: absolute and without links.
pub fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    if path.is_symlink() {
        let remedy = "make the link lead somewhere, or name another file in rollcast.database";
        return Err(not_ours("a link to nowhere", path, remedy));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(not_ours("a folder", path, "name a file in rollcast.database"));
    };
    let folder = folder.canonicalize();
    let folder = folder.map_err(|source| file_error("find the folder of", path, source))?;
    Ok(folder.join(name))
}

/// Reads the header alone: whether there is a file, and an error if it is not a history.
pub fn looks_like_ours(path: &Path) -> Result<bool, StoreError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let log = log_path(path);
            if fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0) {
                // SQLite would take its rolls for a new file's own.
                let remedy = "put the database back, or remove its log to start a new history";
                return Err(not_ours("a write-ahead log without its database", &log, remedy));
            }
            return Ok(false);
        }
        Err(source) => return Err(file_error("read", path, source)),
    };
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "something that is not a file" };
        return Err(not_ours(found, path, "name a file in rollcast.database"));
    }
    let mut file = File::open(path).map_err(|source| file_error("open", path, source))?;
    let remedy = "move it away, or name another file in rollcast.database; nothing was changed";
    if metadata.len() == 0 {
        return Err(not_ours(
            "an empty file",
            path,
            "restore a backup, or remove it to start a new history; nothing was changed",
        ));
    }
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Ok(()) if header.starts_with(MAGIC) => {}
        Ok(()) => return Err(not_ours("something that is not SQLite", path, remedy)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Err(not_ours("something that is not SQLite", path, remedy));
        }
        Err(source) => return Err(file_error("read", path, source)),
    }
    let number = |at: usize| {
        let bytes = header[at..at + 4].try_into().expect("four bytes");
        i32::from_be_bytes(bytes)
    };
    if number(APPLICATION_ID_AT) != APPLICATION_ID {
        return Err(not_ours("another program's SQLite database", path, remedy));
    }
    check_version(i64::from(number(USER_VERSION_AT)), path)?;
    Ok(true)
}

/// The schema's version as SQLite sees it: the header can lag behind the write-ahead log.
pub fn check_schema(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    check_version(version, path)
}

fn check_version(version: i64, path: &Path) -> Result<usize, StoreError> {
    match usize::try_from(version) {
        Ok(version) if version <= SCHEMA => Ok(version),
        _ => Err(not_ours(
            &format!("one of a newer rollcast (schema {version}, this one knows {SCHEMA})"),
            path,
            "run that rollcast, or name another file in rollcast.database; nothing was changed",
        )),
    }
}

/// Creates the history under another name first, so that a kill at any moment leaves either no
/// file or a whole one: with its schema, and in WAL mode, since a switch under its own name could
/// leave a journal that only a writer may roll back.
fn create(path: &Path) -> Result<(), StoreError> {
    let draft = beside(path, "-new");
    // Also what SQLite left beside a draft: it would take it for the new one's.
    for leftover in ["", "-journal", "-wal", "-shm"].map(|suffix| beside(&draft, suffix)) {
        match fs::remove_file(&leftover) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(file_error("remove", &leftover, source));
            }
            _ => {}
        }
    }
    // By the file system, which says why it cannot be done where SQLite does not.
    File::create_new(&draft).map_err(|source| file_error("create", &draft, source))?;
    let mut connection = open(&draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    migrate(&mut connection)?;
    use_log(&connection, path)?;
    connection.close().map_err(|(_, error)| error)?;
    // The lock is ours, and there was no file.
    rename(&draft, path)
}

/// Gives a whole and durable `draft` its name, durably.
pub fn rename(draft: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(draft, path).map_err(|source| file_error("create", path, source))?;
    sync_folder(path)
}

/// Makes durable which names are in the folder of `path`.
pub fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| file_error("write", folder, source))
}

pub fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let migrations = MIGRATIONS.iter().map(|sql| M::up(sql)).collect();
    match Migrations::new(migrations).to_latest(connection) {
        // Without the query: a migration is a page of SQL, and not what is wrong.
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => Err(StoreError::Upgrade(err)),
        result => Ok(result?),
    }
}

/// Takes the lock that makes this process the file's only server. Readers do not take it.
///
/// A file of its own, since closing any handle of the database itself would drop SQLite's locks.
fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = lock_path(path);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|source| file_error("create", &lock_path, source))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Only to name the holder: a lock without a readable number is still a lock.
            let _ = lock.read_to_string(&mut process);
            let holder = match process.trim() {
                "" => String::new(),
                process => format!(" (process {process})"),
            };
            let path = path.to_path_buf();
            return Err(StoreError::InUse { path, holder });
        }
        Err(TryLockError::Error(source)) => return Err(file_error("lock", &lock_path, source)),
    }
    // A lock without a number, on a full disk, is still a lock.
    let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(lock)
}

/// Brings the file into WAL mode, where it then stays.
pub fn use_log(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    // SQLite answers with the mode in force, whatever was asked for.
    let mode: String = connection.query_row("pragma journal_mode = wal", [], |row| row.get(0))?;
    match mode.as_str() {
        "wal" => Ok(()),
        _ => Err(StoreError::NoLog { path: path.to_path_buf(), mode }),
    }
}

/// The files that a store has open, to look whether they are still those at their paths: a commit
/// into a deleted file succeeds, and is lost with the file.
pub struct OpenFiles {
    database: Placed,
    log: Placed,
}

/// A file at its place, known by device and inode.
pub struct Placed {
    path: PathBuf,
    id: (u64, u64),
}

impl OpenFiles {
    /// The `database` and its log, which is there once a connection has read.
    pub fn new(database: Placed) -> Result<OpenFiles, StoreError> {
        let log = Placed::at(&log_path(&database.path))?;
        Ok(OpenFiles { database, log })
    }

    /// An error if they are not.
    pub fn check(&self) -> Result<(), StoreError> {
        self.database.check()?;
        self.log.check()
    }
}

impl Placed {
    /// The file that is at `path` now.
    pub fn at(path: &Path) -> Result<Placed, StoreError> {
        Ok(Placed { path: path.to_path_buf(), id: identify(path)? })
    }

    fn check(&self) -> Result<(), StoreError> {
        if identify(&self.path)? == self.id {
            Ok(())
        } else {
            Err(StoreError::Moved(self.path.clone()))
        }
    }
}

fn identify(path: &Path) -> Result<(u64, u64), StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok((metadata.dev(), metadata.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StoreError::Moved(path.to_path_buf()))
        }
        Err(source) => Err(StoreError::OutOfSight { path: path.to_path_buf(), source }),
    }
}

/// A connection to `path`; none of ours lets SQLite create the file.
pub fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    Ok(Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

/// SQLite's write-ahead log of a database.
pub fn log_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

pub fn lock_path(path: &Path) -> PathBuf {
    beside(path, "-lock")
}

pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    StoreError::File { action, path, source }
}

/// Damage in words that name the file and what to do, where SQLite's name neither.
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
    not_ours(&format!("a damaged one ({damage})"), path, "restore a backup")
}

pub fn not_ours(found: &str, path: &Path, remedy: &'static str) -> StoreError {
    let (found, path) = (found.to_string(), path.to_path_buf());
    StoreError::NotOurs { found, path, remedy }
}
