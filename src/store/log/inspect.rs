//! Inspects the log for `rollcast check`. Changes nothing.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::seeds::Seeds;
use crate::store::StoreError;
use crate::store::log::files::{checkpoint_path, load_secret, read_checkpoint};
use crate::store::log::runs::{has_seeds, newest_run};
use crate::store::log::start::{check_newest_seed, check_signed};
use crate::store::log::tiles::{check_tiles, n_full_tiles};

/// What an intact log was compared with.
#[derive(Debug)]
pub enum Compared {
    /// There is no log yet: the next start begins one.
    NotYet,
    /// Rolls were compared only with the stored hashes.
    Alone {
        /// The path of the secret.
        secret: PathBuf,
        /// What is wrong with it: secret and checkpoint do not exist, as beside a copy of the
        /// database, or this user may not read them.
        why: &'static str,
    },
    /// Rolls were compared with the hashes, the secret and the newest checkpoint.
    WithSecret,
}

/// Checks the log: compares the rolls of full tiles with the hashes of their tiles, the newest seed
/// with the secret, and the tree with the newest checkpoint.
///
/// # Errors
///
/// Those of a start, except that secret and checkpoint may both be missing, or not be readable; [`StoreError::Changed`]
/// for a changed row; otherwise the database or a file cannot be read.
pub fn inspect(connection: &Connection, secret: &Path) -> Result<Compared, StoreError> {
    if !has_seeds(connection)? && n_full_tiles(connection)? == 0 {
        return Ok(Compared::NotYet);
    }
    check_tiles(connection)?;
    let files = [secret.to_path_buf(), checkpoint_path(secret)];
    let faults = files.map(|path| File::open(path).err().map(|error| error.kind()));
    let why = if faults.contains(&Some(ErrorKind::PermissionDenied)) {
        "cannot be read by this user"
    } else if faults == [Some(ErrorKind::NotFound); 2] {
        "does not exist"
    } else {
        let seeds = Seeds::new(load_secret(secret)?);
        check_newest_seed(connection, newest_run(connection)?, &seeds, secret)?;
        if let Some(note) = read_checkpoint(secret)? {
            check_signed(connection, &note, secret)?;
        }
        return Ok(Compared::WithSecret);
    };
    Ok(Compared::Alone { secret: secret.to_path_buf(), why })
}
