//! Reads and verifies the leaves that a larger checkpoint adds to the known ones.

use crate::cli::monitor::state::Known;
use crate::cli::monitor::tail::Tail;
use crate::cli::remote_log::{LogError, RemoteLog};
use crate::log::{Checkpoint, Contradiction, Growth, HistoryVerifier, TILE_LEN};

/// Why new leaves are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Contradicted(#[from] Contradiction),
}

/// Returns the verifier of the new leaves, and the end of the log.
///
/// # Errors
///
/// [`GrowError`].
pub fn read(
    log: &RemoteLog,
    known: &Known,
    seen: Checkpoint,
) -> Result<(HistoryVerifier, Tail), GrowError> {
    // The first tile may begin with known leaves.
    let first_tile = known.checkpoint.size / TILE_LEN;
    let tree = log.tree(first_tile, &seen)?;
    let mut tail = Tail::after(tree.clone());
    let mut growth = Growth::new(known.checkpoint, known.chains, tree);
    for n in first_tile..seen.size.div_ceil(TILE_LEN) {
        let width = (seen.size - n * TILE_LEN).min(TILE_LEN);
        log.leaves(n, width, |leaf| {
            tail.push(leaf);
            growth.push(leaf);
            Ok::<(), GrowError>(())
        })?;
    }
    Ok((growth.finish(seen)?, tail))
}
