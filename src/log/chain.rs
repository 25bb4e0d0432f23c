//! Chains: whether the seeds of a log lead back to each other.
//!
//! This is step 4 of section 6 of `rollcast/v1` (`docs/proof.md`).

use std::fmt;
use std::str::FromStr;

use crate::roll::RollId;
use crate::seeds::{Block, Seed};
use crate::text::ValueError;

/// A chain that nobody announced begins with this roll, so the operator could have chosen the roll.
/// Draws across a break are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break(pub RollId);

/// A seed that does not fit the seeds before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The seed is in the same block as the seed before, but does not lead back to it.
    #[error(
        "the seed of roll {id} does not lead back to that of roll {before}: \
         expected {expected}, got {seen}"
    )]
    Broken {
        /// The roll.
        id: RollId,
        /// The previous roll with a seed.
        before: RollId,
        /// The seed of that roll.
        expected: Seed,
        /// The seed that the roll's own seed gives instead.
        seen: Seed,
    },
    /// A chain begins with this roll, but the roll announces no anchor.
    #[error("roll {0} begins a chain but announces no anchor")]
    Unannounced(RollId),
}

/// Follows the seeds of a log in the order of ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chains {
    newest: Newest,
    unknown: Option<RollId>,
}

/// The newest roll with a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Newest {
    /// No roll had a seed so far.
    #[default]
    None,
    /// The rolls before `first` are pruned, so their seeds are not known. No roll since then had a
    /// seed.
    Pruned { first: RollId },
    /// This one.
    Roll {
        id: RollId,
        seed: Seed,
        /// What its chain announced; `None` if the chain's first roll is pruned.
        announced: Option<Seed>,
    },
}

impl Chains {
    /// Follows the seeds from the roll `first` on. The rolls before it are pruned.
    pub fn after_pruned(first: RollId) -> Chains {
        Chains { newest: Newest::Pruned { first }, unknown: None }
    }

    /// The first roll of a chain that a pruned roll may have announced. There is at most one such
    /// chain.
    pub fn unknown(&self) -> Option<RollId> {
        self.unknown
    }

    /// Follows the next roll with a seed. Returns a break if a chain begins that was not announced.
    /// The first chain of a log is no break.
    ///
    /// # Errors
    ///
    /// [`ChainError`] if the seed cannot be there.
    pub fn follow(
        &mut self,
        id: RollId,
        seed: Seed,
        next: Option<Seed>,
    ) -> Result<Option<Break>, ChainError> {
        let (announced, is_planned) = match (self.newest, next) {
            (Newest::None, None) => return Err(ChainError::Unannounced(id)),
            (Newest::None, Some(_)) => (next, Some(true)),
            // All rolls of the block are there, so its chain begins with this roll.
            (Newest::Pruned { first }, None) if first <= Block::of(id).first() => {
                return Err(ChainError::Unannounced(id));
            }
            (Newest::Pruned { .. }, None) => (None, Some(true)),
            (Newest::Pruned { .. }, Some(_)) => (next, None),
            (Newest::Roll { id: before, seed: expected, announced }, None) => {
                if Block::of(id) != Block::of(before) {
                    return Err(ChainError::Unannounced(id));
                }
                let seen = seed.back((id.0 - before.0) as u64);
                if seen != expected {
                    return Err(ChainError::Broken { id, before, expected, seen });
                }
                (announced, Some(true))
            }
            (Newest::Roll { id: before, announced, .. }, Some(_)) => {
                (next, is_planned(before, announced, id, seed))
            }
        };
        self.newest = Newest::Roll { id, seed, announced };
        if is_planned.is_none() {
            self.unknown = Some(id);
        }
        Ok((is_planned == Some(false)).then_some(Break(id)))
    }
}

/// Whether the roll `id` begins the chain that the chain of the roll `before` announced; `None` if
/// it is not known what that chain announced.
fn is_planned(before: RollId, announced: Option<Seed>, id: RollId, seed: Seed) -> Option<bool> {
    let block = Block::of(id);
    if block != Block::of(before).next() {
        return Some(false);
    }
    let n_to_anchor = (id.0 - block.first().0 + 1) as u64;
    announced.map(|announced| seed.back(n_to_anchor) == announced)
}

impl fmt::Display for Chains {
    /// One line, from which chains can be followed further: `<id> <seed> <announced>`, with a `-`
    /// if the announced anchor is not known; or `none`; or `pruned <id>` with the first roll that
    /// is not pruned.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.newest {
            Newest::None => f.write_str("none"),
            Newest::Pruned { first } => write!(f, "pruned {first}"),
            Newest::Roll { id, seed, announced: Some(announced) } => {
                write!(f, "{id} {seed} {announced}")
            }
            Newest::Roll { id, seed, announced: None } => write!(f, "{id} {seed} -"),
        }
    }
}

impl FromStr for Chains {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Chains, ValueError> {
        let newest = match text.strip_prefix("pruned ") {
            Some(first) => roll_id(first).map(|first| Newest::Pruned { first }),
            None if text == "none" => Some(Newest::None),
            None => newest_roll(text),
        };
        let newest = newest.ok_or_else(|| ValueError::new("the newest roll with a seed", text))?;
        Ok(Chains { newest, unknown: None })
    }
}

fn newest_roll(text: &str) -> Option<Newest> {
    let mut words = text.split(' ');
    let id = roll_id(words.next()?)?;
    let seed = words.next()?.parse().ok()?;
    let announced = match words.next()? {
        "-" => None,
        announced => Some(announced.parse().ok()?),
    };
    words.next().is_none().then_some(Newest::Roll { id, seed, announced })
}

fn roll_id(text: &str) -> Option<RollId> {
    text.parse().ok().filter(|id| *id > RollId::BEFORE_FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::seeds::BLOCK_LEN;

    #[test]
    fn a_block_whose_first_roll_is_kept_begins_with_an_announcement() {
        let (first, seed) = (RollId(BLOCK_LEN + 1), Seed([7; 32]));
        let follow = |kept_from, id, next| {
            let mut chains = Chains::after_pruned(kept_from);
            chains.follow(id, seed, next).map(|_| chains)
        };
        for kept_from in [first, RollId(BLOCK_LEN - 255)] {
            // The second id stands for a block whose first rolls have no seed.
            for id in [first, RollId(BLOCK_LEN + 5)] {
                assert_eq!(follow(kept_from, id, None), Err(ChainError::Unannounced(id)));
                let chains = follow(kept_from, id, Some(seed)).expect("an announcing roll");
                assert_eq!(chains.unknown(), Some(id));
            }
        }
        // The first roll of the block is pruned, so it may have announced the anchor.
        let kept_from = RollId(BLOCK_LEN + 257);
        let chains = follow(kept_from, RollId(BLOCK_LEN + 300), None).expect("a roll");
        assert_eq!(chains.unknown(), None);
        let chains = Chains::after_pruned(kept_from);
        assert_eq!(chains.to_string().parse(), Ok(chains));
        for text in ["pruned", "pruned ", "pruned 0", "pruned x", "pruned 1 "] {
            assert!(text.parse::<Chains>().is_err(), "{text}");
        }
    }
}
