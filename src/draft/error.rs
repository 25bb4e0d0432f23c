//! Why a file is not written.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file is not written. A file that existed before is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// No file may be written to this path.
    #[error("expected a place for a new file, found {found} at `{}`; {remedy}", .path.display())]
    Target {
        /// The kind of file at the path.
        found: &'static str,
        /// The path.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// Another process writes the same file.
    #[error(
        "another rollcast is writing `{}`; wait until it has finished, or use another file name",
        .0.display()
    )]
    Busy(PathBuf),
    /// The draft, the file or its folder cannot be used.
    #[error("cannot {action} `{}`", .path.display())]
    File {
        /// What failed.
        action: &'static str,
        /// The path of the file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The error for a path to which no file may be written.
///
/// # Errors
///
/// Always.
pub fn refuse<T>(found: &'static str, path: &Path, remedy: &'static str) -> Result<T, DraftError> {
    Err(DraftError::Target { found, path: path.to_path_buf(), remedy })
}

/// An error of the file system while doing `action` with the file or folder at `path`.
pub fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DraftError + use<> {
    let path = path.to_path_buf();
    move |source| DraftError::File { action, path, source }
}
