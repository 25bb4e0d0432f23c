//! Makes a consistent copy of the history, even while a server appends to it.
//!
//! It uses SQLite's backup API. `vacuum into` is as fast but reports no progress. The backup API
//! restarts whenever another connection commits, so under a busy server it would never finish.
//! So the copy runs inside a read transaction, which sees no later commits. It does not block the
//! writer, but in WAL mode the log grows until the copy is complete.
//!
//! Source: <https://sqlite.org/backup.html>.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::config::StoreConfig;
use crate::draft::{Draft, Existing};
use crate::store::backup_file::{self, target};
use crate::store::error::unusable;
use crate::store::log::secret_path;
use crate::store::{Kept, StoreError, file, history, schema};

/// Pages to copy between two checks for a stop.
const STEP_PAGES: i32 = 1024;
/// Bytes to copy between two syncs. A larger sync would delay the server's own commits.
const SYNC_BYTES: u64 = 32 << 20;
/// Virtual machine instructions between two checks for a stop during the integrity check.
const CHECK_STEPS: i32 = 100_000;

/// The progress of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupStep {
    /// Bytes are being copied.
    Copying {
        /// Bytes copied so far.
        n_copied: u64,
        /// All bytes to copy.
        n_bytes: u64,
    },
    /// All bytes are copied. Now the copy is checked for damage.
    Checking,
}

/// Copies the configured history to `to`, checks the copy and returns the range of its rolls.
/// The file at `to` appears only when the copy is complete. Set `stop` to cancel.
///
/// # Errors
///
/// [`StoreError::UnusableDatabase`] if there is no database or it or the copy is damaged;
/// [`StoreError::Draft`] if `to` cannot be used or another backup writes to it;
/// [`StoreError::Stopped`] after a stop; otherwise the error of the file system or SQLite.
pub fn copy(
    config: &StoreConfig,
    to: &Path,
    existing: Existing,
    stop: &Arc<AtomicBool>,
    mut progress: impl FnMut(BackupStep),
) -> Result<Kept, StoreError> {
    let database = match config.database.parent().map(Path::exists) {
        Some(true) => file::resolve(&config.database)?,
        _ => config.database.clone(),
    };
    if !file::history_exists(&database)? {
        return Err(unusable("no file", &database, "the first start creates it"));
    }
    let secret = secret_path(config, &database);
    let to = target(to, &database, &secret, existing)?;
    // Create the draft first: opening the database may leave a log file beside it.
    // The same users may read the copy as the database.
    let draft = Draft::create(&to, existing, 0o640)?;
    let mut source = file::open(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    schema::check_schema(&source, &database)?;
    let snapshot = source.transaction()?;
    // The snapshot starts at the first read.
    let kept = history::kept(&snapshot)?;

    let mut copy = backup_file::open(&draft)?;
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
    check(&copy, kept, draft.path(), stop)?;
    copy.close().map_err(|(_, error)| error)?;
    // Check again: another program may have created the file or a log of it meanwhile.
    target(&to, &database, &secret, existing)?;
    draft.publish()?;
    Ok(kept)
}

/// Checks that the copy is an undamaged history of these rolls, and makes it a single file.
fn check(
    copy: &Connection,
    kept: Kept,
    path: &Path,
    stop: &Arc<AtomicBool>,
) -> Result<(), StoreError> {
    // Without WAL mode, the copy is one file and is readable in a read-only folder. A server that
    // opens it sets WAL mode again.
    copy.query_row("pragma journal_mode = delete", [], |_| Ok(()))?;
    let stopped = stop.clone();
    copy.progress_handler(CHECK_STEPS, Some(move || stopped.load(Ordering::Relaxed)))?;
    let verdict = copy.query_row("pragma integrity_check(1)", [], |row| row.get::<_, String>(0));
    check_stop(stop)?;
    let verdict = verdict?;
    let is_whole = file::history_exists(path)? && history::kept(copy)? == kept;
    if verdict != "ok" || !is_whole {
        let remedy = "restore an older backup, or check the disk; nothing was changed";
        return Err(unusable(&format!("a damaged one ({verdict})"), path, remedy));
    }
    Ok(())
}

fn check_stop(stop: &AtomicBool) -> Result<(), StoreError> {
    if stop.load(Ordering::Relaxed) { Err(StoreError::Stopped) } else { Ok(()) }
}
