//! Compares two checkpoints of a server's log by the hashes of the larger tree.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::cli::remote_log::{LogError, RemoteLog};
use crate::log::{Checkpoint, Fork, Frontier, Hash, Nodes, TILE_HEIGHT, TILE_LEN, follow, roots};

/// The nodes of a signed tree, from tiles that are not verified.
struct RemoteNodes<'a> {
    log: &'a RemoteLog,
    tree: Checkpoint,
    /// The tiles that were read, by level and number.
    tiles: RefCell<HashMap<(u32, u64), Vec<Hash>>>,
}

/// Compares two checkpoints that the log's key has signed. `None`: one tree has both roots.
///
/// # Errors
///
/// The hashes cannot be read, or do not have the root of the larger checkpoint. Then nobody knows
/// whether the checkpoints contradict each other, unless both have the same size.
pub fn fork(
    log: &RemoteLog,
    known: Checkpoint,
    seen: Checkpoint,
) -> Result<Option<Fork>, LogError> {
    let (small, large) = if seen.size < known.size { (seen, known) } else { (known, seen) };
    let root = match small.size {
        size if size == large.size => large.root,
        0 => Frontier::default().root(),
        size => {
            let nodes = RemoteNodes { log, tree: large, tiles: RefCell::default() };
            let (root, root_of_all) = roots(&nodes, size, large.size)?;
            if root_of_all != large.root {
                return Err(LogError::OtherTree(large.size));
            }
            root
        }
    };
    Ok(follow(known, seen, root).err())
}

impl Nodes for RemoteNodes<'_> {
    type Error = LogError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, LogError> {
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        // A tile has only the nodes of one level. Those above are computed.
        let first = index << height;
        let place = (tile_level, first / TILE_LEN);
        let mut tiles = self.tiles.borrow_mut();
        let tile = match tiles.entry(place) {
            Entry::Occupied(tile) => tile.into_mut(),
            Entry::Vacant(tile) => tile.insert(self.log.hashes(place.0, place.1, &self.tree)?),
        };
        let start = (first % TILE_LEN) as usize;
        let mut node = Frontier::default();
        for hash in &tile[start..start + (1 << height)] {
            node.push(*hash);
        }
        Ok(node.root())
    }
}
