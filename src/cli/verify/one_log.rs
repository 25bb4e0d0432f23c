//! Checks that all checkpoints that one run sees are of one log.

use std::cell::RefCell;

use anyhow::{Context, anyhow};

use crate::cli::remote_log::RemoteLog;
use crate::cli::remote_tree::fork;
use crate::log::Checkpoint;

/// The largest checkpoint so far. All others agree with it, hence with each other.
pub struct OneLog<'a> {
    log: &'a RemoteLog,
    largest: RefCell<Option<(Checkpoint, String)>>,
}

impl OneLog<'_> {
    /// No checkpoint yet.
    pub fn new(log: &RemoteLog) -> OneLog<'_> {
        OneLog { log, largest: RefCell::default() }
    }

    /// Compares another checkpoint, and its signed note, with those that were added before.
    ///
    /// # Errors
    ///
    /// Both contradict each other: the error quotes both notes, because they are evidence and are
    /// stored nowhere. Or the hashes that show whether they do cannot be read.
    pub fn add(&self, seen: Checkpoint, note: &str) -> anyhow::Result<()> {
        let mut largest = self.largest.borrow_mut();
        if let Some((known, known_note)) = largest.as_ref() {
            if *known == seen {
                return Ok(());
            }
            let cannot_compare = "cannot compare two checkpoints of the log";
            if let Some(fork) = fork(self.log, *known, seen).context(cannot_compare)? {
                return Err(anyhow!("{fork}\nKeep both checkpoints:\n\n{known_note}\n{note}"));
            }
            if seen.size < known.size {
                return Ok(());
            }
        }
        *largest = Some((seen, note.into()));
        Ok(())
    }
}
