//! The log of all rolls: a Merkle tree whose leaves are the rolls with their seeds, its signed
//! checkpoints, and proofs. This module only computes: the store keeps the log, and the web serves
//! it.
//!
//! This is sections 3, 4 and 6 of `rollcast/v1` (`docs/proof.md`). The formats are those of
//! <https://c2sp.org/tlog-tiles>, <https://c2sp.org/tlog-checkpoint> and
//! <https://c2sp.org/tlog-proof>.

mod hash;
mod leaf;
mod tree;
mod tile;
mod key;
mod checkpoint;
mod proof;
mod chain;
mod verify;
mod follow;
#[cfg(test)]
mod vectors;

pub use self::chain::{Break, ChainError, Chains};
pub use self::checkpoint::{Checkpoint, NoteError};
pub use self::follow::{Contradiction, Followed, Fork, Growth, follow};
pub use self::hash::{Hash, leaf_hash, node_hash};
pub use self::key::{SigningKey, VerifierKey, is_origin};
pub use self::leaf::{Leaf, is_roll};
pub use self::proof::Proof;
pub use self::tile::{TILE_HEIGHT, TILE_LEN, Tile, TileKind, entries, entry};
pub use self::tree::{
    Frontier, Nodes, consistency_proof, inclusion_proof, is_consistent, root, root_of_inclusion,
    roots,
};
pub use self::verify::{HistoryVerifier, LeavesError, Refusal, Summary, verify_roll};
