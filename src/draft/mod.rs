//! Writes a new file: to a draft beside it, which gets the file's name when it is complete.
//! `export` and `backup` both use it.

mod error;
mod target;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::draft::error::failed;
use crate::draft::target::exists;

pub use self::error::{DraftError, refuse};
pub use self::target::{Existing, check, is_same_file, path_of, resolve};

/// The incomplete file, under the name of a draft. Dropping it removes the file.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    to: PathBuf,
    existing: Existing,
    /// Locked, so that two processes never write to one draft.
    file: File,
}

impl Draft {
    /// Creates the draft beside `to`, a path of [`resolve`], or takes over the one that a killed
    /// process left. A new file gets the permissions `mode` that the umask leaves.
    ///
    /// # Errors
    ///
    /// [`DraftError::Busy`] if another process writes to it; [`DraftError::Target`] as for
    /// [`check`], or if the draft's name is taken otherwise; [`DraftError::File`] if it cannot be
    /// created.
    pub fn create(to: &Path, existing: Existing, mode: u32) -> Result<Draft, DraftError> {
        check(to, existing)?;
        let path = path_of(to);
        loop {
            let Some((file, is_new)) = open_new_or_left(&path, to, mode)? else { continue };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(DraftError::Busy(to.to_path_buf())),
                // Some network file systems have no locks. There, a new file is still our own.
                Err(TryLockError::Error(_)) if is_new => {}
                Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
            }
            let draft = Draft { path: path.clone(), to: to.to_path_buf(), existing, file };
            // The previous lock holder may have published or removed the opened file. So write
            // nothing before this check.
            if draft.is_at_its_name() {
                draft.file.set_len(0).map_err(failed("write", &path))?;
                return Ok(draft);
            }
        }
    }

    /// The draft's own path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the content to the disk.
    ///
    /// # Errors
    ///
    /// [`DraftError::File`] if that fails.
    pub fn sync(&self) -> Result<(), DraftError> {
        self.file.sync_all().map_err(failed("write", &self.path))
    }

    /// Makes the content durable, then gives the file its name in one step.
    ///
    /// # Errors
    ///
    /// [`DraftError::Target`] if a file appeared that must not be replaced; [`DraftError::File`] if
    /// the file cannot be written or its folder cannot be synced.
    pub fn publish(self) -> Result<(), DraftError> {
        self.sync()?;
        check(&self.to, self.existing)?;
        let to = self.to.clone();
        if self.existing == Existing::Replace {
            return rename(&self.path, &to);
        }
        // A hard link never replaces a file.
        match fs::hard_link(&self.path, &to) {
            Ok(()) => {
                // Remove the draft's name first, so that the sync covers both changes.
                drop(self);
                sync_folder(&to)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => exists(&to, self.existing),
            // The file system has no hard links, such as FAT. Claim the name with an empty file,
            // so that the rename replaces nobody else's.
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) =>
            {
                match File::create_new(&to) {
                    Ok(_) => rename(&self.path, &to).inspect_err(|_| drop(fs::remove_file(&to))),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        exists(&to, self.existing)
                    }
                    Err(source) => Err(failed("create", &to)(source)),
                }
            }
            Err(source) => Err(failed("create", &to)(source)),
        }
    }

    /// Whether the path still leads to the open file, and not through a symbolic link.
    fn is_at_its_name(&self) -> bool {
        let (Ok(named), Ok(ours)) = (fs::symlink_metadata(&self.path), self.file.metadata()) else {
            return false;
        };
        (named.dev(), named.ino()) == (ours.dev(), ours.ino())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A published draft has no file under this name, or another process's. Ignore an error:
        // the next draft of this name takes over the file.
        if self.is_at_its_name() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates the draft without following links, or opens the one that a killed process left. Says
/// whether it is new. Returns `None` if the one that was left has been removed meanwhile; then try
/// again.
fn open_new_or_left(path: &Path, to: &Path, mode: u32) -> Result<Option<(File, bool)>, DraftError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    match options.clone().create_new(true).mode(mode).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created.map(|file| Some((file, true))).map_err(failed("create", to)),
    }
    let left = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        left => left.map_err(failed("examine", path))?,
    };
    let remedy = "remove it, or use another file name";
    if !left.is_file() {
        return refuse("a draft that is a link or no file", path, remedy);
    }
    if is_same_file(path, to) {
        // A process was killed after it linked the file and before it removed the draft's name.
        fs::remove_file(path).map_err(failed("remove", path))?;
        return Ok(None);
    }
    if left.nlink() != 1 {
        return refuse("a draft that has another name too", path, remedy);
    }
    if left.uid() != geteuid().as_raw() {
        return refuse("somebody else's draft", path, remedy);
    }
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(|file| Some((file, false))).map_err(failed("open", path)),
    }
}

/// Renames the complete, synced `draft` to `path` and syncs the folder. Replaces a file at `path`.
///
/// # Errors
///
/// [`DraftError::File`] if the rename or the sync fails.
pub fn rename(draft: &Path, path: &Path) -> Result<(), DraftError> {
    fs::rename(draft, path).map_err(failed("create", path))?;
    sync_folder(path)
}

/// Syncs the folder of `path`, so that created and renamed files in it survive a power cut.
///
/// # Errors
///
/// [`DraftError::File`] if the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> Result<(), DraftError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", folder))
}
