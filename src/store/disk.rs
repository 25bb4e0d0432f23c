//! The disk space of the database.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::store::{StoreError, file};

/// The disk space that the database takes, and what is free.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// The size of the database file.
    pub n_database_bytes: u64,
    /// The size of its write-ahead log.
    pub n_log_bytes: u64,
    /// The space that this user may still write.
    pub n_free_bytes: u64,
    /// Whether the file system is mounted read-only.
    pub read_only: bool,
}

/// Asks the file system.
///
/// # Errors
///
/// [`StoreError::File`] if it does not answer.
pub fn look(database: &Path) -> Result<Disk, StoreError> {
    let error = |source| file::file_error("look at the disk of", database, source);
    let disk = statvfs(database).map_err(|errno| error(io::Error::from(errno)))?;
    let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
    Ok(Disk {
        n_database_bytes: size(database).map_err(error)?,
        // It does not exist before the first commit.
        n_log_bytes: size(&file::log_path(database)).unwrap_or(0),
        n_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        read_only: disk.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}
