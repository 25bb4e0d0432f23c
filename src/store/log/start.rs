//! Opens the log at the start of a server. Refuses a database that contradicts the signed log.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tracing::warn;

use crate::log::{Checkpoint, SigningKey, root};
use crate::roll::RollId;
use crate::seeds::{Block, Seeds};
use crate::store::log::files::{
    checkpoint_path, create_secret, load_secret, lock_secret, read_checkpoint,
};
use crate::store::log::nodes::TileNodes;
use crate::store::log::runs::{SeedRun, has_new_secret, has_seeds, newest_run, note_new_secret};
use crate::store::log::writer::LogWriter;
use crate::store::log::{Signed, Signer};
use crate::store::{StoreError, history};

/// The log of a server.
pub struct OpenLog {
    /// For the writer of the database.
    pub writer: LogWriter,
    /// For the signer.
    pub signer: Signer,
    /// For the pump, which draws the dice.
    pub seeds: Seeds,
}

impl OpenLog {
    /// Loads or creates the secret, compares the database with the newest checkpoint, and adds
    /// leaves for rolls that have none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Secret`] if the secret is missing or is not that of the stored rolls;
    /// [`StoreError::Fork`] if the database does not match the signed log;
    /// [`StoreError::Checkpoint`] if the file of the checkpoint is not one; otherwise an error of
    /// SQLite or of the file system.
    pub fn open(
        connection: &mut Connection,
        secret_path: PathBuf,
        origin: Option<&str>,
    ) -> Result<OpenLog, StoreError> {
        let has_begun = has_seeds(connection)? || checkpoint_path(&secret_path).exists();
        if !has_begun && !secret_path.exists() {
            create_secret(&secret_path)?;
            // A secret without a note has perhaps signed another history.
            if !has_new_secret(connection, None)? {
                note_new_secret(connection, history::head(connection)?.id)?;
            }
        }
        let secret = load_secret(&secret_path)?;
        let lock = lock_secret(&secret_path)?;
        let key = SigningKey::new(&secret, origin);
        let seeds = Seeds::new(secret);
        let newest_run = newest_run(connection)?;
        check_newest_seed(connection, newest_run, &seeds, &secret_path)?;
        let note = read_checkpoint(&secret_path)?;
        match &note {
            Some(note) => check_signed(connection, note, &secret_path)?,
            None if !has_new_secret(connection, newest_run)? => {
                let path = checkpoint_path(&secret_path);
                warn!(
                    "the newest checkpoint is missing: `{}`. If the secret has signed more rolls \
                     than this database has, people know the next rolls, and two signed logs now \
                     contradict each other: stop the server and run `rollcast rekey`",
                    path.display()
                );
            }
            None => {}
        }
        let writer = LogWriter::open(connection, seeds.clone())?;
        if let Some(note) = &note {
            // Again, because another program may have changed a row in between.
            check_signed(connection, note, &secret_path)?;
        }
        let signed = note.and_then(|note| Signed::open(note, key.verifier()));
        let next = RollId(writer.size() as i64).next();
        // Now, because the first roll is drawn on an async thread.
        seeds.seed(next);
        if writer.begins_chain(next) {
            seeds.anchor(Block::of(next).next());
        }
        seeds.prepare(next);
        let signer = Signer::new(key, secret_path, lock, writer.tree(), signed);
        Ok(OpenLog { writer, signer, seeds })
    }
}

/// Checks that the newest seed follows from the secret, unless a new secret was noted after it.
///
/// # Errors
///
/// [`StoreError::Secret`] if it does not; otherwise the database cannot be read.
pub fn check_newest_seed(
    connection: &Connection,
    newest: Option<SeedRun>,
    seeds: &Seeds,
    path: &Path,
) -> Result<(), StoreError> {
    let Some(run) = newest else { return Ok(()) };
    let is_same = seeds.seed(run.last) == run.seed;
    let fault = match (has_new_secret(connection, newest)?, is_same) {
        (false, true) | (true, false) => return Ok(()),
        (false, false) => "is not the secret of the stored rolls",
        (true, true) => "is still the old one, because `rollcast rekey` did not end",
    };
    Err(StoreError::Secret { path: path.to_path_buf(), fault })
}

/// Checks that the first rolls of the database are those that were signed.
///
/// # Errors
///
/// [`StoreError::Fork`] if they are not; [`StoreError::Checkpoint`] if `note` is not a checkpoint;
/// otherwise the database cannot be read.
pub fn check_signed(connection: &Connection, note: &str, secret: &Path) -> Result<(), StoreError> {
    // Another origin is no fork: an operator may rename the log.
    let Ok((_, Checkpoint { size: signed, root: expected })) = Checkpoint::read(note) else {
        return Err(StoreError::Checkpoint(checkpoint_path(secret)));
    };
    let stored = history::head(connection)?.id.0 as u64;
    let fork = StoreError::Fork { signed, stored };
    if signed > stored {
        return Err(fork);
    }
    match root(&TileNodes::new(connection, signed), signed) {
        Ok(root) if root == expected => Ok(()),
        Ok(_) | Err(StoreError::Changed { .. } | StoreError::Malformed(_)) => Err(fork),
        Err(error) => Err(error),
    }
}
