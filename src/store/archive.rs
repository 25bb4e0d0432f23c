//! Read-only access to a database file for commands. A server may use the file at the same time.

use rusqlite::{Connection, OpenFlags};

use crate::config::StoreConfig;
use crate::cursor::Cursor;
use crate::statistics::Tallies;
use crate::store::error::unusable;
use crate::store::{
    Extent, IdRange, RollRange, Rows, StoreError, extent, file, history, projection, schema,
};

/// The history in a file. Its calls block.
pub struct Archive(Connection);

impl Archive {
    /// Opens the file, which may be in use by a server.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnusableDatabase`] if there is no file or it is not a history that this
    /// program can read; otherwise the error of the file system or SQLite.
    pub fn open(config: &StoreConfig) -> Result<Archive, StoreError> {
        let path = &config.database;
        if !file::history_exists(path)? {
            return Err(unusable("no file", path, "the first start creates it"));
        }
        let connection = file::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        schema::check_schema(&connection, path)?;
        Ok(Archive(connection))
    }

    /// The tallies of all rolls, including those that no server has counted yet.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn tallies(&mut self) -> Result<Tallies, StoreError> {
        projection::compute(&mut self.0)
    }

    /// The newest roll.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn head(&self) -> Result<Cursor, StoreError> {
        history::head(&self.0)
    }

    /// The current first and last roll of a range.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherHistory`] if a bound belongs to another history; otherwise the database
    /// cannot be read.
    pub fn extent(&mut self, range: &RollRange) -> Result<Extent, StoreError> {
        extent::extent(&mut self.0, range, None)
    }

    /// The rows of a range, oldest first, at most `limit`. Empty means that no more are stored.
    ///
    /// Read in batches, because a long transaction would keep a server's write-ahead log growing.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn between(&self, ids: IdRange, limit: usize) -> Result<Rows, StoreError> {
        history::between(&self.0, ids, limit)
    }
}
