//! Notices that the database file was overwritten in place, as `cp other.db rolls.db` does: the file
//! is the same, and its content is another database.
//!
//! Only a checkpoint of SQLite writes to the file, and it says so in the shared index of the log
//! before it starts and when it is done. A file that changed without that was written by somebody
//! else. `touch` only changes its time: so the header, the size and some stored rolls are compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::roll::{Roll, RollId};
use crate::store::file::{index_path, lock_path, open};
use crate::store::{Kept, StoreError};

/// <https://sqlite.org/fileformat.html#the_database_header>
const HEADER_BYTES: usize = 100;
/// <https://sqlite.org/walformat.html#the_wal_index_header>
const INDEX_BYTES: usize = 136;
const SALTS_AT: usize = 32;
const BACKFILLED_AT: usize = 96;
const BACKFILL_ATTEMPTED_AT: usize = 128;
/// How many rolls are compared for each doubling of the distance from the newest roll.
const ROLLS_PER_DOUBLING: i64 = 2;
/// The first word of the lock file after the database was overwritten.
pub const OVERWRITTEN: &str = "overwritten";

/// The content of an open database.
pub struct Content {
    path: PathBuf,
    /// Dropped after SQLite has closed the file: closing any handle releases SQLite's locks on it.
    database: File,
    index: File,
    seen: Mutex<Seen>,
    rolls: Mutex<BTreeMap<RollId, Vec<u8>>>,
}

/// What the file looked like when it was last known to be the right one.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    size: u64,
    modified: (i64, i64),
    header: [u8; HEADER_BYTES],
    checkpoints: Checkpoints,
}

/// How far checkpoints have come.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Checkpoints {
    salts: [u8; 8],
    backfilled: [u8; 4],
    attempted: [u8; 4],
}

impl Content {
    /// The content of the database at `path`, which `connection` has open.
    ///
    /// # Errors
    ///
    /// [`StoreError::CannotExamine`] if the files cannot be read; otherwise the error of SQLite.
    pub fn new(path: &Path, connection: &Connection, kept: Kept) -> Result<Content, StoreError> {
        let failed = |source| cannot_examine(path, source);
        let database = File::open(path).map_err(failed)?;
        let index = File::open(index_path(path)).map_err(failed)?;
        let checkpoints = Checkpoints::read(&index).map_err(failed)?;
        let seen = Seen::read(&database, checkpoints).map_err(failed)?;
        let rolls = compared(connection, kept)?;
        let (path, seen, rolls) = (path.to_path_buf(), Mutex::new(seen), Mutex::new(rolls));
        Ok(Content { path, database, index, seen, rolls })
    }

    /// Adds rolls that were stored just now.
    pub fn add(&self, new: &[Roll]) {
        let Some(head) = new.last().map(|roll| roll.id) else { return };
        let mut rolls = self.rolls.lock().unwrap_or_else(PoisonError::into_inner);
        rolls.extend(
            new.iter()
                .map(|roll| (roll.id, format!("{} {}", roll.rolled_at, roll.dice).into_bytes())),
        );
        rolls.retain(|id, _| is_compared(*id, head));
    }

    /// Reads the rolls that are compared again, because another program changed rows through SQLite.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn reread(&self, connection: &Connection, kept: Kept) -> Result<(), StoreError> {
        let rolls = compared(connection, kept)?;
        *self.rolls.lock().unwrap_or_else(PoisonError::into_inner) = rolls;
        Ok(())
    }

    /// Forgets the rolls up to this one, which were pruned.
    pub fn prune(&self, up_to: RollId) {
        self.rolls.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| *id > up_to);
    }

    /// Checks that nobody but SQLite wrote to the file.
    ///
    /// # Errors
    ///
    /// [`StoreError::Overwritten`] if somebody did; [`StoreError::CannotExamine`] if the file cannot
    /// be read; otherwise the error of SQLite.
    pub fn check(&self) -> Result<(), StoreError> {
        let failed = |source| cannot_examine(&self.path, source);
        // One at a time, so that many reads do not compare the same change.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let checkpoints = Checkpoints::read(&self.index).map_err(failed)?;
        if modified(&self.database).map_err(failed)? == (seen.size, seen.modified) {
            // The log may begin anew, which changes only the index.
            if checkpoints.is_idle() {
                seen.checkpoints = checkpoints;
            }
            return Ok(());
        }
        let now = Seen::read(&self.database, checkpoints).map_err(failed)?;
        if Checkpoints::read(&self.index).map_err(failed)? != checkpoints {
            // A checkpoint writes to the file at this moment.
            return Ok(());
        }
        if checkpoints != seen.checkpoints {
            if checkpoints.is_idle() {
                *seen = now;
            }
            return Ok(());
        }
        let is_same = (now.size, now.header) == (seen.size, seen.header);
        if is_same && self.has_its_rolls()? {
            *seen = now;
            return Ok(());
        }
        // The log belongs to the database that is gone. The next start must not apply it to the one
        // that is there now. Ignore the error: the server stops anyway.
        let _ = fs::write(lock_path(&self.path), format!("{OVERWRITTEN}\n"));
        Err(StoreError::Overwritten(self.path.clone()))
    }

    /// Whether the file and its log still hold the rolls that were stored. Reads them on a new
    /// connection, which has no pages in memory.
    fn has_its_rolls(&self) -> Result<bool, StoreError> {
        let rolls = self.rolls.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let connection = open(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            for (id, expected) in rolls.iter() {
                if stored(&connection, *id)?.as_ref() != Some(expected) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        match read() {
            Err(StoreError::Sqlite(error)) if is_of_another_database(&error) => Ok(false),
            result => result,
        }
    }
}

impl Seen {
    fn read(database: &File, checkpoints: Checkpoints) -> io::Result<Seen> {
        let (size, modified) = modified(database)?;
        let mut header = [0; HEADER_BYTES];
        // A file that is being overwritten may be shorter.
        let _ = database.read_at(&mut header, 0)?;
        Ok(Seen { size, modified, header, checkpoints })
    }
}

impl Checkpoints {
    fn read(index: &File) -> io::Result<Checkpoints> {
        let mut bytes = [0; INDEX_BYTES];
        index.read_exact_at(&mut bytes, 0)?;
        let word = |at: usize| bytes[at..at + 4].try_into().expect("four bytes");
        Ok(Checkpoints {
            salts: bytes[SALTS_AT..SALTS_AT + 8].try_into().expect("eight bytes"),
            backfilled: word(BACKFILLED_AT),
            attempted: word(BACKFILL_ATTEMPTED_AT),
        })
    }

    /// Whether no checkpoint is running.
    fn is_idle(self) -> bool {
        self.backfilled == self.attempted
    }
}

fn modified(database: &File) -> io::Result<(u64, (i64, i64))> {
    let metadata = database.metadata()?;
    Ok((metadata.len(), (metadata.mtime(), metadata.mtime_nsec())))
}

/// The rolls that are compared, as they are stored.
fn compared(connection: &Connection, kept: Kept) -> Result<BTreeMap<RollId, Vec<u8>>, StoreError> {
    let mut rolls = BTreeMap::new();
    for id in spread(kept) {
        if let Some(text) = stored(connection, id)? {
            rolls.insert(id, text);
        }
    }
    Ok(rolls)
}

/// The time and the dice of a row as they are stored.
fn stored(connection: &Connection, id: RollId) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "select cast(rolled_at || ' ' || dice as blob) from rolls where id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([id.0], |row| row.get(0)).optional()?)
}

/// The stored ids that are compared: the newer, the denser.
fn spread(kept: Kept) -> Vec<RollId> {
    let (oldest, head) = (kept.oldest.0, kept.head.id.0);
    let mut ids = Vec::new();
    let mut step = 1;
    while step <= head {
        let newest = head - head % step;
        let some = (0..=ROLLS_PER_DOUBLING).map(|n| newest - n * step);
        ids.extend(some.filter(|id| *id >= oldest && *id > 0).map(RollId));
        step *= 2;
    }
    ids.retain(|id| is_compared(*id, kept.head.id));
    ids
}

/// Whether a roll is still compared when `head` is the newest one.
fn is_compared(id: RollId, head: RollId) -> bool {
    let step = 1_i64 << id.0.trailing_zeros().min(61);
    (head.0 - id.0) / step < ROLLS_PER_DOUBLING
}

/// Whether SQLite's error means that the content does not fit the log.
fn is_of_another_database(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
    )
}

fn cannot_examine(path: &Path, source: io::Error) -> StoreError {
    StoreError::CannotExamine { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::cursor::Cursor;

    #[test]
    fn few_rolls_are_compared_and_the_newer_they_are_the_more() {
        let mut kept_ids: Vec<RollId> = Vec::new();
        for head in 1..=5_000 {
            // What is left of the rolls that were added one by one, and what a start reads.
            kept_ids.push(RollId(head));
            kept_ids.retain(|id| is_compared(*id, RollId(head)));
            let kept = Kept { oldest: RollId(1), head: Cursor::from(RollId(head)) };
            let mut spread = spread(kept);
            spread.sort();
            spread.dedup();
            assert_eq!(kept_ids, spread, "head {head}");
        }
        let distances: Vec<i64> = kept_ids.iter().map(|id| 5_000 - id.0).collect();
        assert!(distances.len() < 30 && distances.contains(&0), "{distances:?}");
        for doubling in 0..12 {
            let range = (1 << doubling)..=(2 << doubling);
            assert!(distances.iter().any(|distance| range.contains(distance)), "{distances:?}");
        }
        let pruned = Kept { oldest: RollId(4_990), head: Cursor::from(RollId(5_000)) };
        assert!(spread(pruned).iter().all(|id| id.0 >= 4_990));
    }
}
