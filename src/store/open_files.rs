//! The files that a store has open: notices if one was moved, deleted, replaced or overwritten.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::store::StoreError;
use crate::store::content::Content;
use crate::store::file::log_path;

/// The files that a store has open. Used to check that they are still at their paths: a commit to a
/// deleted file succeeds, and the data is lost with the file.
pub struct OpenFiles {
    database: TrackedFile,
    log: TrackedFile,
    content: Content,
}

/// A path, and the device and inode that it had when the file was opened.
pub struct TrackedFile {
    path: PathBuf,
    id: (u64, u64),
}

impl OpenFiles {
    /// The `database` with its `content`, and its write-ahead log, which exists after the first
    /// read of a connection.
    ///
    /// # Errors
    ///
    /// [`StoreError::Moved`] if there is no log; [`StoreError::CannotExamine`] if it cannot be
    /// examined.
    pub fn new(database: TrackedFile, content: Content) -> Result<OpenFiles, StoreError> {
        let log = TrackedFile::at(&log_path(&database.path))?;
        Ok(OpenFiles { database, log, content })
    }

    /// Checks that both files are still at their paths, and that nobody but SQLite wrote to the
    /// database. See [`Content::check`] for `connection`.
    ///
    /// # Errors
    ///
    /// As of [`check_paths`](Self::check_paths) and [`Content::check`].
    pub fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        self.check_paths()?;
        self.content.check(connection)
    }

    /// Checks that both files are still at their paths.
    ///
    /// # Errors
    ///
    /// [`StoreError::Moved`] if one was moved, deleted or replaced; [`StoreError::CannotExamine`]
    /// if a path cannot be examined.
    pub fn check_paths(&self) -> Result<(), StoreError> {
        self.database.check()?;
        self.log.check()
    }

    /// The content of the database.
    pub fn content(&self) -> &Content {
        &self.content
    }
}

impl TrackedFile {
    /// The file that is now at `path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Moved`] if there is none; [`StoreError::CannotExamine`] if it cannot be
    /// examined.
    pub fn at(path: &Path) -> Result<TrackedFile, StoreError> {
        Ok(TrackedFile { path: path.to_path_buf(), id: identify(path)? })
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
        Err(source) => Err(StoreError::CannotExamine { path: path.to_path_buf(), source }),
    }
}
