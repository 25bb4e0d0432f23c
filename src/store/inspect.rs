//! Inspecting a database file without changing it.

use std::path::Path;

use rusqlite::OpenFlags;

use crate::config::StoreConfig;
use crate::store::error::unusable;
use crate::store::file::{history_exists, open, resolve};
use crate::store::log::Compared;
use crate::store::schema::check_schema;
use crate::store::server_lock::is_in_use;
use crate::store::{Kept, StoreError, Unreadable, history, log};

/// The first schema that has the log of rolls.
const LOG_SCHEMA: usize = 6;
/// Rows that are read at a time.
const BATCH: usize = 10_000;
/// The most unreadable rows that are returned.
const MAX_UNREADABLE: usize = 20;

/// What is at the path of a database.
#[derive(Debug)]
pub enum Inspection {
    /// No file: the first start creates it.
    Absent,
    /// A sound database.
    Sound {
        /// Which rolls it holds.
        kept: Kept,
        /// Its schema version: how many migrations it has.
        schema: usize,
        /// Whether a server uses it.
        in_use: bool,
        /// How many rows cannot be read.
        n_unreadable: u64,
        /// The first of those.
        unreadable: Vec<Unreadable>,
        /// What the log was compared with, or why rolls cannot be proven.
        log: Result<Compared, StoreError>,
    },
}

/// Inspects the configured database, and its log.
///
/// # Errors
///
/// [`StoreError::UnusableDatabase`] if the file is not a sound rollcast database.
pub fn inspect(config: &StoreConfig) -> Result<Inspection, StoreError> {
    let path = &config.database;
    let path = match path.parent().map(Path::exists) {
        Some(true) => resolve(path)?,
        _ => return Ok(Inspection::Absent),
    };
    if !history_exists(&path)? {
        return Ok(Inspection::Absent);
    }
    let in_use = is_in_use(&path);
    let connection = open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let schema = check_schema(&connection, &path)?;
    let verdict: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        let remedy = "restore a backup; nothing was changed";
        return Err(unusable(&format!("a damaged one ({verdict})"), &path, remedy));
    }
    let kept = history::kept(&connection)?;
    let (mut n_unreadable, mut unreadable) = (0, Vec::new());
    let mut ids = kept.ids();
    // In batches, so that no long transaction keeps a server's log from shrinking.
    loop {
        let rows = history::between(&connection, ids, BATCH)?;
        let Some(newest) = rows.newest() else { break };
        ids.after = newest;
        n_unreadable += rows.unreadable.len() as u64;
        let n_more = MAX_UNREADABLE - unreadable.len();
        unreadable.extend(rows.unreadable.into_iter().take(n_more));
    }
    let log = match schema >= LOG_SCHEMA {
        true => log::inspect(&connection, &log::secret_path(config, &path)),
        false => Ok(Compared::NotYet),
    };
    Ok(Inspection::Sound { kept, schema, in_use, n_unreadable, unreadable, log })
}
