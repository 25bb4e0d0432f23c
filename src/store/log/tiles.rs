//! Tiles and proofs, and the stored hashes of full tiles.

use rusqlite::Connection;

use crate::log::{
    Checkpoint, Frontier, Hash, Leaf, TILE_HEIGHT, TILE_LEN, Tile, TileKind, entry,
    inclusion_proof, root_of_inclusion,
};
use crate::roll::RollId;
use crate::store::log::nodes::{LeafTile, TileNodes, changed_tile, stored_hash, subtree_root};
use crate::store::log::runs::{first_of, forget_seeds_after, tile_of};
use crate::store::{Kept, StoreError, history};

/// The highest level of full tiles: ids are below 2^60.
const MAX_TILE_LEVEL: u32 = 6;

/// Stores the hash of a full tile, unless a commit whose outcome was unknown has stored it.
///
/// # Errors
///
/// [`StoreError::Changed`] if another hash is stored; otherwise the error of SQLite.
pub fn save_hash(
    connection: &Connection,
    level: u32,
    n: u64,
    hash: Hash,
) -> Result<(), StoreError> {
    match stored_hash(connection, level, n)? {
        Some(stored) if stored == hash => return Ok(()),
        Some(_) => return Err(changed_tile(level, n)),
        None => {}
    }
    let sql = "insert into tile_hashes (level, n, hash) values (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute((level, n, hash.0))?;
    Ok(())
}

/// Removes the log after the roll `head`: hashes of tiles, and seeds.
///
/// # Errors
///
/// The error of SQLite.
pub fn forget_after(connection: &Connection, head: RollId) -> Result<(), StoreError> {
    for level in 0..=MAX_TILE_LEVEL {
        let n_full = head.0 >> (TILE_HEIGHT * (level + 1));
        let sql = "delete from tile_hashes where level = ?1 and n >= ?2";
        connection.execute(sql, [i64::from(level), n_full])?;
    }
    forget_seeds_after(connection, head)
}

/// How many tiles of leaves are full.
///
/// # Errors
///
/// The database cannot be read.
pub fn n_full_tiles(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "select coalesce(max(n) + 1, 0) from tile_hashes where level = 0";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Reads the tree of the first `size` leaves.
///
/// # Errors
///
/// [`StoreError::Changed`] if a row of the last tile was changed; otherwise the database cannot be
/// read.
pub fn tree(connection: &Connection, size: u64) -> Result<Frontier, StoreError> {
    Frontier::read(&TileNodes::new(connection, size), size)
}

/// The first roll of the oldest tile that is kept. A tile is pruned once all its rolls are pruned.
pub fn first_kept(kept: Kept) -> RollId {
    first_of(tile_of(kept.oldest.max(RollId(1))))
}

/// Whether the tile of a roll is kept.
pub fn is_kept(kept: Kept, id: RollId) -> bool {
    id >= first_kept(kept)
}

/// The bytes of a tile that the checkpoint covers.
///
/// # Errors
///
/// [`StoreError::Changed`] if a row was changed; otherwise the database cannot be read.
pub fn tile(
    connection: &Connection,
    tile: Tile,
    signed: &Checkpoint,
) -> Result<Vec<u8>, StoreError> {
    let nodes = TileNodes::new(connection, signed.size);
    let width = tile.width as usize;
    match tile.kind {
        TileKind::Hashes(level) if level > 0 => {
            nodes.check_tile(level, tile.n, signed)?;
            let hashes = nodes.tile_hashes(level - 1, tile.n * TILE_LEN, tile.width)?;
            Ok(hashes.iter().flat_map(|hash| hash.0).collect())
        }
        TileKind::Hashes(_) | TileKind::Entries => {
            let leaf_tile = nodes.leaf_tile(tile.n)?;
            let LeafTile { leaves, hashes } = &*leaf_tile;
            nodes.check_tile(0, tile.n, signed)?;
            Ok(match tile.kind {
                TileKind::Hashes(_) => hashes[..width].iter().flat_map(|hash| hash.0).collect(),
                TileKind::Entries => {
                    leaves[..width].iter().flat_map(|leaf| entry(&leaf.text())).collect()
                }
            })
        }
    }
}

/// The leaf of a roll that the checkpoint covers.
///
/// # Errors
///
/// [`StoreError::Changed`] if a row was changed; otherwise the database cannot be read.
pub fn signed_leaf(
    connection: &Connection,
    id: RollId,
    signed: &Checkpoint,
) -> Result<Leaf, StoreError> {
    let nodes = TileNodes::new(connection, signed.size);
    let index = (id.0 - 1) as u64;
    let tile = nodes.leaf_tile(index / TILE_LEN)?;
    nodes.check_tile(0, index / TILE_LEN, signed)?;
    Ok(tile.leaves[(index % TILE_LEN) as usize].clone())
}

/// The leaf of a roll and the proof that it is in the tree of the checkpoint, which covers it.
///
/// # Errors
///
/// [`StoreError::Changed`] if a row was changed; otherwise the database cannot be read.
pub fn proof(
    connection: &Connection,
    id: RollId,
    signed: &Checkpoint,
) -> Result<(Leaf, Vec<Hash>), StoreError> {
    let nodes = TileNodes::new(connection, signed.size);
    let index = (id.0 - 1) as u64;
    let hashes = inclusion_proof(&nodes, index, signed.size)?;
    let tile = nodes.leaf_tile(index / TILE_LEN)?;
    let place = (index % TILE_LEN) as usize;
    if root_of_inclusion(tile.hashes[place], index, signed.size, &hashes) != Some(signed.root) {
        return Err(nodes.changed(signed));
    }
    Ok((tile.leaves[place].clone(), hashes))
}

/// Compares all full tiles that are kept with their stored hashes, and these with the hashes of the
/// tiles above them.
///
/// # Errors
///
/// [`StoreError::Changed`] for the first row that differs; [`StoreError::Malformed`] if a hash does;
/// otherwise the database cannot be read.
pub fn check_tiles(connection: &Connection) -> Result<(), StoreError> {
    let n_full = n_full_tiles(connection)?;
    let mut n = 0;
    while n < n_full {
        // One read transaction for each tile, because a server may prune meanwhile.
        let transaction = connection.unchecked_transaction()?;
        let oldest = history::kept(&transaction)?.oldest;
        n = n.max(tile_of(oldest.max(RollId(1))));
        if n < n_full {
            TileNodes::new(&transaction, (n + 1) * TILE_LEN).leaf_tile(n)?;
        }
        n += 1;
    }
    let sql = "select level, n, hash from tile_hashes where level > 0 order by level, n";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (level, n): (u32, u64) = (row.get(0)?, row.get(1)?);
        let below = TileNodes::new(connection, 0).tile_hashes(level - 1, n * TILE_LEN, TILE_LEN)?;
        if subtree_root(&below) != Hash(row.get(2)?) {
            let fault = format!("table tile_hashes: the hash of level {level}, number {n}");
            return Err(StoreError::Malformed(fault));
        }
    }
    Ok(())
}
