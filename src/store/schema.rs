//! The schema of the database: its migrations, and which version a file has.

use std::path::Path;

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use crate::store::StoreError;
use crate::store::error::{explain_read_only, unusable};

/// In order. A migration that is on the main branch is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_rolls.sql"),
    include_str!("../../migrations/0002_statistics.sql"),
    include_str!("../../migrations/0003_projections.sql"),
    include_str!("../../migrations/0004_damaged_rows.sql"),
    include_str!("../../migrations/0005_clock_steps.sql"),
    include_str!("../../migrations/0006_log.sql"),
    include_str!("../../migrations/0007_evidence.sql"),
];
/// The newest schema version that this program supports.
const SCHEMA: usize = MIGRATIONS.len();

/// Migrates the database to the newest schema.
///
/// # Errors
///
/// [`StoreError::Upgrade`] if a statement of a migration fails; otherwise the error of the
/// migration library.
pub fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let migrations = MIGRATIONS.iter().map(|sql| M::up(sql)).collect();
    match Migrations::new(migrations).to_latest(connection) {
        // Leave out the query: a migration is a page of SQL and does not explain the failure.
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => Err(StoreError::Upgrade(err)),
        result => Ok(result?),
    }
}

/// Reads the schema version through SQLite, because the header can be older than the write-ahead
/// log.
///
/// # Errors
///
/// [`StoreError::UnusableDatabase`] if the schema is newer than this program;
/// [`StoreError::ReadOnlyFolder`] if SQLite would have to write; [`StoreError::Sqlite`] if the
/// version cannot be read.
pub fn check_schema(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    check_version(version.map_err(|error| explain_read_only(error, path))?, path)
}

/// Checks a schema version that was read from the header of the file.
///
/// # Errors
///
/// [`StoreError::UnusableDatabase`] if it is newer than this program.
pub fn check_version(version: i64, path: &Path) -> Result<usize, StoreError> {
    match usize::try_from(version) {
        Ok(version) if version <= SCHEMA => Ok(version),
        _ => Err(unusable(
            &format!("one of a newer rollcast (schema {version}, this one knows {SCHEMA})"),
            path,
            "run that rollcast, or name another file in rollcast.database; nothing was changed",
        )),
    }
}
