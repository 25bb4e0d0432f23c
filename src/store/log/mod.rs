//! The log of verifiable rolls in the database: seeds, tile hashes, and the leaves and proofs that
//! are computed from them and from the rolls.

mod files;
mod runs;
mod leaves;
mod chains;
mod nodes;
mod tiles;
mod writer;
mod signer;
mod start;
mod inspect;
mod rekey;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod crash_tests;

use std::path::{Path, PathBuf};

use crate::config::StoreConfig;

pub use self::chains::{Chain, Fixed, chain};
pub use self::files::{checkpoint_path, load_secret};
pub use self::inspect::{Compared, inspect};
pub use self::leaves::leaf;
pub use self::rekey::{Rekeyed, rekey};
pub use self::signer::{Signed, Signer};
pub use self::start::OpenLog;
pub use self::tiles::{first_kept, is_kept, proof, signed_leaf, tile};
pub use self::writer::{EndOfLog, LogWriter};

/// The file of the secret: the configured one, or the one beside the database.
pub fn secret_path(config: &StoreConfig, database: &Path) -> PathBuf {
    config.secret.clone().unwrap_or_else(|| database.with_extension("secret"))
}
