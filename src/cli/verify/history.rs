//! Verifies all rolls that a server keeps.

use std::io::{self, Write};

use anyhow::ensure;

use crate::cli::export::output::Output;
use crate::cli::progress::ProgressLine;
use crate::cli::remote_log::{LogError, RemoteLog};
use crate::cli::verify::{open_checkpoint, refused, say_log};
use crate::cli::{note, say};
use crate::log::{Break, Checkpoint, HistoryVerifier, LeavesError, TILE_LEN, VerifierKey};
use crate::roll::RollId;

/// How many times verification starts again if rolls are pruned while it reads them.
const MAX_RESTARTS: u32 = 3;
/// How many breaks are printed.
const MAX_BREAKS: usize = 10;

/// A history that was verified.
pub struct Verified {
    /// The key of the log.
    pub key: VerifierKey,
    /// The checkpoint, as served.
    pub note: String,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// How many rolls are pruned. For them, only the hashes of the tree were checked.
    pub n_pruned: u64,
    /// What was found.
    pub verifier: HistoryVerifier,
}

/// Where to write the verified leaves.
pub enum Saved<'a> {
    /// Nowhere.
    Nowhere,
    /// To a file.
    To(&'a mut Output),
}

/// Why a history is not verified.
#[derive(Debug, thiserror::Error)]
enum HistoryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Leaves(#[from] LeavesError),
    #[error("cannot write the history")]
    Write(#[from] io::Error),
}

/// Verifies all rolls that a server keeps. `seen` gets each checkpoint that the key has signed, with
/// its note, before its leaves are read: a second one if reading starts again.
///
/// # Errors
///
/// That of `seen`. A [`Refusal`](crate::log::Refusal) if the log is refused. Any other error if it cannot be read
/// or saved, or if the server sent other leaves than it signed.
pub fn verify_log(
    log: &RemoteLog,
    key: &VerifierKey,
    mut saved: Saved<'_>,
    mut seen: impl FnMut(Checkpoint, &str) -> anyhow::Result<()>,
) -> anyhow::Result<Verified> {
    let mut n_restarts = 0;
    loop {
        let note = log.checkpoint()?;
        let checkpoint = open_checkpoint(&note, key)?;
        seen(checkpoint, &note)?;
        let oldest = log.info()?.oldest;
        let n_pruned = (oldest.0 - 1) as u64;
        ensure!(
            n_pruned < checkpoint.size,
            "the server keeps no roll of the {} in its checkpoint: it names roll {oldest} as its \
             oldest",
            checkpoint.size
        );
        if let Saved::To(_) = saved {
            let last = oldest.previous();
            ensure!(n_pruned == 0, "cannot save the whole history: rolls 1 to {last} are pruned");
        }
        match verify_kept(log, &checkpoint, n_pruned, &mut saved) {
            Ok(verifier) => {
                if let Saved::To(out) = &mut saved {
                    write!(out, "\n{note}")?;
                }
                return Ok(Verified { key: key.clone(), note, checkpoint, n_pruned, verifier });
            }
            // What is written cannot be taken back.
            Err(HistoryError::Log(error)) if error.is_gone() && matches!(saved, Saved::To(_)) => {
                let what = "cannot save the whole history: rolls were pruned meanwhile";
                return Err(anyhow::Error::new(error).context(what));
            }
            Err(HistoryError::Log(error)) if error.is_gone() && n_restarts < MAX_RESTARTS => {
                n_restarts += 1;
                self::note("rolls were pruned meanwhile; starting again");
            }
            Err(HistoryError::Leaves(LeavesError::Refused(refusal))) => {
                return Err(refused(refusal));
            }
            // The same error alone, so that a caller can tell what it is.
            Err(HistoryError::Leaves(error)) => return Err(error.into()),
            Err(HistoryError::Log(error)) => return Err(error.into()),
            Err(error @ HistoryError::Write(_)) => return Err(error.into()),
        }
    }
}

/// Verifies the rolls after those that are pruned.
fn verify_kept(
    log: &RemoteLog,
    checkpoint: &Checkpoint,
    n_pruned: u64,
    saved: &mut Saved<'_>,
) -> Result<HistoryVerifier, HistoryError> {
    let first_tile = n_pruned / TILE_LEN;
    let mut verifier = match first_tile {
        0 => HistoryVerifier::default(),
        _ => HistoryVerifier::after_pruned(log.tree(first_tile, checkpoint)?),
    };
    let n_tiles = checkpoint.size.div_ceil(TILE_LEN);
    let mut progress = ProgressLine::default();
    for n in first_tile..n_tiles {
        let (done, all) = (n - first_tile, n_tiles - first_tile);
        progress.show(format_args!(
            "verifying: {} % of {} rolls",
            100 * done / all,
            checkpoint.size - n_pruned
        ));
        let width = (checkpoint.size - n * TILE_LEN).min(TILE_LEN);
        log.leaves(n, width, |leaf| {
            // Only the root shows whether the log contains a leaf, so the verifier keeps the error.
            let _ = verifier.push(leaf);
            if let Saved::To(out) = saved {
                writeln!(out, "{leaf}")?;
            }
            Ok::<(), HistoryError>(())
        })?;
    }
    verifier.finish(checkpoint)?;
    Ok(verifier)
}

/// Prints what was found.
///
/// # Errors
///
/// Standard output cannot be written to.
pub fn print(verified: &Verified) -> anyhow::Result<()> {
    let Verified { key, checkpoint, n_pruned, verifier, .. } = verified;
    say_log(key, checkpoint)?;
    let summary = verifier.summary();
    say(
        "verified",
        format!(
            "rolls {} to {}: all are in the signed log; the dice of {} follow from their seeds",
            n_pruned + 1,
            checkpoint.size,
            summary.n_proven
        ),
    )?;
    if summary.n_unproven > 0 {
        let n = summary.n_unproven;
        let rolls = if n == 1 { "roll has" } else { "rolls have" };
        say("not proven", format!("{n} {rolls} no seed"))?;
    }
    if *n_pruned > 0 {
        say("not checked", format!("rolls 1 to {n_pruned} are pruned"))?;
    }
    if let Some(id) = verifier.chains().unknown() {
        let why = "the roll that may have announced it is pruned";
        say("not checked", format!("whether the chain from roll {id} on was announced: {why}"))?;
    }
    for Break(id) in summary.breaks.iter().take(MAX_BREAKS) {
        say("break", broken(*id))?;
    }
    let n_more = summary.breaks.len().saturating_sub(MAX_BREAKS);
    if n_more > 0 {
        say("", format!("and {n_more} more"))?;
    }
    Ok(())
}

/// What a break means.
pub fn broken(id: RollId) -> String {
    format!("nobody announced the chain that begins with roll {id}: draws across it are void")
}
