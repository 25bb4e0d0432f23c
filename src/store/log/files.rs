//! The file of the secret, and the file of the newest checkpoint beside it.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::draft::{Draft, Existing};
use crate::seeds::Secret;
use crate::store::StoreError;
use crate::store::error::file_error;
use crate::store::file::beside;

/// The mode of the secret and its checkpoint: only the server's user reads and writes them.
const MODE: u32 = 0o600;
/// How long a lock of the secret is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads the secret.
///
/// # Errors
///
/// [`StoreError::Secret`] if the file does not exist, or is not a secret; [`StoreError::File`] if it
/// cannot be read.
pub fn load_secret(path: &Path) -> Result<Secret, StoreError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            warn_of_readers(path);
            Secret::parse(&text).ok_or_else(|| StoreError::Secret {
                path: path.to_path_buf(),
                fault: "is not 64 hex digits and a newline",
            })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StoreError::Secret { path: path.to_path_buf(), fault: "does not exist" })
        }
        Err(source) => Err(file_error("read", path, source)),
    }
}

/// Locks the secret for as long as the file is open. Two servers with one secret would sign two logs
/// with one key.
///
/// # Errors
///
/// [`StoreError::Secret`] if another process has locked it; [`StoreError::File`] if it cannot be
/// opened.
pub fn lock_secret(path: &Path) -> Result<File, StoreError> {
    let file = File::open(path).map_err(|source| file_error("read", path, source))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            // A process that a process starts has its open files for a moment.
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_TIMEOUT => {
                thread::sleep(LOCK_TIMEOUT / 100);
            }
            Err(TryLockError::WouldBlock) => {
                let fault = "is in use by another server";
                return Err(StoreError::Secret { path: path.to_path_buf(), fault });
            }
            // Some network file systems have no locks. The lock of the database counts there too.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// Creates a new secret. Its file is created atomically, and is durable when this returns.
///
/// # Errors
///
/// [`StoreError::Draft`] or [`StoreError::File`].
pub fn create_secret(path: &Path) -> Result<Secret, StoreError> {
    let secret = Secret::generate().map_err(|_| {
        let source = std::io::Error::other("the operating system provides no random bytes");
        file_error("create", path, source)
    })?;
    write(path, Existing::Refuse, &secret.to_file())?;
    Ok(secret)
}

/// The path of the newest checkpoint, which is beside the secret.
pub fn checkpoint_path(secret: &Path) -> PathBuf {
    beside(secret, ".checkpoint")
}

/// The newest checkpoint that was signed; `None` without a file.
///
/// # Errors
///
/// [`StoreError::File`] if it cannot be read.
pub fn read_checkpoint(secret: &Path) -> Result<Option<String>, StoreError> {
    let path = checkpoint_path(secret);
    match fs::read_to_string(&path) {
        Ok(note) => Ok(Some(note)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file_error("read", &path, source)),
    }
}

/// Replaces the newest checkpoint in one step. It is durable when this returns.
///
/// # Errors
///
/// [`StoreError::Draft`] or [`StoreError::File`].
pub fn write_checkpoint(secret: &Path, note: &str) -> Result<(), StoreError> {
    write(&checkpoint_path(secret), Existing::Replace, note)
}

fn write(path: &Path, existing: Existing, text: &str) -> Result<(), StoreError> {
    let mut draft = Draft::create(path, existing, MODE)?;
    let written = draft.write_all(text.as_bytes());
    written.map_err(|source| file_error("write", draft.path(), source))?;
    Ok(draft.publish()?)
}

/// Warns if other users can read the secret, because they would know every future roll.
fn warn_of_readers(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.mode() & 0o077 != 0 {
        let path = path.display();
        warn!("other users can read the secret `{path}`: run chmod 600 `{path}`");
    }
}
