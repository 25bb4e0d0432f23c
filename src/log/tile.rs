//! Tiles: pieces of the tree that never change once they are full. <https://c2sp.org/tlog-tiles>

use std::fmt;
use std::str::FromStr;

use crate::roll::RollId;
use crate::text::{ValueError, canonical_number};

/// How many hashes a full tile has. A full bundle of entries has as many leaves.
pub const TILE_LEN: u64 = 256;
/// The levels of the tree that one level of tiles covers.
pub const TILE_HEIGHT: u32 = 8;
/// The highest level of tiles that the specification knows.
const MAX_LEVEL: u32 = 63;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileKind {
    /// Hashes of the tree's level `8 * L`.
    Hashes(u32),
    /// The leaves below a tile of level 0.
    Entries,
}

/// The name of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// What it holds.
    pub kind: TileKind,
    /// Its place among the tiles of its level.
    pub n: u64,
    /// How many hashes or leaves it holds, 1 to 256.
    pub width: u64,
}

impl Tile {
    /// How many leaves a tree must have for this tile to exist.
    pub fn min_size(self) -> Option<u64> {
        let level = match self.kind {
            TileKind::Hashes(level) => level * TILE_HEIGHT,
            TileKind::Entries => 0,
        };
        let n_nodes = self.n.checked_mul(TILE_LEN)?.checked_add(self.width)?;
        n_nodes.checked_mul(1u64.checked_shl(level)?)
    }
}

impl Tile {
    /// The first roll whose leaf is in the tile; `None` for a tile above level 0.
    pub fn first_roll(self) -> Option<RollId> {
        let of_leaves = matches!(self.kind, TileKind::Entries | TileKind::Hashes(0));
        let n_before = self.n.checked_mul(TILE_LEN).and_then(|n| i64::try_from(n).ok());
        n_before.filter(|_| of_leaves).map(|n_before| RollId(n_before).next())
    }
}

impl fmt::Display for Tile {
    /// The path, such as `tile/0/x001/x234/067.p/8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => write!(f, "tile/entries/")?,
        }
        let mut groups = vec![format!("{:03}", self.n % 1000)];
        let mut rest = self.n / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        groups.reverse();
        f.write_str(&groups.join("/"))?;
        if self.width < TILE_LEN {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for Tile {
    type Err = ValueError;

    /// Accepts exactly the paths that [`fmt::Display`] writes.
    fn from_str(path: &str) -> Result<Tile, ValueError> {
        let tile = parse(path).filter(|tile| tile.to_string() == path);
        tile.ok_or_else(|| ValueError::new("a tile such as `tile/0/x001/067`", path))
    }
}

/// Reads a path that need not be canonical.
fn parse(path: &str) -> Option<Tile> {
    let (kind, path) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(canonical_number(level)?.try_into().ok()?),
    };
    if matches!(kind, TileKind::Hashes(level) if level > MAX_LEVEL) {
        return None;
    }
    let (path, width) = match path.split_once(".p/") {
        Some((path, width)) => (path, canonical_number(width)?.try_into().ok()?),
        None => (path, TILE_LEN),
    };
    let mut n = 0u64;
    for group in path.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        n = n.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    (1..=TILE_LEN).contains(&width).then_some(Tile { kind, n, width })
}

/// The leaves of a bundle of entries; `None` if it does not hold exactly `n` of them.
pub fn entries(bundle: &[u8], n: u64) -> Option<Vec<&str>> {
    let mut leaves = Vec::with_capacity(n as usize);
    let mut rest = bundle;
    for _ in 0..n {
        let (len, after) = rest.split_first_chunk()?;
        let (leaf, after) = after.split_at_checked(u16::from_be_bytes(*len).into())?;
        leaves.push(str::from_utf8(leaf).ok()?);
        rest = after;
    }
    rest.is_empty().then_some(leaves)
}

/// A leaf in a bundle of entries: its length as 16 bits, big-endian, and its text.
pub fn entry(leaf: &str) -> Vec<u8> {
    let len = u16::try_from(leaf.len()).expect("a leaf is shorter than 64 KiB");
    [&len.to_be_bytes(), leaf.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_of_entries_holds_exactly_as_many_leaves_as_expected() {
        let bundle = [entry("first"), entry(""), entry("dritter Würfel")].concat();
        assert_eq!(entries(&bundle, 3), Some(vec!["first", "", "dritter Würfel"]));
        assert_eq!(entries(&[], 0), Some(vec![]));
        for n in [0, 2, 4] {
            assert_eq!(entries(&bundle, n), None, "{n}");
        }
        for cut in 0..bundle.len() {
            assert_eq!(entries(&bundle[..cut], 3), None, "{cut}");
        }
        assert_eq!(entries(&[&bundle[..], b"x"].concat(), 3), None);
        assert_eq!(entries(&[0, 1, 0xff], 1), None, "no UTF-8");
    }
}
