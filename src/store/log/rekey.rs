//! Makes a new secret. The log gets a new key, and a chain begins with the next roll.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

use crate::config::StoreConfig;
use crate::draft::{refuse, rename};
use crate::log::{SigningKey, VerifierKey};
use crate::roll::RollId;
use crate::store::backup_file::is_of_database;
use crate::store::error::unusable;
use crate::store::log::files::{checkpoint_path, create_secret, lock_secret};
use crate::store::log::runs::note_new_secret;
use crate::store::log::secret_path;
use crate::store::log::tiles::forget_after;
use crate::store::{StoreError, file, history};

/// The result of [`rekey`].
#[derive(Debug)]
pub struct Rekeyed {
    /// The file of the new secret.
    pub secret: PathBuf,
    /// The new path of the old secret, if there was one.
    pub old_secret: Option<PathBuf>,
    /// The new key of the log.
    pub key: VerifierKey,
    /// The last roll before the new chain.
    pub head: RollId,
}

/// Makes a new secret while no server runs. If the log has more rolls than the history, the rest of
/// the log is removed. The old secret and its checkpoint stay under other
/// names. After a crash, the next call completes the change.
///
/// # Errors
///
/// [`StoreError::UnusableDatabase`] if there is no database; [`StoreError::InUse`] if a server runs;
/// [`StoreError::Secret`] if another server uses the secret; [`StoreError::Draft`] if the secret
/// would be a file of the database; otherwise the error of SQLite or of the
/// file system.
pub fn rekey(config: &StoreConfig) -> Result<Rekeyed, StoreError> {
    if !file::history_exists(&config.database)? {
        return Err(unusable("no file", &config.database, "the first start creates it"));
    }
    let (database, _lock) = file::claim(&config.database)?;
    let connection = file::open(&database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "full")?;
    let head = history::head(&connection)?.id;
    let secret = secret_path(config, &database);
    if is_of_database(&secret, &database) {
        let remedy = "name another file in the setting `secret`";
        refuse("the database itself or a file of it", &secret, remedy)?;
    }
    let _locked = match secret.exists() {
        true => Some(lock_secret(&secret)?),
        false => None,
    };
    // This comes first, so a crash never leaves a new secret without the note. Until the new secret
    // exists, a start is refused: the note is there, and the secret is the old one or none.
    let transaction = connection.unchecked_transaction()?;
    forget_after(&transaction, head)?;
    note_new_secret(&transaction, head)?;
    transaction.commit()?;
    let old = free_name(&secret, head);
    let old_secret = secret.exists().then(|| old.clone());
    if let Some(old_secret) = &old_secret {
        rename(&secret, old_secret)?;
    }
    let checkpoint = checkpoint_path(&secret);
    if checkpoint.exists() {
        rename(&checkpoint, &checkpoint_path(&old))?;
    }
    let key = SigningKey::new(&create_secret(&secret)?, config.origin.as_deref());
    Ok(Rekeyed { secret, old_secret, key: key.verifier().clone(), head })
}

/// An unused name for the secret that was in use up to the roll `head`. The name of its checkpoint is
/// unused too.
fn free_name(secret: &Path, head: RollId) -> PathBuf {
    let name = |suffix: &str| file::beside(secret, &format!(".until-{head}{suffix}"));
    let names = std::iter::once(name("")).chain((2..).map(|n| name(&format!("-{n}"))));
    let is_free = |path: &PathBuf| {
        [path, &checkpoint_path(path)].iter().all(|path| fs::symlink_metadata(path).is_err())
    };
    names.into_iter().find(is_free).expect("some name is free")
}
