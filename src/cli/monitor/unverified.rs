//! Signed checkpoints that a monitor has seen and not verified yet, in a file beside the state.
//!
//! A server that shows a signed fork and then withholds its leaves would leave no evidence without
//! them, because its next checkpoint may be that of the known log again.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context;

use crate::cli::monitor::state::replace;
use crate::log::{Checkpoint, Fork, VerifierKey, follow};

/// How many checkpoints are stored. A monitor that cannot read leaves sees a new one each round.
const MAX_NOTES: usize = 100;

/// A checkpoint and its signed note.
pub type Signed = (Checkpoint, String);

/// The checkpoints, in the order in which they were seen.
pub struct Unverified {
    path: PathBuf,
    notes: Vec<Signed>,
    /// Whether the file has other notes.
    is_changed: bool,
}

impl Unverified {
    /// Reads the file at `path`, if it exists. Ignores notes that `key` has not signed, such as those
    /// of a log before its operator made a new secret.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(path: PathBuf, key: &VerifierKey) -> anyhow::Result<Unverified> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
            }
        };
        Ok(Unverified { path, notes: parse(&text, key), is_changed: false })
    }

    /// Adds a checkpoint that the key has signed. Nothing is written yet.
    pub fn add(&mut self, checkpoint: Checkpoint, note: &str) {
        if self.notes.iter().any(|(other, _)| *other == checkpoint) {
            return;
        }
        // The oldest ones stay: nothing that a server signs later must remove them.
        self.notes.truncate(MAX_NOTES - 1);
        self.notes.push((checkpoint, note.into()));
        self.is_changed = true;
    }

    /// Removes a checkpoint.
    pub fn remove(&mut self, checkpoint: Checkpoint) {
        let n_before = self.notes.len();
        self.notes.retain(|(other, _)| *other != checkpoint);
        self.is_changed |= self.notes.len() < n_before;
    }

    /// The checkpoints of at most `size` rolls.
    pub fn up_to(&self, size: u64) -> Vec<Signed> {
        self.notes.iter().filter(|(checkpoint, _)| checkpoint.size <= size).cloned().collect()
    }

    /// Two checkpoints of one size with different roots. No leaves are necessary to see that.
    pub fn fork(&self) -> Option<(Fork, [&str; 2])> {
        self.notes.iter().enumerate().find_map(|(n, (seen, note))| {
            let same_size = |(other, _): &&Signed| other.size == seen.size;
            let (known, known_note) = self.notes[..n].iter().find(same_size)?;
            let fork = follow(*known, *seen, seen.root).err()?;
            Some((fork, [known_note.as_str(), note.as_str()]))
        })
    }

    /// Writes the file if the checkpoints have changed. Without any, it removes the file.
    ///
    /// # Errors
    ///
    /// The file cannot be written or removed.
    pub fn write(&mut self) -> anyhow::Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        if self.notes.is_empty() {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let path = self.path.display();
                    return Err(error).with_context(|| format!("cannot remove `{path}`"));
                }
                _ => {}
            }
        } else {
            let notes: Vec<&str> = self.notes.iter().map(|(_, note)| note.as_str()).collect();
            replace(&self.path, &notes.join("\n"))?;
        }
        self.is_changed = false;
        Ok(())
    }
}

/// Reads notes that are separated by empty lines. Each of them has one empty line within.
fn parse(text: &str, key: &VerifierKey) -> Vec<Signed> {
    let parts: Vec<&str> = text.trim_end_matches('\n').split("\n\n").collect();
    let notes = parts.chunks_exact(2).map(|parts| format!("{}\n\n{}\n", parts[0], parts[1]));
    notes.filter_map(|note| Some((Checkpoint::open(&note, key).ok()?, note))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::log::{Hash, SigningKey};
    use crate::seeds::Secret;

    #[test]
    fn notes_are_stored_until_they_are_removed_and_two_of_one_size_are_a_fork() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.unverified");
        let secret = Secret::generate().expect("a secret");
        let key = SigningKey::new(&secret, Some("dice.example.org"));
        let read = || Unverified::read(path.clone(), key.verifier()).expect("notes");
        let checkpoint = |size, root| Checkpoint { size, root: Hash([root; 32]) };
        let [old, new, other] = [checkpoint(41, 1), checkpoint(50, 2), checkpoint(41, 3)];
        let cosigned = format!("{}— witness AAAA\n", new.sign(&key));
        let mut unverified = read();
        unverified.add(old, &old.sign(&key));
        unverified.add(new, &cosigned);
        unverified.add(old, &old.sign(&key));
        assert_eq!(unverified.fork(), None);
        unverified.write().expect("a file");
        let mut unverified = read();
        assert_eq!(unverified.up_to(50), [(old, old.sign(&key)), (new, cosigned.clone())]);
        assert_eq!(unverified.up_to(49), [(old, old.sign(&key))]);
        unverified.add(other, &other.sign(&key));
        let (fork, notes) = unverified.fork().expect("a fork");
        assert_eq!((fork.known, fork.seen), (old, other));
        assert_eq!(notes, [old.sign(&key), other.sign(&key)]);
        // Another key has signed nothing here.
        let foreign = SigningKey::new(&Secret::generate().expect("a secret"), None);
        unverified.write().expect("a file");
        let none = Unverified::read(path.clone(), foreign.verifier()).expect("notes");
        assert_eq!(none.up_to(50), []);
        for checkpoint in [old, new, other] {
            unverified.remove(checkpoint);
        }
        unverified.write().expect("no file");
        assert!(!path.exists());
        // The first ones stay, however many follow.
        for size in 1..=3 * MAX_NOTES as u64 {
            unverified.add(checkpoint(size, 9), &checkpoint(size, 9).sign(&key));
        }
        let sizes: Vec<u64> = unverified.up_to(u64::MAX).iter().map(|(it, _)| it.size).collect();
        let expected = (1..MAX_NOTES as u64).chain([3 * MAX_NOTES as u64]);
        assert_eq!(sizes, expected.collect::<Vec<_>>());
    }
}
