//! Draws dice from a seed: the same seed, id and die always have the same result.
//!
//! This is section 2 of `rollcast/v1` (`docs/proof.md`).

use std::fmt::{self, Write};
use std::str::FromStr;

use crate::dice::{Dice, Die, DieResult, Results};
use crate::roll::RollId;
use crate::seeds::{DrawKey, Seed};
use crate::text::ValueError;

/// The label of a draw: 1 to 100 bytes without control characters. Labels are compared byte for
/// byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl FromStr for Label {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Label, ValueError> {
        let control = |c: char| c < ' ' || c == '\u{7f}';
        if !(1..=100).contains(&text.len()) || text.contains(control) {
            let expected = "a label of 1 to 100 bytes without control characters";
            return Err(ValueError::new(expected, text));
        }
        Ok(Label(text.into()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The results of a roll, one for each die, in configured order.
pub fn results(seed: Seed, id: RollId, dice: &Dice) -> Results {
    let key = seed.key();
    Results(dice.iter().map(|die| result(&key, id, die, None)).collect())
}

/// The result of one die of a roll, or of a draw if there is a label.
pub fn result(key: &DrawKey, id: RollId, die: Die, label: Option<&Label>) -> DieResult {
    let faces = faces(key, id, die, label);
    DieResult { die, result: faces.map(u32::from).sum() }
}

/// The faces of `NdS`: `N` numbers from 1 to `S`.
pub fn faces(
    key: &DrawKey,
    id: RollId,
    die: Die,
    label: Option<&Label>,
) -> impl Iterator<Item = u16> {
    let after = label.map(|label| format!(" {label}")).unwrap_or_default();
    // Verifiers call this for each die of each roll, so the messages of a die share one allocation.
    let mut message = String::with_capacity(64);
    write!(message, "rollcast/v1 {id} {die} ").expect("a String takes any text");
    let n_common = message.len();
    let numbers = (0u32..).flat_map(move |i| {
        message.truncate(n_common);
        write!(message, "{i}{after}").expect("a String takes any text");
        let block = key.hmac(message.as_bytes());
        let pairs = std::array::from_fn::<_, 16, _>(|i| [block[2 * i], block[2 * i + 1]]);
        pairs.map(u16::from_be_bytes)
    });
    let n_sides = u32::from(die.n_sides());
    // A multiple of the number of sides, so each face is equally likely below it.
    let limit = 0x10000 - 0x10000 % n_sides;
    let fair = numbers.map(u32::from).filter(move |number| *number < limit);
    fair.map(move |number| (number % n_sides) as u16 + 1).take(usize::from(die.n_dice()))
}
