//! Reads and verifies the log of a real server, as anybody can.

use rollcast::log::{
    Checkpoint, Hash, HistoryVerifier, Summary, TILE_LEN, Tile, TileKind, VerifierKey, entries,
};
use serde_json::Value;

use super::log_server::get;
use super::{Instance, http, wait_for};

/// The key that a server names.
pub fn key(instance: &Instance) -> VerifierKey {
    let json: Value = serde_json::from_str(&get(&instance.url("/api/proof")).unwrap()).unwrap();
    json["key"].as_str().unwrap().parse().unwrap()
}

/// The checkpoint at a URL; `None` before the first roll is signed, or without a server.
pub fn checkpoint_at(url: &str) -> Option<Checkpoint> {
    let mut response = http().get(url).call().ok()?;
    // The server may be killed while it answers.
    let note = response.body_mut().read_to_string().ok()?;
    (response.status() == 200).then(|| Checkpoint::read(&note).unwrap().1)
}

/// The first checkpoint that covers at least `size` rolls.
pub fn checkpoint_of(instance: &Instance, size: u64) -> Checkpoint {
    wait_for(&format!("a checkpoint of {size} rolls"), || {
        checkpoint_at(&instance.url("/checkpoint")).filter(|checkpoint| checkpoint.size >= size)
    })
}

/// The leaves of the rolls `1..=size`, which are signed and not pruned.
pub fn leaves(instance: &Instance, size: u64) -> Vec<String> {
    let mut leaves = Vec::new();
    for n in 0..size.div_ceil(TILE_LEN) {
        let width = TILE_LEN.min(size - n * TILE_LEN);
        leaves.extend(leaves_of(instance, Tile { kind: TileKind::Entries, n, width }));
    }
    leaves
}

/// The leaves of a tile.
pub fn leaves_of(instance: &Instance, tile: Tile) -> Vec<String> {
    let mut response = http().get(instance.url(&format!("/{tile}"))).call().unwrap();
    let body = response.body_mut().read_to_vec().unwrap();
    assert_eq!(response.status(), 200, "{tile}: {}", String::from_utf8_lossy(&body));
    let leaves = entries(&body, tile.width).expect("a bundle of entries");
    leaves.into_iter().map(str::to_owned).collect()
}

/// The root after each leaf: item `n` is that of the first `n` leaves. Also what the log holds. Every
/// result and every seed is verified.
///
/// # Panics
///
/// A leaf is refused.
pub fn roots(leaves: &[String]) -> (Vec<Hash>, Summary) {
    let mut verifier = HistoryVerifier::default();
    let mut roots = vec![verifier.tree().root()];
    for leaf in leaves {
        verifier.push(leaf).unwrap_or_else(|refusal| panic!("{refusal}: {leaf}"));
        roots.push(verifier.tree().root());
    }
    (roots, verifier.summary().clone())
}
