//! The limit on the size of files, which an operator may have set for the server.

use std::fs;
use std::path::Path;

use rusqlite::ffi;
use rustix::process::{Resource, getrlimit};

use crate::store::StoreError;
use crate::store::file::log_path;

/// A write that fails at the limit is at most this far below it: a page of the log with its header,
/// or some pages of a checkpoint.
const MARGIN_BYTES: u64 = 64 << 10;

/// Replaces SQLite's error about a write by one that names the limit, if a file of the `database` has
/// reached it. SQLite only knows that the write failed.
pub fn explain_limit(error: StoreError, database: &Path) -> StoreError {
    match &error {
        StoreError::Sqlite(cause) if is_write(cause) => {}
        _ => return error,
    }
    let Some(limit) = getrlimit(Resource::Fsize).current else { return error };
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let log = log_path(database);
    match [log.as_path(), database].into_iter().find(|path| size(path) + MARGIN_BYTES > limit) {
        Some(path) => StoreError::FileLimit { path: path.to_path_buf(), limit },
        None => error,
    }
}

fn is_write(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_TRUNCATE))
}
