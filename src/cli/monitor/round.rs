//! One round of the monitor: compares the newest checkpoint with the known one and with those that
//! are not verified yet.

use std::cmp::Ordering;
use std::path::Display;

use anyhow::{Context, anyhow};

use crate::cli::monitor::growth::{self, GrowError};
use crate::cli::monitor::state::{Known, StateFile};
use crate::cli::monitor::tail::Tail;
use crate::cli::monitor::unverified::Unverified;
use crate::cli::remote_log::{LogError, RemoteLog};
use crate::cli::remote_tree;
use crate::cli::verify::history::{Saved, broken, print, verify_log};
use crate::cli::verify::key_of;
use crate::cli::{Failure, note};
use crate::log::{
    Break, Chains, Checkpoint, Contradiction, Fork, LeavesError, NoteError, Refusal, VerifierKey,
    follow,
};

/// The outcome of a round.
pub enum Seen {
    /// The first checkpoint, and the rolls that the server keeps, all verified.
    Begun { first: u64, last: u64 },
    /// The known checkpoint.
    Same,
    /// New rolls after the known ones, all verified. Some may have no seed.
    Grown { first: u64, last: u64, n_unproven: u64 },
    /// An older checkpoint. It does not contradict the known one, as far as that can be checked.
    Older { size: u64 },
}

/// Why a round ended early.
pub enum RoundError {
    /// The log cannot be read now.
    Outage(anyhow::Error),
    /// The log contradicts itself or the known checkpoint.
    Alarm(anyhow::Error),
}

/// What the rounds share.
pub struct Round<'a> {
    log: &'a RemoteLog,
    key: VerifierKey,
    file: StateFile,
    known: Option<Known>,
    /// The end of the log, once this process has verified leaves.
    tail: Option<Tail>,
    /// The older checkpoint that was seen last.
    older: Option<String>,
    unverified: Unverified,
}

impl<'a> Round<'a> {
    /// Reads the state. Without one, the key is the one that is trusted or that the server names.
    ///
    /// # Errors
    ///
    /// The state cannot be used: exit code 2. The server does not name a key: exit code 1.
    pub fn start(
        log: &'a RemoteLog,
        trusted: Option<&VerifierKey>,
        file: StateFile,
    ) -> Result<Round<'a>, Failure> {
        let known = file.read().map_err(Failure::usage)?;
        let key = match (&known, trusted) {
            (Some(known), Some(trusted)) if known.key != *trusted => {
                let error = anyhow!("the state is of the log {}, not of {trusted}", known.key);
                return Err(Failure::usage(error));
            }
            (Some(known), _) => known.key.clone(),
            (None, trusted) => key_of(log, trusted).map_err(anyhow::Error::new)?,
        };
        let unverified = file.unverified(&key).map_err(Failure::usage)?;
        Ok(Round { log, key, file, known, tail: None, older: None, unverified })
    }

    /// Whether a checkpoint is known.
    pub fn is_begun(&self) -> bool {
        self.known.is_some()
    }

    /// The path of the state file.
    pub fn state_path(&self) -> Display<'_> {
        self.file.path().display()
    }

    /// Runs one round.
    ///
    /// # Errors
    ///
    /// [`RoundError`].
    pub fn run(&mut self) -> Result<Seen, RoundError> {
        let seen = self.attempt();
        let written = self.unverified.write();
        match written.context("cannot save the checkpoints that are not verified yet") {
            Err(error) if !matches!(seen, Err(RoundError::Alarm(_))) => {
                Err(RoundError::Alarm(error))
            }
            _ => seen,
        }
    }

    fn attempt(&mut self) -> Result<Seen, RoundError> {
        let seen = match self.known.clone() {
            Some(known) => self.go_on(&known)?,
            None => self.begin()?,
        };
        self.compare_unverified()?;
        Ok(seen)
    }

    /// Reads the newest checkpoint, and the leaves that it adds to the known ones.
    fn go_on(&mut self, known: &Known) -> Result<Seen, RoundError> {
        let served = self.log.checkpoint().map_err(outage)?;
        let seen = match Checkpoint::open(&served, &self.key) {
            Ok(seen) => seen,
            Err(error @ NoteError::Malformed) => return Err(outage(error)),
            Err(error) => return Err(self.alarm(&[&known.note, &served], self.other_key(error))),
        };
        if seen == known.checkpoint {
            return Ok(Seen::Same);
        }
        self.unverified.add(seen, &served);
        self.refuse_fork()?;
        match seen.size.cmp(&known.checkpoint.size) {
            Ordering::Greater => self.grow(known, seen, served),
            // Its root is another one, so the comparison that follows raises the alarm.
            Ordering::Equal => Ok(Seen::Same),
            Ordering::Less => {
                self.older = Some(served);
                Ok(Seen::Older { size: seen.size })
            }
        }
    }

    /// Refuses two signed checkpoints of one size with different roots.
    fn refuse_fork(&self) -> Result<(), RoundError> {
        match self.unverified.fork() {
            Some((fork, notes)) => Err(self.alarm(&notes, fork.into())),
            None => Ok(()),
        }
    }

    /// Compares signed checkpoints with the known log, once it has as many rolls.
    fn compare_unverified(&mut self) -> Result<(), RoundError> {
        let Some(known) = self.known.clone() else { return Ok(()) };
        let mut fault = None;
        for (seen, served) in self.unverified.up_to(known.checkpoint.size) {
            match self.fork(known.checkpoint, seen) {
                Ok(None) => {}
                Ok(Some(fork)) => {
                    return Err(self.alarm(&[&known.note, &served], fork.into()));
                }
                Err(error) if error.is_gone() => {
                    let path = self.file.keep(&served).map_err(RoundError::Alarm)?;
                    note(format_args!(
                        "cannot compare the checkpoint of {} rolls with the log, because its last \
                         rolls are pruned; it is kept: {}",
                        seen.size,
                        path.display()
                    ));
                }
                // The next round tries again. A log that was rolled back has no such hashes.
                Err(error) => {
                    fault = Some(error);
                    continue;
                }
            }
            self.unverified.remove(seen);
        }
        if let Some(error) = fault {
            let error = anyhow!(error).context("cannot compare an older checkpoint with the log");
            note(format_args!("{error:#}"));
        }
        Ok(())
    }

    /// The fork, if a checkpoint of at most as many rolls contradicts the known one.
    fn fork(&self, known: Checkpoint, seen: Checkpoint) -> Result<Option<Fork>, LogError> {
        match self.tail.as_ref().and_then(|tail| tail.root(seen.size)) {
            Some(root) => Ok(follow(known, seen, root).err()),
            None => remote_tree::fork(self.log, known, seen),
        }
    }

    /// The alarm for a log that stays shorter than it was.
    pub fn rollback(&self) -> anyhow::Error {
        let (Some(known), Some(older)) = (&self.known, &self.older) else {
            return anyhow!("rollback");
        };
        let seen = Checkpoint::read(older).map_or(0, |(_, seen)| seen.size);
        let error = anyhow!("rollback: the log had {} rolls and has {seen}", known.checkpoint.size);
        self.with_evidence(&[&known.note, older], error)
    }

    /// Verifies all rolls that the server keeps.
    fn begin(&mut self) -> Result<Seen, RoundError> {
        let (unverified, mut served) = (&mut self.unverified, None);
        let verified = verify_log(self.log, &self.key, Saved::Nowhere, |seen, note| {
            unverified.add(seen, note);
            served = Some(note.to_owned());
            Ok(())
        });
        self.refuse_fork()?;
        let verified = verified.map_err(|error| {
            let is_refused = error.downcast_ref::<Refusal>().is_some();
            let notes = served.as_deref();
            if is_refused { self.alarm(notes.as_slice(), error) } else { outage(error) }
        })?;
        // Ignore the error: the monitor continues if nobody reads its output.
        let _ = print(&verified);
        let (first, last) = (verified.n_pruned + 1, verified.checkpoint.size);
        let chains = *verified.verifier.chains();
        self.save(verified.checkpoint, verified.note, chains)?;
        Ok(Seen::Begun { first, last })
    }

    /// Verifies that a larger tree continues the known one.
    fn grow(
        &mut self,
        known: &Known,
        seen: Checkpoint,
        served: String,
    ) -> Result<Seen, RoundError> {
        let (old, notes) = (known.checkpoint, [known.note.as_str(), served.as_str()]);
        let (verifier, tail) = match growth::read(self.log, known, seen) {
            Ok(read) => read,
            Err(GrowError::Log(error)) if error.is_gone() => {
                let what = format!(
                    "cannot follow the log any further: rolls after {} are pruned by now",
                    old.size
                );
                return Err(self.alarm(&notes, anyhow!(error).context(what)));
            }
            Err(GrowError::Log(error)) => return Err(outage(error)),
            // Somebody between the server and this monitor may have changed the leaves.
            Err(GrowError::Contradicted(Contradiction::Leaves(
                error @ LeavesError::NotSigned(_),
            ))) => return Err(outage(error)),
            Err(GrowError::Contradicted(error)) => {
                return Err(self.alarm(&notes, error.into()));
            }
        };
        if let Some(Break(id)) = verifier.summary().breaks.first() {
            return Err(self.alarm(&notes, anyhow!("break: {}", broken(*id))));
        }
        if let Some(id) = verifier.chains().unknown() {
            note(format_args!(
                "cannot tell whether the chain from roll {id} on was announced: the roll that may \
                 have announced it was pruned before this monitor began"
            ));
        }
        self.save(seen, served, *verifier.chains())?;
        self.tail = Some(tail);
        let n_unproven = verifier.summary().n_unproven;
        Ok(Seen::Grown { first: old.size + 1, last: seen.size, n_unproven })
    }

    fn save(
        &mut self,
        checkpoint: Checkpoint,
        note: String,
        chains: Chains,
    ) -> Result<(), RoundError> {
        let known = Known { key: self.key.clone(), chains, checkpoint, note };
        // An unsaved state would be lost at a restart, so this is an error.
        let written = self.file.write(&known);
        written.context("cannot save the state").map_err(RoundError::Alarm)?;
        self.known = Some(known);
        Ok(())
    }

    /// The error for a checkpoint that the known key has not signed.
    fn other_key(&self, error: NoteError) -> anyhow::Error {
        let why = match error {
            NoteError::Origin { expected, seen } => format!("expected `{expected}`, got `{seen}`"),
            error => error.to_string(),
        };
        anyhow!(
            "break: another key signs the log ({why}); if the operator announced it, remove the \
             state file `{}`",
            self.state_path()
        )
    }

    fn alarm(&self, notes: &[&str], error: anyhow::Error) -> RoundError {
        RoundError::Alarm(self.with_evidence(notes, error))
    }

    /// Saves the checkpoints that belong to an error, and names their files in it.
    fn with_evidence(&self, notes: &[&str], error: anyhow::Error) -> anyhow::Error {
        let kept: anyhow::Result<Vec<_>> = notes.iter().map(|note| self.file.keep(note)).collect();
        match kept {
            Ok(paths) if paths.is_empty() => error,
            Ok(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                let what =
                    if paths.len() == 1 { "the checkpoint is" } else { "both checkpoints are" };
                anyhow!("{error:#}; {what} kept: {}", paths.join(", "))
            }
            Err(fault) => anyhow!("{error:#}; the checkpoints cannot be kept: {fault:#}"),
        }
    }
}

fn outage(error: impl Into<anyhow::Error>) -> RoundError {
    RoundError::Outage(error.into())
}
