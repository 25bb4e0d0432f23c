//! The file of a backup: where a copy may be written, and the draft that becomes the copy when it is
//! complete.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::process::geteuid;

use crate::store::error::file_error;
use crate::store::{StoreError, file};

/// Suffixes of the files that SQLite and rollcast create beside a database.
const COMPANIONS: [&str; 5] = ["-wal", "-shm", "-journal", "-lock", "-new"];
/// The prefix and suffix that are added to the copy's name to name its draft.
const DRAFT: (&str, &str) = (".", ".rollcast-draft");
const REPLACE: &str = "give the copy another name, or replace it with --force";

/// What a backup does with an existing file of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Fails, and leaves the file unchanged.
    Refuse,
    /// Replaces the file in one step when the copy is complete.
    Replace,
}

/// The absolute path of the copy, without links, if a copy may be written there.
///
/// # Errors
///
/// [`StoreError::Target`] if none may; [`StoreError::File`] if the path cannot be examined.
pub fn target(to: &Path, database: &Path, existing: Existing) -> Result<PathBuf, StoreError> {
    let to =
        std::path::absolute(to).map_err(|source| file_error("find the folder of", to, source))?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return refuse("no such folder", folder, "create it first");
    }
    if to.is_symlink() && !to.exists() {
        return refuse("a broken symbolic link", &to, "give the copy another name");
    }
    let to = file::resolve(&to)?;
    if to.file_name().is_some_and(is_draft_name) {
        return refuse("the name of a draft", &to, "give the copy another name");
    }
    let own = COMPANIONS.map(|suffix| file::beside(database, suffix));
    if to == database || own.contains(&to) || same_file(&to, database) {
        return refuse("the database itself or a file of it", &to, "give the copy another name");
    }
    match fs::symlink_metadata(&to) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(file_error("examine", &to, source)),
        Ok(metadata) if !metadata.is_file() => {
            return refuse("something that is not a file", &to, "give the copy another name");
        }
        Ok(_) if existing == Existing::Refuse => return refuse("a file", &to, REPLACE),
        Ok(_) => {}
    }
    // SQLite would apply this log to the copy.
    let log = file::log_path(&to);
    if log.exists() {
        let remedy = "a database of that name is in use or was; give the copy another name";
        return refuse("a write-ahead log", &log, remedy);
    }
    Ok(to)
}

/// Whether both paths lead to the same file. Hard links count as the same file.
fn same_file(one: &Path, other: &Path) -> bool {
    let identify = |path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identify(one).is_some_and(|one| Some(one) == identify(other))
}

fn refuse<T>(found: &str, path: &Path, remedy: &'static str) -> Result<T, StoreError> {
    Err(StoreError::Target { found: found.to_string(), path: path.to_path_buf(), remedy })
}

/// The incomplete copy, under a temporary name. Dropping it removes the file.
pub struct Draft {
    path: PathBuf,
    /// Locked, so that two backups never write to one draft.
    file: File,
}

impl Draft {
    /// Creates the draft beside `to`, or takes over the one that a killed backup left.
    ///
    /// # Errors
    ///
    /// [`StoreError::Drafting`] if another backup writes to it; [`StoreError::Target`] if its name
    /// is taken otherwise; [`StoreError::File`] if it cannot be created or locked.
    pub fn create(to: &Path, database: &Path) -> Result<Draft, StoreError> {
        let path = draft_of(to);
        loop {
            let Some(file) = Draft::open_new_or_left(&path, to, database)? else { continue };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StoreError::Drafting(path)),
                Err(TryLockError::Error(source)) => {
                    return Err(file_error("lock", &path, source));
                }
            }
            let draft = Draft { path: path.clone(), file };
            // The previous lock holder may have published or removed the opened file, and the name
            // may now be a link. So write nothing before this check.
            if draft.is_at_its_name() {
                draft.with("write", |file| file.set_len(0))?;
                return Ok(draft);
            }
        }
    }

    /// Creates the draft without following links, or opens the one that a killed backup left.
    /// Returns `None` if that one was removed meanwhile; then try again.
    fn open_new_or_left(
        path: &Path,
        to: &Path,
        database: &Path,
    ) -> Result<Option<File>, StoreError> {
        let failed = |action| move |source| file_error(action, path, source);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        // The same users may read it as the database.
        match options.clone().create_new(true).mode(0o640).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(Some).map_err(failed("create")),
        }
        let left = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            left => left.map_err(failed("examine"))?,
        };
        let remedy = "remove it, or give the copy another name";
        if !left.is_file() {
            return refuse("a draft that is a link or no file", path, remedy);
        }
        if same_file(path, database) {
            return refuse("the database itself under a draft's name", path, remedy);
        }
        if same_file(path, to) {
            // A backup was killed after it linked the copy and before it removed the draft's name.
            fs::remove_file(path).map_err(failed("remove"))?;
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
            opened => opened.map(Some).map_err(failed("open")),
        }
    }

    /// Whether the path still leads to the open file, and not through a symbolic link.
    fn is_at_its_name(&self) -> bool {
        let (Ok(named), Ok(ours)) = (fs::symlink_metadata(&self.path), self.file.metadata()) else {
            return false;
        };
        (named.dev(), named.ino()) == (ours.dev(), ours.ino())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the draft without SQLite's locks and journal. No other process uses the draft,
    /// and a failed copy is deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sqlite`] if it cannot be opened.
    pub fn open(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let copy = Connection::open_with_flags_and_vfs(&self.path, flags, c"unix-none")?;
        copy.pragma_update(None, "locking_mode", "exclusive")?;
        copy.query_row("pragma journal_mode = off", [], |_| Ok(()))?;
        Ok(copy)
    }

    /// Syncs the content to the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] if that fails.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.with("write", File::sync_all)
    }

    fn with(
        &self,
        action: &'static str,
        work: impl FnOnce(&File) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        work(&self.file).map_err(|source| file_error(action, &self.path, source))
    }

    /// Renames the draft to `to`. With [`Existing::Refuse`], uses a hard link, which never
    /// replaces a file.
    ///
    /// # Errors
    ///
    /// [`StoreError::Target`] if a file appeared that must not be replaced; [`StoreError::File`] if
    /// the copy cannot be created or its folder cannot be synced.
    pub fn publish(self, to: &Path, existing: Existing) -> Result<(), StoreError> {
        if existing == Existing::Replace {
            return file::rename(&self.path, to);
        }
        match fs::hard_link(&self.path, to) {
            Ok(()) => {
                // Remove the draft's name first, so that the sync covers both changes.
                drop(self);
                file::sync_folder(to)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => refuse("a file", to, REPLACE),
            // The file system has no hard links, such as FAT. The last check found no file.
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) =>
            {
                file::rename(&self.path, to)
            }
            Err(source) => Err(file_error("create", to, source)),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A published draft has no file under this name, or another backup's. Ignore an error: the
        // next backup reuses the file.
        if self.is_at_its_name() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// `.FILE.rollcast-draft`, beside the copy.
fn draft_of(to: &Path) -> PathBuf {
    let mut name = OsString::from(DRAFT.0);
    name.push(to.file_name().unwrap_or_default());
    name.push(DRAFT.1);
    to.with_file_name(name)
}

fn is_draft_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(DRAFT.0.as_bytes()) && name.ends_with(DRAFT.1.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_at_the_last_moment_is_replaced_only_if_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let (to, database) = (folder.path().join("copy.db"), folder.path().join("rolls.db"));
        let draft = || {
            let draft = Draft::create(&to, &database).expect("a draft");
            fs::write(&draft.path, "a copy").expect("a copy");
            draft
        };
        let read = || fs::read_to_string(&to).expect("a file");
        let refused = |late: &str| {
            let refused = draft().publish(&to, Existing::Refuse);
            assert!(matches!(refused, Err(StoreError::Target { .. })), "{refused:?}");
            assert_eq!(read(), late);
        };
        fs::write(&to, "somebody's").expect("a file");
        refused("somebody's");
        draft().publish(&to, Existing::Replace).expect("a copy");
        assert_eq!(read(), "a copy");
        fs::remove_file(&to).expect("no file");
        draft().publish(&to, Existing::Refuse).expect("a copy");
        refused("a copy");
        assert!(!draft_of(&to).exists(), "a draft was left");
        assert_eq!(fs::metadata(&to).expect("a copy").nlink(), 1);
    }
}
