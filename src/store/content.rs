//! Notices that the database file was overwritten in place, as `cp other.db rolls.db` does: the
//! file is still the same one, and its content is another database.
//!
//! Only checkpoints write to the file. Each one is noted in the shared index of the write-ahead
//! log, before its first write and after its last one. So without a checkpoint the bytes of the
//! file stay the same, whatever other programs do through SQLite. After a checkpoint, the size must
//! be the one in the index, and the newest roll must read back, unless another program has
//! committed since it was stored.
//!
//! Nothing else is compared. Other programs may change any row through SQLite, and a damaged page
//! must fail only the requests that read it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode};

use crate::roll::{Roll, RollId};
use crate::store::error::file_error;
use crate::store::file::{index_path, lock_path};
use crate::store::{IdRange, StoreError, history};

/// The first pages of a database hold the header, the schema, the newest id and the first rolls, or
/// statistics. Two databases that differ in their rolls differ there.
const N_COMPARED_BYTES: usize = 64 << 10;
/// <https://sqlite.org/walformat.html#the_wal_index_header>
const N_INDEX_BYTES: usize = 136;
const N_COMMITS_AT: usize = 8;
const PAGE_SIZE_AT: usize = 14;
const N_FRAMES_AT: usize = 16;
const N_PAGES_AT: usize = 20;
const SALTS_AT: usize = 32;
const BACKFILLED_AT: usize = 96;
const ATTEMPTED_AT: usize = 128;
/// The first word of the lock file after the database was overwritten.
pub const OVERWRITTEN: &str = "overwritten";

/// The content of an open database.
pub struct Content {
    path: PathBuf,
    /// Closed after SQLite has closed the file: closing any handle releases SQLite's locks on it.
    database: File,
    /// The same.
    index: File,
    /// Held only to read or replace the value. A disk that hangs must not block the writer.
    seen: Mutex<Arc<Seen>>,
    newest: Mutex<Newest>,
}

/// The file when it was last known to be the right one.
#[derive(PartialEq, Eq)]
struct Seen {
    file: FileState,
    checkpoints: Checkpoints,
    first_bytes: Vec<u8>,
}

/// Changes with every write to the file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileState {
    n_bytes: u64,
    modified: (i64, i64),
}

/// The progress of checkpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Checkpoints {
    /// Changed when the log begins anew.
    salts: [u8; 8],
    /// Frames of the log that are in the file.
    backfilled: u32,
    /// Frames that may be in the file, if a checkpoint is running or has failed.
    attempted: u32,
}

/// What the index of the log tells.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Index {
    /// Counts the commits of all programs.
    n_commits: u32,
    checkpoints: Checkpoints,
    /// The size of the file, in bytes, if all of the log is in it.
    n_bytes: Option<u64>,
}

/// The newest roll that was stored.
#[derive(Clone)]
struct Newest {
    roll: Option<Roll>,
    /// While the index has this number, no other program has committed since the roll was stored.
    n_commits: u32,
}

impl Content {
    /// The content of the database at `path`, which `connection` has open in WAL mode.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] if a file cannot be read; otherwise the error of SQLite.
    pub fn new(path: &Path, connection: &Connection) -> Result<Content, StoreError> {
        let open =
            |path: &Path| File::open(path).map_err(|source| file_error("open", path, source));
        let (database, index) = (open(path)?, open(&index_path(path))?);
        let Index { n_commits, checkpoints, .. } = read_index(&index, path)?;
        let seen = Seen {
            file: state_of(&database, path)?,
            checkpoints,
            first_bytes: first_bytes(&database).map_err(|error| file_error("read", path, error))?,
        };
        // Without a transaction: another program may hold the write lock during a start.
        let all = IdRange { after: RollId::BEFORE_FIRST, before: RollId(i64::MAX) };
        let roll = history::last_rows(connection, all, 1)?.rolls.pop();
        Ok(Content {
            path: path.to_path_buf(),
            database,
            index,
            seen: Mutex::new(Arc::new(seen)),
            newest: Mutex::new(Newest { roll, n_commits }),
        })
    }

    /// The number of commits by all programs.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] if it cannot be read.
    pub fn n_commits(&self) -> Result<u32, StoreError> {
        Ok(read_index(&self.index, &self.path)?.n_commits)
    }

    /// Notes a commit of this server, with the newest roll if it stored rolls. `n_before` is the
    /// number of commits that was read during the transaction, when nobody else could commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] if the number of commits cannot be read.
    pub fn committed(&self, n_before: u32, roll: Option<&Roll>) -> Result<(), StoreError> {
        let n_commits = self.n_commits()?;
        let is_ours_alone = n_commits.wrapping_sub(n_before) <= 1;
        let mut newest = lock(&self.newest);
        match roll {
            Some(roll) if is_ours_alone => *newest = Newest { roll: Some(roll.clone()), n_commits },
            None if is_ours_alone && newest.n_commits == n_before => newest.n_commits = n_commits,
            _ => {}
        }
        Ok(())
    }

    /// Checks that nobody but SQLite wrote to the file. It may read from `connection`, which must
    /// not be in a transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Overwritten`] if somebody did; [`StoreError::File`] if the file cannot be
    /// examined.
    pub fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        let seen = lock(&self.seen).clone();
        // The index first and last: between two equal readings, no checkpoint began or ended.
        let index = read_index(&self.index, &self.path)?;
        let checkpoints = index.checkpoints;
        let file = state_of(&self.database, &self.path)?;
        if (file, checkpoints) == (seen.file, seen.checkpoints) {
            return Ok(());
        }
        // A disk that fails is no other database.
        let Ok(first_bytes) = first_bytes(&self.database) else { return Ok(()) };
        if !checkpoints.have_ended() || read_index(&self.index, &self.path)? != index {
            // A checkpoint may write to the file at this moment.
            return Ok(());
        }
        let has_size = |n_bytes| n_bytes == file.n_bytes;
        let is_right = if has_size(seen.file.n_bytes) && first_bytes == seen.first_bytes {
            // The file has a new time, or the log began anew.
            Ok(true)
        } else if checkpoints == seen.checkpoints || !index.n_bytes.is_none_or(has_size) {
            Ok(false)
        } else {
            self.has_newest_roll(connection)
        };
        match is_right {
            Ok(true) => *lock(&self.seen) = Arc::new(Seen { file, checkpoints, first_bytes }),
            Ok(false) => return Err(self.overwritten()),
            // The next query fails in the same way and says so.
            Err(_) => {}
        }
        Ok(())
    }

    /// Whether the newest roll reads back as it was stored. Also true if another program has
    /// committed since: it may have changed this roll.
    fn has_newest_roll(&self, connection: &Connection) -> Result<bool, StoreError> {
        let Newest { roll, n_commits } = lock(&self.newest).clone();
        let Some(roll) = roll else { return Ok(true) };
        // Pages in memory are those of the file as it was.
        connection.release_memory()?;
        let is_stored = match history::is_stored_as(connection, &roll) {
            Ok(is_stored) => is_stored == Some(true),
            Err(StoreError::Sqlite(error)) if has_no_rolls(&error) => false,
            Err(error) => return Err(error),
        };
        Ok(is_stored || self.n_commits()? != n_commits)
    }

    fn overwritten(&self) -> StoreError {
        // The log belongs to the database that is gone. The next start must not apply it to the one
        // that is there now. Ignore the error: the server stops anyway.
        let _ = fs::write(lock_path(&self.path), format!("{OVERWRITTEN}\n"));
        StoreError::Overwritten(self.path.clone())
    }
}

impl Checkpoints {
    /// Whether no checkpoint is running or has failed.
    fn have_ended(self) -> bool {
        self.backfilled == self.attempted
    }
}

/// Whether SQLite's error means that the file is no database, or one without the table. A damaged
/// page is something else.
fn has_no_rolls(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::Unknown))
}

fn read_index(index: &File, database: &Path) -> Result<Index, StoreError> {
    let mut bytes = [0; N_INDEX_BYTES];
    let read = index.read_exact_at(&mut bytes, 0);
    read.map_err(|source| file_error("read", &index_path(database), source))?;
    let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let backfilled = number(BACKFILLED_AT);
    let page_size = bytes[PAGE_SIZE_AT..PAGE_SIZE_AT + 2].try_into().expect("two bytes");
    let page_size = match u16::from_ne_bytes(page_size) {
        1 => 1 << 16,
        page_size => u64::from(page_size),
    };
    // 0 pages: the log has been empty since the index was made.
    let n_bytes = page_size * u64::from(number(N_PAGES_AT));
    Ok(Index {
        n_commits: number(N_COMMITS_AT),
        checkpoints: Checkpoints {
            salts: bytes[SALTS_AT..SALTS_AT + 8].try_into().expect("eight bytes"),
            backfilled,
            attempted: number(ATTEMPTED_AT),
        },
        n_bytes: Some(n_bytes).filter(|size| backfilled == number(N_FRAMES_AT) && *size > 0),
    })
}

fn state_of(database: &File, path: &Path) -> Result<FileState, StoreError> {
    let metadata = database.metadata().map_err(|source| file_error("examine", path, source))?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Ok(FileState { n_bytes: metadata.len(), modified })
}

fn first_bytes(database: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; N_COMPARED_BYTES];
    let mut n_read = 0;
    while n_read < N_COMPARED_BYTES {
        match database.read_at(&mut bytes[n_read..], n_read as u64)? {
            0 => break,
            n => n_read += n,
        }
    }
    bytes.truncate(n_read);
    Ok(bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
