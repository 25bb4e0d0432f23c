//! The disk space of the database.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::store::error::file_error;
use crate::store::{StoreError, file};

/// The disk space that the database uses, and the free space.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// The size of the database file, in bytes.
    pub n_database_bytes: u64,
    /// The size of its write-ahead log, in bytes.
    pub n_log_bytes: u64,
    /// The free space that this user may write, in bytes.
    pub n_free_bytes: u64,
    /// Whether the file system is mounted read-only.
    pub read_only: bool,
}

/// Reads the sizes and the free space from the file system.
///
/// # Errors
///
/// [`StoreError::File`] if the file system returns an error.
pub fn measure(database: &Path) -> Result<Disk, StoreError> {
    let error = |source| file_error("examine the disk of", database, source);
    let disk = statvfs(database).map_err(|errno| error(io::Error::from(errno)))?;
    let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
    Ok(Disk {
        n_database_bytes: size(database).map_err(error)?,
        // The log does not exist before the first commit.
        n_log_bytes: size(&file::log_path(database)).unwrap_or(0),
        n_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        read_only: disk.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}
