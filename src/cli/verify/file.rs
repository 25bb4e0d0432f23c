//! Verifies a proof or a history in a file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};

use crate::cli::remote_log::{MAX_LEAF_BYTES, MAX_TEXT_BYTES};
use crate::cli::verify::history::{self, Verified};
use crate::cli::verify::{Question, open_checkpoint, refused, roll};
use crate::cli::{Failure, progress::ProgressLine};
use crate::log::{HistoryVerifier, Leaf, Proof, VerifierKey};
use crate::roll::RollId;
use crate::text::shortened;

/// Show the progress every 16,384 rolls.
const PROGRESS_INTERVAL: u64 = 1 << 14;

/// Verifies the proof or the history in a file, and prints what was found.
///
/// # Errors
///
/// The content is refused: exit code 1. The file cannot be read, is a database, or is a history
/// although one roll was asked for, or `--seed` names no earlier roll: exit code 2.
pub fn verify(path: &Path, key: &VerifierKey, question: &Question) -> Result<(), Failure> {
    let file_name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read `{file_name}`"));
    let mut file = BufReader::new(file.map_err(Failure::usage)?);
    let mut first = Vec::new();
    let cannot_read = || format!("cannot read `{file_name}`");
    let read = file.by_ref().take(MAX_LEAF_BYTES).read_until(b'\n', &mut first);
    read.with_context(cannot_read).map_err(Failure::usage)?;
    let is_history = first.starts_with(b"rollcast/v1 ");
    if first.starts_with(b"SQLite format 3\0") {
        let what = "is a database; run `rollcast check`, or verify the URL of its server";
        return Err(Failure::usage(anyhow::anyhow!("`{file_name}` {what}")));
    }
    let mut file = first.as_slice().chain(file);
    if is_history && (question.roll.is_some() || question.known.is_some()) {
        let what = "is a history; --roll and --seed are for a proof";
        return Err(Failure::usage(anyhow::anyhow!("`{file_name}` {what}")));
    }
    if is_history {
        return Ok(history::print(&verify_history(&mut file, key)?)?);
    }
    let text = read_text(&mut file).with_context(cannot_read)?;
    let proof: Proof = text.parse().context("refused").map_err(Failure::from)?;
    question.check(RollId(proof.index as i64).next())?;
    let leaf: Leaf = roll::verify(&proof, key, question)?;
    if question.known.is_none() {
        roll::say_unchecked(leaf.id())?;
    }
    Ok(())
}

/// Verifies the lines of a history up to the empty one, and compares them with the checkpoint after
/// it.
fn verify_history(file: &mut impl BufRead, key: &VerifierKey) -> anyhow::Result<Verified> {
    let mut verifier = HistoryVerifier::default();
    let mut progress = ProgressLine::default();
    let mut line = Vec::new();
    loop {
        let n_rolls = verifier.tree().size();
        line.clear();
        file.take(MAX_LEAF_BYTES).read_until(b'\n', &mut line).context("cannot read the file")?;
        let Some(text) = line.strip_suffix(b"\n") else {
            let text = shortened(&String::from_utf8_lossy(&line));
            bail!("refused: line {} is cut off: `{text}`", n_rolls + 1);
        };
        if text.is_empty() {
            break;
        }
        let verified = match str::from_utf8(text) {
            Ok(text) => verifier.push(text),
            // No leaf, so it is refused.
            Err(_) => verifier.push(&String::from_utf8_lossy(text)),
        };
        verified.map_err(refused)?;
        if n_rolls.is_multiple_of(PROGRESS_INTERVAL) {
            progress.show(format_args!("verified {n_rolls} rolls"));
        }
    }
    drop(progress);
    let note = read_text(file)?;
    let checkpoint = open_checkpoint(&note, key)?;
    verifier.compare(&checkpoint).map_err(refused)?;
    Ok(Verified { key: key.clone(), note, checkpoint, n_pruned: 0, verifier })
}

/// The rest of a file, which must be a text of a limited length.
fn read_text(file: &mut impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    file.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text).context("expected a text")?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_TEXT_BYTES,
        "expected a proof or a checkpoint of at most {MAX_TEXT_BYTES} bytes, with all its signatures"
    );
    Ok(text)
}
