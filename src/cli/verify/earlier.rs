//! Searches a server's log for an earlier seed to which that of a roll leads back. Only then was the
//! roll fixed before it was made.

use anyhow::{Context, bail, ensure};

use crate::cli::remote_log::RemoteLog;
use crate::cli::verify::history::broken;
use crate::cli::verify::one_log::OneLog;
use crate::cli::verify::{open_checkpoint, refused};
use crate::log::{ChainError, Leaf, VerifierKey, verify_roll};
use crate::roll::{Roll, RollId};
use crate::seeds::{Block, Seed};

/// Rolls that another program inserted have no seed. At most this many in a row are skipped.
const MAX_SKIPPED: i64 = 16;

/// To what the seed of a roll leads back.
#[derive(Debug)]
pub enum Earlier {
    /// The seed of an earlier roll.
    Roll(Roll),
    /// The anchor that this roll announced.
    Anchor(RollId),
    /// Nothing, because no earlier roll of the log has a seed.
    First(RollId),
    /// Nothing that the server shows, and why.
    Nothing(String),
}

/// A roll with a seed.
struct Link {
    roll: Roll,
    seed: Seed,
    next: Option<Seed>,
}

/// The leaves that a server keeps.
struct Kept<F> {
    oldest: RollId,
    /// Reads a leaf; `None` if the roll has no seed.
    link_of: F,
}

/// Searches for the oldest roll in the chain of a proven leaf that the server keeps. `note` is the
/// signed checkpoint of the leaf's proof. All earlier rolls must be in the same log.
///
/// # Errors
///
/// The chain cannot begin where it does, the log cannot be read, or a proof of an earlier roll has a
/// checkpoint that contradicts the others.
pub fn find(log: &RemoteLog, key: &VerifierKey, note: &str, leaf: Leaf) -> anyhow::Result<Earlier> {
    let Some(start) = link(leaf) else { return Ok(Earlier::Nothing("it has no seed".into())) };
    let cannot_compare = "cannot compare with an earlier roll";
    let oldest = log.info().context(cannot_compare)?.oldest;
    let one_log = OneLog::new(log);
    one_log.add(open_checkpoint(note, key)?, note)?;
    let link_of = |id| {
        let proof = log.proof(id).context(cannot_compare)?;
        let leaf = verify_roll(&proof, key, None).map_err(refused)?;
        let seen = leaf.id();
        ensure!(seen == id, "refused: the proof is of roll {seen}, expected roll {id}");
        let note = &proof.checkpoint;
        one_log.add(open_checkpoint(note, key)?, note)?;
        Ok(link(leaf))
    };
    Kept { oldest, link_of }.earlier(start)
}

fn link(leaf: Leaf) -> Option<Link> {
    match leaf {
        Leaf::Proven { roll, seed, next } => Some(Link { roll, seed, next }),
        Leaf::Unproven(_) | Leaf::Missing(_) => None,
    }
}

impl Link {
    fn id(&self) -> RollId {
        self.roll.id
    }

    fn leads_back_to(&self, earlier: &Link) -> bool {
        self.seed.back((self.id().0 - earlier.id().0) as u64) == earlier.seed
    }
}

impl<F: Fn(RollId) -> anyhow::Result<Option<Link>>> Kept<F> {
    fn earlier(&self, link: Link) -> anyhow::Result<Earlier> {
        let (id, seed) = (link.id(), link.seed);
        let start = self.start(link)?;
        if start.id() < id {
            return Ok(Earlier::Roll(start.roll));
        }
        if start.next.is_none() {
            let why = "the server keeps no earlier roll of its chain";
            return Ok(Earlier::Nothing(why.into()));
        }
        // The roll begins a chain, which that of the block before may have announced.
        let pruned = "the roll that may have announced its chain is pruned";
        let Some(before) = self.before(id, self.oldest)? else {
            let is_whole = self.oldest == RollId::BEFORE_FIRST.next();
            return Ok(if is_whole { Earlier::First(id) } else { Earlier::Nothing(pruned.into()) });
        };
        let block = Block::of(id);
        if Block::of(before.id()).next() != block {
            return Ok(Earlier::Nothing(broken(id)));
        }
        let announcer = self.start(before)?;
        let anchor = seed.back((id.0 - block.first().0 + 1) as u64);
        Ok(match announcer.next {
            Some(announced) if announced == anchor => Earlier::Anchor(announcer.id()),
            Some(_) => Earlier::Nothing(broken(id)),
            None => Earlier::Nothing(pruned.into()),
        })
    }

    /// The oldest link of a chain that is kept in its block. It must be one with which a chain can
    /// begin: a freely chosen seed without an announcement is a false one.
    fn start(&self, link: Link) -> anyhow::Result<Link> {
        let first = Block::of(link.id()).first();
        let oldest = first.max(self.oldest);
        let (mut low, mut start) = (oldest, link);
        // Most chains begin with their block. Others are found in about 20 steps, each of them half
        // as far as the one before.
        let mut middle = low;
        while low < start.id() && start.next.is_none() {
            match self.with_seed(middle, low)? {
                Some(found) if start.leads_back_to(&found) => start = found,
                _ => low = middle.next(),
            }
            middle = RollId(low.0.midpoint(start.id().0));
        }
        if start.next.is_some() {
            return Ok(start);
        }
        let id = start.id();
        let error = match self.before(id, oldest)? {
            Some(Link { roll, seed: expected, .. }) => {
                let seen = start.seed.back((id.0 - roll.id.0) as u64);
                ChainError::Broken { id, before: roll.id, expected, seen }
            }
            None if oldest == first => ChainError::Unannounced(id),
            None => return Ok(start),
        };
        Err(refused(error.into()))
    }

    /// The newest link before a roll, from the roll `low` on.
    fn before(&self, id: RollId, low: RollId) -> anyhow::Result<Option<Link>> {
        let before = self.with_seed(id.previous(), low)?;
        let n_skipped = MAX_SKIPPED + 1;
        if before.is_none() && id.0 - low.0 > n_skipped {
            bail!("not proven: the {n_skipped} rolls before roll {id} have no seed");
        }
        Ok(before)
    }

    /// The newest link up to a roll, from the roll `low` on.
    fn with_seed(&self, id: RollId, low: RollId) -> anyhow::Result<Option<Link>> {
        for at in (low.0.max(id.0 - MAX_SKIPPED)..=id.0).rev() {
            if let Some(link) = (self.link_of)(RollId(at))? {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::seeds::BLOCK_LEN;

    /// The line of a roll.
    fn proven(id: i64, seed: Seed, next: Option<Seed>) -> String {
        let die = "1D6".parse().expect("a die");
        let face = crate::draw::result(&seed.key(), RollId(id), die, None).result;
        let next = next.map(|next| format!(" {next}")).unwrap_or_default();
        format!("rollcast/v1 {id} 2026-11-24T00:00:00.000Z {{\"1D6\":{face}}} {seed}{next}")
    }

    /// Where the log ends.
    const END: i64 = BLOCK_LEN + 3;

    /// A log of two blocks.
    struct Log {
        /// Where the chain of the first block begins.
        first: i64,
        /// Where that of the second one begins.
        second: i64,
        /// The anchor of the second block that the first chain announces.
        announced: Seed,
        /// Whether the first chain announces anything.
        announces: bool,
    }

    fn honest() -> Log {
        let announced = Seed([2; 32]).back((END - BLOCK_LEN) as u64);
        Log { first: 1, second: BLOCK_LEN + 1, announced, announces: true }
    }

    impl Log {
        fn line(&self, id: i64) -> String {
            if id < self.first || (id > BLOCK_LEN && id < self.second) {
                return format!("rollcast/v1 {id} - - -");
            }
            if id <= BLOCK_LEN {
                let next = (id == self.first && self.announces).then_some(self.announced);
                return proven(id, Seed([1; 32]).back((BLOCK_LEN - id) as u64), next);
            }
            let next = (id == self.second).then_some(Seed([3; 32]));
            proven(id, Seed([2; 32]).back((END - id) as u64), next)
        }

        fn earlier(&self, id: i64, oldest: i64) -> String {
            let link_of = |id: RollId| {
                let leaf: Leaf = self.line(id.0).parse().expect("a leaf");
                Ok(link(leaf))
            };
            let kept = Kept { oldest: RollId(oldest), link_of };
            let link = (kept.link_of)(RollId(id)).expect("a leaf").expect("a seed");
            match kept.earlier(link) {
                Ok(Earlier::Roll(roll)) => format!("roll {}", roll.id),
                Ok(Earlier::Anchor(id)) => format!("anchor of roll {id}"),
                Ok(Earlier::First(id)) => format!("roll {id} is the first one"),
                Ok(Earlier::Nothing(why)) => why,
                Err(error) => format!("{error:#}"),
            }
        }
    }

    #[test]
    fn the_first_roll_of_a_block_leads_back_to_the_anchor_that_the_chain_before_announced() {
        let first = BLOCK_LEN + 1;
        assert_eq!(honest().earlier(first, 1), "anchor of roll 1");
        assert_eq!(honest().earlier(END, 1), format!("roll {first}"));
        let upgraded = Log { first: 1_000, ..honest() };
        assert_eq!(upgraded.earlier(first, 1), "anchor of roll 1000");
        assert_eq!(upgraded.earlier(BLOCK_LEN, 1), "roll 1000");
        assert_eq!(honest().earlier(1, 1), "roll 1 is the first one");
        // The first roll of the block has no seed.
        let late = Log { second: first + 1, ..honest() };
        assert_eq!(late.earlier(first + 1, 1), "anchor of roll 1");
    }

    #[test]
    fn a_chain_that_nobody_announced_or_whose_announcement_is_pruned_proves_nothing() {
        let first = BLOCK_LEN + 1;
        let broken = broken(RollId(first));
        let other = Log { announced: Seed([7; 32]), ..honest() };
        assert_eq!(other.earlier(first, 1), broken);
        let pruned = "the roll that may have announced its chain is pruned";
        assert_eq!(honest().earlier(first, 257), pruned);
        assert_eq!(honest().earlier(first, first), pruned);
        assert_eq!(honest().earlier(first + 1, first), format!("roll {first}"));
        let falsified = Log { announces: false, ..honest() };
        let expected = "refused: roll 1 begins a chain but announces no anchor";
        assert_eq!(falsified.earlier(first, 1), expected);
    }
}
