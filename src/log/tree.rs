//! The tree: its root, and proofs that a leaf is in it and that one tree continues another.
//!
//! Nodes are named by their level and their index in that level: the node `(level, index)` is the
//! root of the complete subtree over the leaves `index << level` to `((index + 1) << level) - 1`.

use crate::log::hash::{Hash, node_hash};
use crate::seeds::sha256;

/// The nodes of a tree.
pub trait Nodes {
    /// Why a node cannot be read.
    type Error;

    /// The hash of a complete subtree.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// A tree that only grows, stored as the roots of its complete subtrees, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The tree of the first `size` leaves.
    ///
    /// # Errors
    ///
    /// A node cannot be read.
    pub fn read<N: Nodes>(nodes: &N, size: u64) -> Result<Frontier, N::Error> {
        let mut subtrees = Vec::new();
        let mut start = 0;
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            subtrees.push(nodes.node(level, start >> level)?);
            start += 1 << level;
        }
        Ok(Frontier { size, subtrees })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_subtree(0, leaf);
    }

    /// Adds a complete subtree of `2^level` leaves. The size must be a multiple of that.
    pub fn push_subtree(&mut self, level: u32, root: Hash) {
        debug_assert!(self.size.is_multiple_of(1 << level), "no place for a subtree");
        let mut hash = root;
        for _ in 0..(self.size >> level).trailing_ones() {
            let left = self.subtrees.pop().expect("one subtree for each bit of the size");
            hash = node_hash(left, hash);
        }
        self.subtrees.push(hash);
        self.size += 1 << level;
    }

    /// The root. The root of an empty tree is the hash of the empty string.
    pub fn root(&self) -> Hash {
        let subtrees = self.subtrees.iter().rev().copied();
        subtrees.reduce(|right, left| node_hash(left, right)).unwrap_or(Hash(sha256(b"")))
    }
}

/// The root of the first `size` leaves.
///
/// # Errors
///
/// A node cannot be read.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    Ok(Frontier::read(nodes, size)?.root())
}

/// Proves that the leaf `index` is in the tree of the first `size` leaves, of which it must be one.
/// RFC 6962, section 2.1.1.
///
/// # Errors
///
/// A node cannot be read.
pub fn inclusion_proof<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    assert!(index < size, "leaf {index} is not in a tree of {size} leaves");
    let (mut start, mut len) = (0, size);
    let mut proof = Vec::new();
    while len > 1 {
        let left = largest_power_below(len);
        if index - start < left {
            proof.push(range(nodes, start + left, len - left)?);
            len = left;
        } else {
            proof.push(range(nodes, start, left)?);
            (start, len) = (start + left, len - left);
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of the first `new` leaves continues that of the first `old` ones, which
/// must be at least 1 and at most `new`. RFC 6962, section 2.1.2.
///
/// # Errors
///
/// A node cannot be read.
pub fn consistency_proof<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    assert!((1..=new).contains(&old), "no proof from {old} to {new} leaves");
    let (mut start, mut len) = (0, new);
    let mut proof = Vec::new();
    // The old tree ends in the range from `start` on.
    while old - start < len {
        let left = largest_power_below(len);
        if old - start <= left {
            proof.push(range(nodes, start + left, len - left)?);
            len = left;
        } else {
            proof.push(range(nodes, start, left)?);
            (start, len) = (start + left, len - left);
        }
    }
    // The verifier already knows the old root.
    if start > 0 {
        proof.push(range(nodes, start, len)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The roots of the first `old` and of the first `new` leaves. `old` must be at least 1 and at most
/// `new`. Both roots are computed from the same nodes: if the root of `new` is the expected one, so
/// are the nodes, and the other root is that of the first `old` of these leaves.
///
/// # Errors
///
/// A node cannot be read.
pub fn roots<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<(Hash, Hash), N::Error> {
    assert!((1..=new).contains(&old), "the first {old} of {new} leaves");
    roots_of_range(nodes, old, 0, new)
}

/// The roots of the leaves from `start` on: of those before `old`, and of all `len`.
fn roots_of_range<N: Nodes>(
    nodes: &N,
    old: u64,
    start: u64,
    len: u64,
) -> Result<(Hash, Hash), N::Error> {
    if old == start + len {
        let root = range(nodes, start, len)?;
        return Ok((root, root));
    }
    let left = largest_power_below(len);
    let middle = start + left;
    if old <= middle {
        let (of_old, of_left) = roots_of_range(nodes, old, start, left)?;
        return Ok((of_old, node_hash(of_left, range(nodes, middle, len - left)?)));
    }
    let of_left = range(nodes, start, left)?;
    let (of_old, of_right) = roots_of_range(nodes, old, middle, len - left)?;
    Ok((node_hash(of_left, of_old), node_hash(of_left, of_right)))
}

/// The root of a range of leaves that begins at a multiple of the next power of two.
fn range<N: Nodes>(nodes: &N, start: u64, len: u64) -> Result<Hash, N::Error> {
    if len.is_power_of_two() {
        return nodes.node(len.trailing_zeros(), start >> len.trailing_zeros());
    }
    let left = largest_power_below(len);
    Ok(node_hash(range(nodes, start, left)?, range(nodes, start + left, len - left)?))
}

/// The largest power of two that is less than `n`, which is 2 or more.
fn largest_power_below(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The root that an inclusion proof gives; `None` if the proof has the wrong length, or `index` is
/// not in the tree. RFC 9162, section 2.1.3.2.
pub fn root_of_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut root) = (index, size - 1, leaf);
    for &hash in proof {
        if last == 0 {
            return None;
        }
        if node % 2 == 1 || node == last {
            root = node_hash(hash, root);
            while node.is_multiple_of(2) && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            root = node_hash(root, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// Whether a proof shows that the new tree continues the old one, which has at least one leaf and
/// at most as many as the new one. RFC 9162, section 2.1.4.2.
pub fn is_consistent(old: (u64, Hash), new: (u64, Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    let with_old_root;
    let proof = if old_size.is_power_of_two() {
        with_old_root = [&[old_root], proof].concat();
        &with_old_root
    } else {
        proof
    };
    let Some((&first, proof)) = proof.split_first() else { return false };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node % 2 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut of_old, mut of_new) = (first, first);
    for &hash in proof {
        if last == 0 {
            return false;
        }
        if node % 2 == 1 || node == last {
            of_old = node_hash(hash, of_old);
            of_new = node_hash(hash, of_new);
            while node.is_multiple_of(2) && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            of_new = node_hash(of_new, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && of_old == old_root && of_new == new_root
}
