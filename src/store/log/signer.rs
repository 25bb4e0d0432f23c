//! Signs the tree. A checkpoint is durable before it is served.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::log::{Checkpoint, SigningKey, VerifierKey};
use crate::store::StoreError;
use crate::store::log::files::write_checkpoint;
use crate::store::log::writer::SharedTree;

/// A signed checkpoint; cheap to clone.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The tree.
    pub checkpoint: Checkpoint,
    /// The note, as served.
    pub note: Arc<str>,
}

impl Signed {
    /// Reads a note; `None` if the key has not signed it.
    pub fn open(note: String, key: &VerifierKey) -> Option<Signed> {
        let checkpoint = Checkpoint::open(&note, key).ok()?;
        Some(Signed { checkpoint, note: note.into() })
    }
}

/// Signs the tree in memory.
pub struct Signer {
    key: SigningKey,
    secret: PathBuf,
    /// The locked file of the secret. It also lets one call sign at a time.
    lock: Mutex<File>,
    tree: SharedTree,
    newest: watch::Sender<Option<Signed>>,
}

impl Signer {
    /// A signer that continues after the checkpoint `newest`. `lock` is the locked file of the secret.
    pub fn new(
        key: SigningKey,
        secret: PathBuf,
        lock: File,
        tree: SharedTree,
        newest: Option<Signed>,
    ) -> Signer {
        Signer { key, secret, lock: Mutex::new(lock), tree, newest: watch::Sender::new(newest) }
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// Watches the newest checkpoint.
    pub fn newest(&self) -> watch::Receiver<Option<Signed>> {
        self.newest.subscribe()
    }

    /// Signs the tree if it has grown since the newest checkpoint. Blocks.
    ///
    /// # Errors
    ///
    /// The checkpoint cannot be written. Then the previous one stays the newest.
    pub fn sign(&self) -> Result<(), StoreError> {
        // At a stop, the last call may start before the previous call has ended.
        let _one = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, root) = self.tree.size_and_root();
        let signed = self.newest.borrow().as_ref().map_or(0, |newest| newest.checkpoint.size);
        if size <= signed {
            return Ok(());
        }
        let checkpoint = Checkpoint { size, root };
        let note = checkpoint.sign(&self.key);
        write_checkpoint(&self.secret, &note)?;
        self.newest.send_replace(Some(Signed { checkpoint, note: note.into() }));
        Ok(())
    }
}
