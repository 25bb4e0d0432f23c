//! The lock that keeps a second server out, under every name of the database file.
//!
//! There are two locks. One is on the file `-lock` beside the database: it exists before the
//! database does, and names the process that holds it. The other one is on a byte of the database
//! itself, so it holds under every name: a hard link, a bind mount, and after somebody removed the
//! file `-lock`.
//!
//! That byte lies far behind the end of the file, where SQLite locks nothing. `flock` would lock the
//! whole file: on FreeBSD and on network file systems, SQLite's own locks conflict with it.
//!
//! The lock of a byte belongs to its open file on Linux (`F_OFD_SETLK`), and to the process
//! elsewhere. Closing any handle of a file releases all locks of a process on it, SQLite's too. So
//! the handle stays open as long as SQLite has the file open, and elsewhere than on Linux the lock is
//! taken again when SQLite has opened the file: from then on it closes no handle.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::store::StoreError;
use crate::store::error::file_error;
use crate::store::file::{MODE, lock_path};

/// The byte of the database that is locked. SQLite locks bytes near 2^30.
const LOCKED_BYTE: libc::off_t = libc::off_t::MAX - 1;

/// Held by one server. Dropping it releases the locks.
pub struct ServerLock {
    path: PathBuf,
    /// The locked file beside the database.
    _beside: File,
    /// The database, once it exists.
    database: Option<File>,
}

impl ServerLock {
    /// Acquires the lock on the file beside the database at `path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if another server holds it; [`StoreError::File`] if the file cannot be
    /// created or locked.
    pub fn acquire(path: &Path) -> Result<ServerLock, StoreError> {
        let lock_path = lock_path(path);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(&lock_path)
            .map_err(|source| file_error("create", &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                // Ignore the error: the process id only names the holder in the message.
                let _ = lock.read_to_string(&mut process);
                let holder = match process.trim() {
                    "" => String::new(),
                    process => format!(" (process {process})"),
                };
                return Err(StoreError::InUse { path: path.to_path_buf(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(file_error("lock", &lock_path, source)),
        }
        // Ignore the error, such as a full disk: the lock works without the process id.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(ServerLock { path: path.to_path_buf(), _beside: lock, database: None })
    }

    /// Acquires the lock on the database itself. Call it before SQLite opens the file to write, and
    /// again when all connections are open.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if another server holds it under any name; [`StoreError::File`] if the
    /// file cannot be written to or locked.
    pub fn acquire_database(&mut self) -> Result<(), StoreError> {
        let database = match &self.database {
            Some(database) => database,
            None => {
                // Use the file system here: unlike SQLite, it reports why a file is not writable.
                let opened = OpenOptions::new().read(true).write(true).open(&self.path);
                let opened = opened.map_err(|source| file_error("write to", &self.path, source))?;
                self.database.insert(opened)
            }
        };
        match fcntl(database, set_lock(&locked_byte())) {
            Ok(_) => Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(StoreError::InUse {
                path: self.path.clone(),
                holder: ", perhaps under another name of the file".into(),
            }),
            Err(errno) => Err(file_error("lock", &self.path, io::Error::from(errno))),
        }
    }
}

/// Whether a server uses the database at `path`. Takes no lock, so no start of a server fails because
/// of it. Call it while this process does not have the file open in SQLite.
pub fn is_in_use(path: &Path) -> bool {
    let mut lock = locked_byte();
    let asked = File::open(path).map(|database| fcntl(database, get_lock(&mut lock)));
    matches!(asked, Ok(Ok(_))) && lock.l_type != unlocked()
}

fn locked_byte() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: LOCKED_BYTE,
        l_len: 1,
        l_pid: 0,
        #[cfg(target_os = "freebsd")]
        l_sysid: 0,
    }
}

fn unlocked() -> libc::c_short {
    libc::F_UNLCK as libc::c_short
}

#[cfg(target_os = "linux")]
fn set_lock(lock: &libc::flock) -> FcntlArg<'_> {
    FcntlArg::F_OFD_SETLK(lock)
}

#[cfg(target_os = "linux")]
fn get_lock(lock: &mut libc::flock) -> FcntlArg<'_> {
    FcntlArg::F_OFD_GETLK(lock)
}

#[cfg(not(target_os = "linux"))]
fn set_lock(lock: &libc::flock) -> FcntlArg<'_> {
    FcntlArg::F_SETLK(lock)
}

#[cfg(not(target_os = "linux"))]
fn get_lock(lock: &mut libc::flock) -> FcntlArg<'_> {
    FcntlArg::F_GETLK(lock)
}
