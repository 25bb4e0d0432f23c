//! Follows a log: checks whether another checkpoint contradicts the known one.
//!
//! This is the last part of section 6 of `rollcast/v1` (`docs/proof.md`).

use std::cmp::Ordering;

use crate::log::{Chains, Checkpoint, Frontier, Hash, HistoryVerifier, LeavesError, leaf_hash};

/// How another checkpoint of a log relates to the known one, if one tree can have both roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It covers the same tree.
    Same,
    /// It covers a larger tree.
    Grown,
    /// It covers a smaller tree, as from a cache or a restored backup.
    Older,
}

/// Two checkpoints of one log that no single tree can have. If both are signed and have one size,
/// they prove that the signer cheated. For two sizes, this also needs hashes of the larger tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "fork: the checkpoints of {} and of {} rolls are both signed and contradict each other: \
     the root of the first {} rolls is {} in one and {root} in the other",
    known.size, seen.size, shorter(known, seen).size, shorter(known, seen).root
)]
pub struct Fork {
    /// The one that was known.
    pub known: Checkpoint,
    /// The other one.
    pub seen: Checkpoint,
    /// The root of the larger one's tree at the size of the smaller one.
    pub root: Hash,
}

/// Why new leaves do not continue a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The leaves belong to another tree.
    #[error(transparent)]
    Fork(#[from] Fork),
    /// The leaves are not accepted.
    #[error(transparent)]
    Leaves(#[from] LeavesError),
}

/// Compares two checkpoints that the log's key has signed. `root` is the root of the larger one's
/// tree at the size of the smaller one.
///
/// # Errors
///
/// [`Fork`] if the smaller one has another root.
pub fn follow(known: Checkpoint, seen: Checkpoint, root: Hash) -> Result<Followed, Fork> {
    if shorter(&known, &seen).root != root {
        return Err(Fork { known, seen, root });
    }
    Ok(match seen.size.cmp(&known.size) {
        Ordering::Less => Followed::Older,
        Ordering::Equal => Followed::Same,
        Ordering::Greater => Followed::Grown,
    })
}

/// The smaller checkpoint; the known one if both have the same size.
fn shorter<'a>(known: &'a Checkpoint, seen: &'a Checkpoint) -> &'a Checkpoint {
    if seen.size < known.size { seen } else { known }
}

/// Verifies that the leaves of a larger tree continue a known one.
pub struct Growth {
    known: Checkpoint,
    chains: Chains,
    tree: Frontier,
    /// Verifies the new leaves, once the leaves before have the known root.
    verifier: Option<HistoryVerifier>,
    /// The root of the first leaves, if it is not the known one.
    other_root: Option<Hash>,
}

impl Growth {
    /// Begins with `tree`, which covers at most as many leaves as the known checkpoint. `chains`
    /// are the chains of the known leaves.
    pub fn new(known: Checkpoint, chains: Chains, tree: Frontier) -> Growth {
        Growth { known, chains, tree, verifier: None, other_root: None }
    }

    /// Adds the next leaf, known or new.
    pub fn push(&mut self, leaf: &str) {
        if self.verifier.is_none() && self.tree.size() == self.known.size {
            let root = self.tree.root();
            if root == self.known.root {
                self.verifier = Some(HistoryVerifier::resume(self.tree.clone(), self.chains));
            } else {
                self.other_root = Some(root);
            }
        }
        match &mut self.verifier {
            // The verifier keeps the error until all leaves are there.
            Some(verifier) => drop(verifier.push(leaf)),
            None => self.tree.push(leaf_hash(leaf)),
        }
    }

    /// Compares the leaves with the larger checkpoint. Returns the verifier of the new leaves.
    ///
    /// # Errors
    ///
    /// [`Contradiction::Fork`] if the leaves have the root of the larger checkpoint, but the first
    /// ones do not have the root of the known one; otherwise [`Contradiction::Leaves`].
    pub fn finish(self, seen: Checkpoint) -> Result<HistoryVerifier, Contradiction> {
        let Growth { known, chains, tree, verifier, other_root } = self;
        let verifier = verifier.unwrap_or_else(|| HistoryVerifier::resume(tree, chains));
        verifier.finish(&seen)?;
        match other_root {
            Some(root) => Err(Fork { known, seen, root }.into()),
            None => Ok(verifier),
        }
    }
}
