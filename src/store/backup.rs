//! A sound copy of the history, also while a server adds to it.
//!
//! By SQLite's backup API rather than `vacuum into`, which is as quick but says nothing until it is
//! done: it copies page after page and knows how many are left. On its own it starts over whenever
//! somebody else commits, which under a busy server is for ever; inside a read transaction nothing
//! changes for it. That holds up no writer: in WAL mode the log merely grows until the copy is made.
//!
//! Source: <https://sqlite.org/backup.html>.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::store::{BackupStep, Existing, Kept, StoreError, file, history};

/// What is copied between two looks at whether to go on.
const STEP_PAGES: i32 = 1024;
/// What is copied before it is brought to the disk: more at once, and the server's own commits would
/// have to wait for it.
const SYNC_BYTES: u64 = 32 << 20;
/// SQLite's steps between two looks at whether to go on, while it checks the copy.
const CHECK_STEPS: i32 = 100_000;
/// Names that SQLite and we give to files of a database, after its own.
const COMPANIONS: [&str; 5] = ["-wal", "-shm", "-journal", "-lock", "-new"];

/// Copies the history at `database` to `to`, which appears whole or not at all.
pub fn copy(
    database: &Path,
    to: &Path,
    existing: Existing,
    stop: &Arc<AtomicBool>,
    mut progress: impl FnMut(BackupStep),
) -> Result<Kept, StoreError> {
    let database = match database.parent().map(Path::exists) {
        Some(true) => file::resolve(database)?,
        _ => database.to_path_buf(),
    };
    if !file::looks_like_ours(&database)? {
        return Err(file::not_ours("no file", &database, "the first start creates it"));
    }
    let to = target(to, &database, existing)?;
    let mut source = file::open(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    file::check_schema(&source, &database)?;
    let snapshot = source.transaction()?;
    // The first read is where the transaction begins.
    let kept = history::kept(&snapshot)?;

    let draft = Draft::create(&to)?;
    let mut copy = draft.open()?;
    let backup = Backup::new(&snapshot, &mut copy)?;
    let page_bytes: u32 = snapshot.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let mut n_synced = 0;
    loop {
        check_stop(stop)?;
        let result = backup.step(STEP_PAGES)?;
        let at = backup.progress();
        let n_bytes = |n_pages: i32| u64::try_from(n_pages).unwrap_or(0) * u64::from(page_bytes);
        let (n_copied, total) = (n_bytes(at.pagecount - at.remaining), n_bytes(at.pagecount));
        progress(BackupStep::Copying { n_copied, n_bytes: total });
        if n_copied - n_synced >= SYNC_BYTES {
            draft.sync()?;
            n_synced = n_copied;
        }
        if result == StepResult::Done {
            break;
        }
    }
    drop(backup);
    drop(snapshot);

    progress(BackupStep::Checking);
    check(&copy, kept, &draft.path, stop)?;
    copy.close().map_err(|(_, error)| error)?;
    draft.sync()?;
    // Somebody else may have made it meanwhile.
    target(&to, &database, existing)?;
    draft.publish(&to)?;
    Ok(kept)
}

/// The copy's own name, absolute and without links, if a copy may stand there.
fn target(to: &Path, database: &Path, existing: Existing) -> Result<PathBuf, StoreError> {
    let to = std::path::absolute(to)
        .map_err(|source| file::file_error("find the folder of", to, source))?;
    let refuse = |found: &str, path: &Path, remedy| {
        let (found, path) = (found.to_string(), path.to_path_buf());
        Err(StoreError::Target { found, path, remedy })
    };
    let folder = to.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return refuse("no such folder", folder, "make it first");
    }
    if to.is_symlink() && !to.exists() {
        return refuse("a link to nowhere", &to, "give the copy another name");
    }
    let to = file::resolve(&to)?;
    let own = COMPANIONS.map(|suffix| file::beside(database, suffix));
    if to == database || own.contains(&to) || same_file(&to, database) {
        return refuse("the database itself or a file of it", &to, "give the copy another name");
    }
    match fs::symlink_metadata(&to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(file::file_error("look at", &to, source)),
        Ok(metadata) if !metadata.is_file() => {
            return refuse("something that is not a file", &to, "give the copy another name");
        }
        Ok(_) if existing == Existing::Refuse => {
            return refuse("a file", &to, "give the copy another name, or replace it by --force");
        }
        Ok(_) => {}
    }
    // SQLite would take its rolls for the copy's own.
    let log = file::log_path(&to);
    if log.exists() {
        let remedy = "a database of that name is in use or was; give the copy another name";
        return refuse("a write-ahead log", &log, remedy);
    }
    Ok(to)
}

/// Two names of one file, also where both are hard links.
fn same_file(one: &Path, other: &Path) -> bool {
    let identify = |path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identify(one).is_some_and(|one| Some(one) == identify(other))
}

/// Whether the copy is a sound history of these rolls, in a single file.
fn check(
    copy: &Connection,
    kept: Kept,
    path: &Path,
    stop: &Arc<AtomicBool>,
) -> Result<(), StoreError> {
    // Then it can be read where nothing may be written, and be copied as one file. A server that
    // opens it brings it back to WAL mode.
    copy.query_row("pragma journal_mode = delete", [], |_| Ok(()))?;
    let stopped = stop.clone();
    copy.progress_handler(CHECK_STEPS, Some(move || stopped.load(Ordering::Relaxed)))?;
    let verdict = copy.query_row("pragma integrity_check(1)", [], |row| row.get::<_, String>(0));
    check_stop(stop)?;
    let verdict = verdict?;
    let is_whole = file::looks_like_ours(path)? && history::kept(copy)? == kept;
    if verdict != "ok" || !is_whole {
        let remedy = "restore an older backup, or check the disk; nothing was changed";
        return Err(file::not_ours(&format!("a damaged one ({verdict})"), path, remedy));
    }
    Ok(())
}

fn check_stop(stop: &AtomicBool) -> Result<(), StoreError> {
    if stop.load(Ordering::Relaxed) { Err(StoreError::Stopped) } else { Ok(()) }
}

/// The copy under another name, until it is whole; removed when dropped before that.
struct Draft {
    path: PathBuf,
    /// Locked, so that two backups never write to one draft.
    file: File,
}

impl Draft {
    fn create(to: &Path) -> Result<Draft, StoreError> {
        let path = file::beside(to, "-new");
        loop {
            // For those who may read the database. What a kill has left is used again.
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o640)
                .open(&path)
                .map_err(|source| file::file_error("create", &path, source))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StoreError::Drafting(path)),
                Err(TryLockError::Error(source)) => {
                    return Err(file::file_error("lock", &path, source));
                }
            }
            // The one before us may have published or removed what we opened.
            let is_there = fs::metadata(&path).is_ok_and(|named| {
                file.metadata()
                    .is_ok_and(|ours| (named.dev(), named.ino()) == (ours.dev(), ours.ino()))
            });
            if is_there {
                let draft = Draft { path, file };
                draft.with("write", |file| file.set_len(0))?;
                return Ok(draft);
            }
        }
    }

    /// Without SQLite's own locks and journal: nobody else knows the draft, and a copy that fails is
    /// thrown away.
    fn open(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let copy = Connection::open_with_flags_and_vfs(&self.path, flags, c"unix-none")?;
        copy.pragma_update(None, "locking_mode", "exclusive")?;
        copy.query_row("pragma journal_mode = off", [], |_| Ok(()))?;
        Ok(copy)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.with("write", File::sync_all)
    }

    fn with(
        &self,
        action: &'static str,
        work: impl FnOnce(&File) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        work(&self.file).map_err(|source| file::file_error(action, &self.path, source))
    }

    /// Gives the copy its name.
    fn publish(self, to: &Path) -> Result<(), StoreError> {
        file::rename(&self.path, to)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already, once published. If it cannot be removed, the next backup uses it again.
        let _ = fs::remove_file(&self.path);
    }
}
