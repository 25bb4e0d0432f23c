//! Verification of a whole history, and of one roll.
//!
//! This is section 6 of `rollcast/v1` (`docs/proof.md`).

use crate::draw;
use crate::log::chain::{Break, ChainError, Chains};
use crate::log::{
    Checkpoint, Frontier, Hash, Leaf, NoteError, Proof, VerifierKey, leaf_hash, root_of_inclusion,
};
use crate::roll::{Roll, RollId};
use crate::seeds::{Block, Seed};
use crate::text::ValueError;

/// Why a history or a roll is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A leaf has none of the four forms.
    #[error("line {line}: {error}")]
    Form {
        /// The number of the line.
        line: u64,
        /// What was expected.
        error: ValueError,
    },
    /// A leaf belongs to another roll.
    #[error("line {line} is roll {id}, expected roll {line}")]
    Id {
        /// The number of the line.
        line: u64,
        /// The roll.
        id: RollId,
    },
    /// A result does not follow from the seed.
    #[error("roll {id}: expected {die} = {expected} from its seed, got {seen}")]
    Dice {
        /// The roll.
        id: RollId,
        /// The die.
        die: String,
        /// What the seed gives.
        expected: u32,
        /// What the leaf says.
        seen: u32,
    },
    /// A seed does not fit the seeds before it.
    #[error(transparent)]
    Seed(#[from] ChainError),
    /// The seed of a roll does not lead back to the known earlier seed.
    #[error("the seed of roll {id} does not lead back to the known one of roll {known}")]
    Known {
        /// The roll.
        id: RollId,
        /// The roll whose seed is known.
        known: RollId,
    },
    /// The checkpoint is malformed, or the key has not signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint covers another number of rolls.
    #[error("the checkpoint covers {signed} rolls, but there are {seen}")]
    Size {
        /// The size that was signed.
        signed: u64,
        /// How many rolls there are.
        seen: u64,
    },
    /// A proof has too few or too many hashes.
    #[error("the proof of roll {id} in a tree of {size} rolls has the wrong number of hashes")]
    Length {
        /// The roll.
        id: RollId,
        /// The size of the tree.
        size: u64,
    },
    /// The tree has another root than the signed one.
    #[error(
        "the tree of {size} rolls has another root than the signed one: \
         expected {signed}, got {seen}"
    )]
    Root {
        /// The size of the tree.
        size: u64,
        /// The root of these rolls.
        seen: Hash,
        /// The signed one.
        signed: Hash,
    },
}

/// Why the leaves that a server sent are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeavesError {
    /// They do not have the signed root, so nobody knows who changed them: the server, or somebody
    /// between it and the verifier.
    #[error("the server sent other leaves than it signed: {0}")]
    NotSigned(Refusal),
    /// They are in the signed log, which must not contain them.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Verifies leaves 1, 2, 3, … of a log.
#[derive(Clone, Debug, Default)]
pub struct HistoryVerifier {
    tree: Frontier,
    chains: Chains,
    summary: Summary,
    /// What is wrong with the first leaf that was refused.
    refusal: Option<Refusal>,
}

/// What a history contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many rolls have a seed.
    pub n_proven: u64,
    /// How many have none.
    pub n_unproven: u64,
    /// The chains that nobody announced.
    pub breaks: Vec<Break>,
}

impl HistoryVerifier {
    /// Continues a tree whose leaves are pruned. Seeds are checked from the next leaf on.
    pub fn after_pruned(tree: Frontier) -> HistoryVerifier {
        let first = RollId(tree.size() as i64).next();
        HistoryVerifier::resume(tree, Chains::after_pruned(first))
    }

    /// Continues a tree whose leaves are verified.
    pub fn resume(tree: Frontier, chains: Chains) -> HistoryVerifier {
        HistoryVerifier { tree, chains, ..HistoryVerifier::default() }
    }

    /// Verifies the next leaf. A refused leaf is added to the tree all the same, and so are all
    /// leaves after it, unchecked. So a caller may go on after an error, and learn from the root
    /// whether the log contains the leaf.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says what is wrong with the first refused leaf.
    pub fn push(&mut self, text: &str) -> Result<(), Refusal> {
        if self.refusal.is_none() {
            self.refusal = self.check(text).err();
        }
        self.tree.push(leaf_hash(text));
        self.refusal.clone().map_or(Ok(()), Err)
    }

    fn check(&mut self, text: &str) -> Result<(), Refusal> {
        let line = self.tree.size() + 1;
        let leaf: Leaf = text.parse().map_err(|error| Refusal::Form { line, error })?;
        let id = leaf.id();
        if id.0 as u64 != line {
            return Err(Refusal::Id { line, id });
        }
        match &leaf {
            Leaf::Proven { roll, seed, next } => {
                check_dice(roll, *seed)?;
                self.summary.breaks.extend(self.chains.follow(id, *seed, *next)?);
                self.summary.n_proven += 1;
            }
            Leaf::Unproven(_) | Leaf::Missing(_) => self.summary.n_unproven += 1,
        }
        Ok(())
    }

    /// The tree so far.
    pub fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// The chains so far.
    pub fn chains(&self) -> &Chains {
        &self.chains
    }

    /// What the history contains so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Compares the tree with a checkpoint of the same size.
    ///
    /// # Errors
    ///
    /// [`Refusal::Size`] or [`Refusal::Root`].
    pub fn compare(&self, checkpoint: &Checkpoint) -> Result<(), Refusal> {
        let (size, seen) = (self.tree.size(), self.tree.root());
        if checkpoint.size != size {
            return Err(Refusal::Size { signed: checkpoint.size, seen: size });
        }
        compare(seen, checkpoint)
    }

    /// Compares all leaves that a server sent with the checkpoint that it signed.
    ///
    /// # Errors
    ///
    /// [`LeavesError`] tells leaves of the log from leaves that are not in it.
    pub fn finish(&self, signed: &Checkpoint) -> Result<(), LeavesError> {
        match (self.compare(signed), &self.refusal) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(refusal)) => Err(LeavesError::Refused(refusal.clone())),
            (Err(root), refusal) => Err(LeavesError::NotSigned(refusal.clone().unwrap_or(root))),
        }
    }
}

/// Verifies one roll by its proof file, and returns its leaf. `known` is an earlier roll of the
/// same block and its seed, which was public before; or the id before the block's first roll, and
/// the block's anchor. Without `known`, only the log is proven, not the dice.
///
/// # Errors
///
/// [`Refusal`] says what is wrong.
pub fn verify_roll(
    proof: &Proof,
    key: &VerifierKey,
    known: Option<(RollId, Seed)>,
) -> Result<Leaf, Refusal> {
    let checkpoint = Checkpoint::open(&proof.checkpoint, key)?;
    let line = proof.index + 1;
    let leaf: Leaf = proof.leaf.parse().map_err(|error| Refusal::Form { line, error })?;
    let id = leaf.id();
    if id.0 as u64 != line {
        return Err(Refusal::Id { line, id });
    }
    if line > checkpoint.size {
        return Err(Refusal::Size { signed: checkpoint.size, seen: line });
    }
    if let Leaf::Proven { roll, seed, .. } = &leaf {
        check_dice(roll, *seed)?;
        if let Some((known, expected)) = known {
            let first = Block::of(id).first().previous();
            let leads_back =
                (first..id).contains(&known) && seed.back((id.0 - known.0) as u64) == expected;
            if !leads_back {
                return Err(Refusal::Known { id, known });
            }
        }
    }
    match root_of_inclusion(leaf_hash(&proof.leaf), proof.index, checkpoint.size, &proof.hashes) {
        Some(root) => compare(root, &checkpoint).map(|()| leaf),
        None => Err(Refusal::Length { id, size: checkpoint.size }),
    }
}

fn check_dice(roll: &Roll, seed: Seed) -> Result<(), Refusal> {
    let key = seed.key();
    for seen in &roll.dice.0 {
        let expected = draw::result(&key, roll.id, seen.die, None).result;
        if seen.result != expected {
            let die = seen.die.to_string();
            return Err(Refusal::Dice { id: roll.id, die, expected, seen: seen.result });
        }
    }
    Ok(())
}

fn compare(seen: Hash, signed: &Checkpoint) -> Result<(), Refusal> {
    let Checkpoint { size, root: signed } = *signed;
    if seen == signed { Ok(()) } else { Err(Refusal::Root { size, seen, signed }) }
}
