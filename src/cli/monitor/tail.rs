//! The end of a verified log, which is compared with shorter checkpoints.

use crate::log::{Frontier, Hash, TILE_LEN, leaf_hash};

/// The newest leaves of a log: at least 256, or all.
pub struct Tail {
    before: Frontier,
    leaves: Vec<Hash>,
}

impl Tail {
    /// The leaves after a tree.
    pub fn after(before: Frontier) -> Tail {
        Tail { before, leaves: Vec::new() }
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: &str) {
        self.leaves.push(leaf_hash(leaf));
        if self.leaves.len() as u64 == 2 * TILE_LEN {
            for hash in self.leaves.drain(..TILE_LEN as usize) {
                self.before.push(hash);
            }
        }
    }

    /// The root of the first `size` leaves; `None` if the tail does not reach back that far, or the
    /// log is shorter.
    pub fn root(&self, size: u64) -> Option<Hash> {
        let n_leaves = size.checked_sub(self.before.size())?;
        let mut tree = self.before.clone();
        for hash in self.leaves.get(..usize::try_from(n_leaves).ok()?)? {
            tree.push(*hash);
        }
        Some(tree.root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_has_the_roots_of_its_last_256_sizes() {
        let mut tail = Tail::after(Frontier::default());
        let mut tree = Frontier::default();
        let mut roots = vec![tree.root()];
        for size in 1..=1_100u64 {
            let leaf = size.to_string();
            tail.push(&leaf);
            tree.push(leaf_hash(&leaf));
            roots.push(tree.root());
            let oldest = size.saturating_sub(256);
            for known in (oldest..=size).step_by(16).chain([size - 1]) {
                assert_eq!(tail.root(known), Some(roots[known as usize]), "{known} of {size}");
            }
            assert_eq!(tail.root(size + 1), None);
        }
        assert_eq!(tail.root(1_100 - 600), None);
    }
}
