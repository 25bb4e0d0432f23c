//! The proof of a roll on its page.

use serde::Serialize;

use crate::log::{Leaf, VerifierKey};
use crate::roll::RollId;
use crate::seeds::Block;
use crate::store::{Fixed, StoreError};
use crate::web::pages::links;

/// The template `_proof`.
#[derive(Serialize)]
pub struct ProofView {
    /// The proof file.
    file: String,
    /// The key of the log.
    key: String,
    seed: Option<String>,
    /// The anchor that the roll announces.
    next: Option<String>,
    /// The chain that begins with the roll.
    begins: Option<BeginsView>,
    /// Why the roll is not proven.
    reason: Option<String>,
    /// The previous roll; `None` for the first roll of a block, whose seed leads to an anchor.
    before: Option<Neighbour>,
    /// The HMAC messages, one for each die.
    messages: Vec<String>,
}

/// A chain, on the page of its first roll.
#[derive(Serialize)]
struct BeginsView {
    /// The roll that announced it; `None` if nobody did.
    announced_by: Option<Neighbour>,
    /// Whether nobody announced it, and there was a chain before.
    is_break: bool,
}

/// A link to a roll.
#[derive(Serialize)]
struct Neighbour {
    id: i64,
    href: String,
}

impl ProofView {
    /// `begins` is what fixed a roll that begins a chain.
    pub fn new(leaf: &Leaf, begins: Option<Fixed>, key: &VerifierKey) -> ProofView {
        let id = leaf.id();
        let (seed, next) = match leaf {
            Leaf::Proven { seed, next, .. } => (Some(seed.to_string()), *next),
            Leaf::Unproven(_) | Leaf::Missing(_) => (None, None),
        };
        let dice = leaf.roll().into_iter().flat_map(|roll| &roll.dice.0);
        ProofView {
            file: links::proof(id),
            key: key.to_string(),
            reason: why_without_seed(leaf)
                .map(|why| format!("{why}. The log only keeps it unchanged")),
            seed,
            next: next.map(|next| next.to_string()),
            begins: begins.map(|Fixed { since, is_break }| {
                let announced_by = (since != id).then(|| Neighbour::from(since));
                BeginsView { is_break: is_break && announced_by.is_none(), announced_by }
            }),
            before: (id != Block::of(id).first()).then(|| Neighbour::from(id.previous())),
            messages: dice.map(|it| format!("rollcast/v1 {id} {} 0", it.die)).collect(),
        }
    }

    /// The proof of a roll in a part of the log in which a row was `changed`: there is none.
    pub fn changed(id: RollId, changed: &StoreError, key: &VerifierKey) -> ProofView {
        let missing = ProofView::new(&Leaf::Missing(id), None, key);
        ProofView { reason: Some(changed.to_string()), ..missing }
    }
}

impl From<RollId> for Neighbour {
    fn from(id: RollId) -> Neighbour {
        Neighbour { id: id.0, href: links::roll(id) }
    }
}

/// Why a roll has no seed; `None` if it has one.
pub fn why_without_seed(leaf: &Leaf) -> Option<&'static str> {
    match leaf {
        Leaf::Proven { .. } => None,
        Leaf::Unproven(_) => Some(
            "it was rolled before this server kept a log, or another program wrote it into the \
             database",
        ),
        Leaf::Missing(_) => Some("its row is gone or is not a roll"),
    }
}
