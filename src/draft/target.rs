//! Where a new file may be written, and the name of its draft.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::draft::error::{DraftError, failed, refuse};

/// The prefix and suffix that are added to a file's name to name its draft.
const DRAFT: (&str, &str) = (".", ".rollcast-draft");
const OTHER_NAME: &str = "use another file name";

/// Whether a new file may replace one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// No: the existing file stays, and writing a new one is an error.
    Refuse,
    /// No, and the command has no `--force` that would change that.
    RefuseAlways,
    /// Yes: the complete new file replaces it in one step.
    Replace,
}

/// The absolute path of a new file. Symbolic links are followed here, so that a link to a file
/// stays when that file is replaced.
///
/// # Errors
///
/// [`DraftError::Target`] if the folder does not exist, if a link is broken, or for the name of a
/// draft; [`DraftError::File`] if the path cannot be examined.
pub fn resolve(to: &Path) -> Result<PathBuf, DraftError> {
    let to = std::path::absolute(to).map_err(failed("find the folder of", to))?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return refuse("no such folder", folder, "create it first");
    }
    let resolved = match to.canonicalize() {
        Ok(resolved) => resolved,
        Err(_) if to.is_symlink() => return refuse("a broken symbolic link", &to, OTHER_NAME),
        Err(_) => {
            let folder = folder.canonicalize().map_err(failed("find the folder of", &to))?;
            folder.join(to.file_name().unwrap_or_default())
        }
    };
    if resolved.file_name().is_some_and(is_draft_name) {
        return refuse("the name of a draft", &resolved, OTHER_NAME);
    }
    Ok(resolved)
}

/// Checks that a file of the name `to` may be created or replaced.
///
/// # Errors
///
/// [`DraftError::Target`] for anything but a file, and for a file that must not be replaced;
/// [`DraftError::File`] if it cannot be examined.
pub fn check(to: &Path, existing: Existing) -> Result<(), DraftError> {
    match fs::symlink_metadata(to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("examine", to)(source)),
        Ok(metadata) if !metadata.is_file() => {
            refuse("something that is not a file", to, OTHER_NAME)
        }
        Ok(_) if existing == Existing::Replace => Ok(()),
        Ok(_) => exists(to, existing),
    }
}

/// Whether both paths lead to the same file. Hard links count as the same file.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    let identify = |path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identify(one).is_some_and(|one| Some(one) == identify(other))
}

/// `.FILE.rollcast-draft`, beside the file.
pub fn path_of(to: &Path) -> PathBuf {
    let mut name = OsString::from(DRAFT.0);
    name.push(to.file_name().unwrap_or_default());
    name.push(DRAFT.1);
    to.with_file_name(name)
}

fn is_draft_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(DRAFT.0.as_bytes()) && name.ends_with(DRAFT.1.as_bytes())
}

/// The error for a file that must not be replaced.
///
/// # Errors
///
/// Always.
pub fn exists<T>(path: &Path, existing: Existing) -> Result<T, DraftError> {
    let remedy = match existing {
        Existing::RefuseAlways => OTHER_NAME,
        _ => "use another file name, or replace it with --force",
    };
    refuse("a file", path, remedy)
}
