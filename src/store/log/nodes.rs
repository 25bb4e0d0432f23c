//! The nodes of the tree, computed from the database.
//!
//! A tile of leaves is computed from the rolls on each request. If the tile is full, its hash must
//! be the stored one; otherwise the tree must have the signed root. So a row that was changed later
//! is an error, and never a wrong proof.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension};

use crate::log::{
    Checkpoint, Hash, Leaf, Nodes, TILE_HEIGHT, TILE_LEN, leaf_hash, node_hash, root,
};
use crate::roll::RollId;
use crate::store::StoreError;
use crate::store::log::leaves::leaves;
use crate::store::log::runs::{first_of, tile_of};

/// The nodes of the tree of the first `size` rolls.
pub struct TileNodes<'a> {
    connection: &'a Connection,
    size: u64,
    /// The leaves of tiles that were read, and their hashes.
    tiles: RefCell<BTreeMap<u64, Rc<LeafTile>>>,
}

/// A tile of leaves.
pub struct LeafTile {
    pub leaves: Vec<Leaf>,
    pub hashes: Vec<Hash>,
}

impl<'a> TileNodes<'a> {
    /// The nodes of the tree of the first `size` rolls, all of which are in the database.
    pub fn new(connection: &'a Connection, size: u64) -> TileNodes<'a> {
        TileNodes { connection, size, tiles: RefCell::default() }
    }

    /// The leaves of a tile, as many as the tree has.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if a full tile does not have its stored hash; otherwise the database
    /// cannot be read.
    pub fn leaf_tile(&self, n: u64) -> Result<Rc<LeafTile>, StoreError> {
        if let Some(tile) = self.tiles.borrow().get(&n) {
            return Ok(tile.clone());
        }
        let stored = stored_hash(self.connection, 0, n)?;
        // A tile that is full in the database is compared as a whole.
        let last = match stored {
            Some(_) => first_of(n + 1).previous(),
            None => RollId(self.size as i64).min(first_of(n + 1).previous()),
        };
        let leaves = leaves(self.connection, n, last)?;
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(&leaf.text())).collect();
        let is_as_stored = match stored {
            Some(stored) => subtree_root(&hashes) == stored,
            None => !self.is_full(0, n),
        };
        if !is_as_stored {
            return Err(changed_tile(0, n));
        }
        let tile = Rc::new(LeafTile { leaves, hashes });
        self.tiles.borrow_mut().insert(n, tile.clone());
        Ok(tile)
    }

    /// The hashes of one level of tiles, from `start` on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if one is missing; otherwise the database cannot be read.
    pub fn tile_hashes(&self, level: u32, start: u64, len: u64) -> Result<Vec<Hash>, StoreError> {
        let sql = "select hash from tile_hashes where level = ?1 and n >= ?2 and n < ?3 order by n";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([u64::from(level), start, start + len], |row| row.get(0))?;
        let hashes: Vec<Hash> = rows.map(|hash| hash.map(Hash)).collect::<Result<_, _>>()?;
        if hashes.len() as u64 == len { Ok(hashes) } else { Err(changed_tiles(level, start, len)) }
    }

    /// Whether the tree fills a tile.
    fn is_full(&self, level: u32, n: u64) -> bool {
        n < self.size.checked_shr(TILE_HEIGHT * (level + 1)).unwrap_or(0)
    }

    /// Compares a tile with the stored hashes of all full tiles above it. The last tile of its level
    /// has none, so it is compared with the root of the checkpoint.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if one differs; otherwise the database cannot be read.
    pub fn check_tile(&self, level: u32, n: u64, signed: &Checkpoint) -> Result<(), StoreError> {
        if !self.is_full(level, n) {
            return self.check(signed);
        }
        let (mut level, mut n) = (level, n);
        while self.is_full(level, n) {
            // The tile of leaves was compared when it was read.
            if level > 0 {
                let hashes = self.tile_hashes(level - 1, n * TILE_LEN, TILE_LEN)?;
                if stored_hash(self.connection, level, n)? != Some(subtree_root(&hashes)) {
                    return Err(changed_tile(level, n));
                }
            }
            (level, n) = (level + 1, n / TILE_LEN);
        }
        Ok(())
    }

    /// Compares the root of the tree with that of a checkpoint.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if it differs; otherwise the database cannot be read.
    pub fn check(&self, signed: &Checkpoint) -> Result<(), StoreError> {
        match root(self, signed.size)? == signed.root {
            true => Ok(()),
            false => Err(self.changed(signed)),
        }
    }

    /// The error if the tree does not have the signed root, although all full tiles have their
    /// stored hashes.
    pub fn changed(&self, signed: &Checkpoint) -> StoreError {
        let last = RollId(signed.size as i64);
        StoreError::Changed { first: first_of(tile_of(last)), last }
    }
}

impl Nodes for TileNodes<'_> {
    type Error = StoreError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, StoreError> {
        if level < TILE_HEIGHT {
            let tile = self.leaf_tile((index << level) / TILE_LEN)?;
            let start = ((index << level) % TILE_LEN) as usize;
            return Ok(subtree_root(&tile.hashes[start..start + (1 << level)]));
        }
        let (tile_level, above) = (level / TILE_HEIGHT - 1, level % TILE_HEIGHT);
        Ok(subtree_root(&self.tile_hashes(tile_level, index << above, 1 << above)?))
    }
}

/// The root of a complete subtree over these nodes, whose number is a power of two.
pub fn subtree_root(nodes: &[Hash]) -> Hash {
    match nodes {
        [node] => *node,
        _ => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            node_hash(subtree_root(left), subtree_root(right))
        }
    }
}

/// The error if a full tile does not have its stored hash.
pub fn changed_tile(level: u32, n: u64) -> StoreError {
    changed_tiles(level, n, 1)
}

/// The same for one of several tiles.
fn changed_tiles(level: u32, start: u64, len: u64) -> StoreError {
    let n_leaves = TILE_LEN.pow(level + 1);
    let [first, last] =
        [start * n_leaves + 1, (start + len) * n_leaves].map(|id| RollId(id as i64));
    StoreError::Changed { first, last }
}

/// The stored hash of a full tile; `None` if it is not full yet.
///
/// # Errors
///
/// The database cannot be read.
pub fn stored_hash(
    connection: &Connection,
    level: u32,
    n: u64,
) -> Result<Option<Hash>, StoreError> {
    let sql = "select hash from tile_hashes where level = ?1 and n = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let hash = statement.query_row([u64::from(level), n], |row| row.get(0)).optional()?;
    Ok(hash.map(Hash))
}
