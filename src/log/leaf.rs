//! Leaves: the text of a roll in the tree.

use std::fmt::{self, Write};
use std::str::FromStr;

use crate::dice::{Dice, Die, Results};
use crate::roll::{Roll, RollId};
use crate::seeds::Seed;
use crate::text::ValueError;

/// A leaf. It never changes once it is in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A roll with its seed.
    Proven {
        /// The roll.
        roll: Roll,
        /// Its seed, which determines its dice.
        seed: Seed,
        /// The anchor of the next block, which the first roll of a chain announces.
        next: Option<Seed>,
    },
    /// A roll without a seed: older than the log, or written by another program.
    Unproven(Roll),
    /// The same, but its row is gone or is not a roll.
    Missing(RollId),
}

impl Leaf {
    /// The id of the roll: one more than the leaf's place in the tree.
    pub fn id(&self) -> RollId {
        match self {
            Leaf::Proven { roll, .. } | Leaf::Unproven(roll) => roll.id,
            Leaf::Missing(id) => *id,
        }
    }

    /// The text, which is the `Display` form: up to a few hundred bytes.
    pub fn text(&self) -> String {
        // A roll of two dice with a seed has 130 bytes.
        let mut text = String::with_capacity(256);
        write!(text, "{self}").expect("a String takes any text");
        text
    }

    /// The roll, if it is known.
    pub fn roll(&self) -> Option<&Roll> {
        match self {
            Leaf::Proven { roll, .. } | Leaf::Unproven(roll) => Some(roll),
            Leaf::Missing(_) => None,
        }
    }

    /// The seed, if the roll has one.
    pub fn seed(&self) -> Option<Seed> {
        match self {
            Leaf::Proven { seed, .. } => Some(*seed),
            Leaf::Unproven(_) | Leaf::Missing(_) => None,
        }
    }
}

impl fmt::Display for Leaf {
    /// One line without a newline, of one of the four forms of `rollcast/v1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Proven { roll: Roll { id, rolled_at, dice }, seed, next } => {
                write!(f, "rollcast/v1 {id} {rolled_at} {dice} {seed}")?;
                next.map_or(Ok(()), |next| write!(f, " {next}"))
            }
            Leaf::Unproven(Roll { id, rolled_at, dice }) => {
                write!(f, "rollcast/v1 {id} {rolled_at} {dice} -")
            }
            Leaf::Missing(id) => write!(f, "rollcast/v1 {id} - - -"),
        }
    }
}

impl FromStr for Leaf {
    type Err = ValueError;

    /// Accepts exactly the texts that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Leaf, ValueError> {
        parse(text).ok_or_else(|| ValueError::new("a line of a roll, `rollcast/v1 41 …`", text))
    }
}

fn parse(text: &str) -> Option<Leaf> {
    let mut words = text.split(' ');
    let mut word = || words.next();
    if word()? != "rollcast/v1" {
        return None;
    }
    let id: RollId = word()?.parse().ok().filter(|id| *id > RollId::BEFORE_FIRST)?;
    let (rolled_at, dice, seed, next) = (word()?, word()?, word()?, word());
    if word().is_some() {
        return None;
    }
    if (rolled_at, dice, seed, next) == ("-", "-", "-", None) {
        return Some(Leaf::Missing(id));
    }
    let roll = Roll { id, rolled_at: canonical(rolled_at)?, dice: canonical(dice)? };
    if !is_roll(&roll.dice) {
        return None;
    }
    // Ids, seeds and anchors have only one text, so they need no such check.
    match (seed, next) {
        ("-", None) => Some(Leaf::Unproven(roll)),
        (seed, next) => {
            let next = next.map(str::parse).transpose().ok()?;
            Some(Leaf::Proven { roll, seed: seed.parse().ok()?, next })
        }
    }
}

/// Reads a value. Accepts only the text that the value prints.
fn canonical<T: FromStr + fmt::Display>(text: &str) -> Option<T> {
    text.parse().ok().filter(|value: &T| value.to_string() == text)
}

/// Whether these are possible results of 1 to 16 different dice.
pub fn is_roll(Results(results): &Results) -> bool {
    let dice: Vec<Die> = results.iter().map(|result| result.die).collect();
    Dice::try_from(dice).is_ok() && results.iter().all(|result| result.is_possible())
}
