//! Verifies one roll by its proof.

use crate::cli::remote_log::RemoteLog;
use crate::cli::say;
use crate::cli::verify::earlier::{self, Earlier};
use crate::cli::verify::{Question, refused, say_log};
use crate::log::{Checkpoint, Leaf, Proof, Refusal, VerifierKey, verify_roll};
use crate::roll::RollId;
use crate::seeds::Block;

/// Verifies a proof and prints what it shows. Returns the leaf.
///
/// # Errors
///
/// The proof is refused or is of another roll, or the roll has no seed.
pub fn verify(proof: &Proof, key: &VerifierKey, question: &Question) -> anyhow::Result<Leaf> {
    let leaf = verify_roll(proof, key, question.known).map_err(refused)?;
    let id = leaf.id();
    if let Some(expected) = question.roll.filter(|expected| *expected != id) {
        anyhow::bail!("refused: the proof is of roll {id}, expected roll {expected}");
    }
    say_log(key, &Checkpoint::open(&proof.checkpoint, key).map_err(Refusal::from)?)?;
    let roll = leaf.roll().map(|roll| format!("  {}  {}", roll.rolled_at, roll.dice));
    say("roll", format!("{id}{}", roll.unwrap_or_default()))?;
    let Some(seed) = leaf.seed() else {
        anyhow::bail!("not proven: roll {id} is in the log, but it has no seed");
    };
    say("dice", format!("follow from the seed {seed}"))?;
    if let Some((known, _)) = question.known {
        let what = if known < Block::of(id).first() { "the anchor before" } else { "that of" };
        say("seed", format!("leads back to {what} roll {}", known.max(Block::of(id).first())))?;
    }
    Ok(leaf)
}

/// Says that it was not checked whether the dice were fixed before the roll.
///
/// # Errors
///
/// Standard output cannot be written to.
pub fn say_unchecked(id: RollId) -> anyhow::Result<()> {
    let what = "whether the seed leads back to one that was public before";
    say(
        "not checked",
        format!("{what}; to check that, give the seed of a roll before {id} with --seed"),
    )
}

/// Shows that the seed of a proven roll leads back to an earlier one in the server's log.
///
/// # Errors
///
/// Its chain is refused, the log cannot be read, or it shows no earlier seed.
pub fn show_earlier(
    log: &RemoteLog,
    key: &VerifierKey,
    proof: &Proof,
    leaf: Leaf,
) -> anyhow::Result<()> {
    match earlier::find(log, key, &proof.checkpoint, leaf)? {
        Earlier::Roll(roll) => {
            let time = format!("made at {} by the operator's clock", roll.rolled_at);
            say("seed", format!("leads back to that of roll {}, {time}", roll.id))
        }
        Earlier::Anchor(id) => {
            say("seed", format!("leads back to the anchor that roll {id} announced"))
        }
        // There is no earlier seed that anybody could have noted.
        Earlier::First(id) => {
            anyhow::bail!("not proven: roll {id} is the first one with a seed")
        }
        Earlier::Nothing(why) => {
            let remedy = "to compare the seed with one that you noted, add --seed";
            anyhow::bail!("not proven: {why}; {remedy}")
        }
    }
}
