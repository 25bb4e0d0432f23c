//! The database's disk: what is taken of it and what is left.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::store::{Disk, StoreError, file};

pub fn look(database: &Path) -> Result<Disk, StoreError> {
    let error = |source| file::file_error("look at the disk of", database, source);
    let disk = statvfs(database).map_err(|errno| error(io::Error::from(errno)))?;
    let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
    Ok(Disk {
        n_database_bytes: size(database).map_err(error)?,
        // There is none before the first commit.
        n_log_bytes: size(&file::log_path(database)).unwrap_or(0),
        n_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        read_only: disk.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}
