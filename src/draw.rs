//! Draws dice from a seed: the same seed, id and die always have the same result.
//!
//! This is section 2 of `rollcast/v1` (`docs/proof.md`).

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::dice::{Dice, Die, DieResult, Results};
use crate::roll::RollId;
use crate::seeds::{Seed, hmac_sha256};
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
    Results(dice.iter().map(|die| result(seed, id, die, None)).collect())
}

/// The result of one die of a roll, or of a draw if there is a label.
pub fn result(seed: Seed, id: RollId, die: Die, label: Option<&Label>) -> DieResult {
    let faces = faces(seed, id, die, label);
    DieResult { die, result: faces.map(u32::from).sum() }
}

/// The faces of `NdS`: `N` numbers from 1 to `S`.
pub fn faces(
    seed: Seed,
    id: RollId,
    die: Die,
    label: Option<&Label>,
) -> impl Iterator<Item = u16> + use<> {
    let after = label.map(|label| format!(" {label}")).unwrap_or_default();
    let numbers = (0u32..).flat_map(move |i| {
        let message = format!("rollcast/v1 {id} {die} {i}{after}");
        let block = hmac_sha256(&seed.0, &[message.as_bytes()]);
        let pairs = std::array::from_fn::<_, 16, _>(|i| [block[2 * i], block[2 * i + 1]]);
        pairs.map(u16::from_be_bytes)
    });
    let n_sides = u32::from(die.n_sides());
    // A multiple of the number of sides, so each face is equally likely below it.
    let limit = 0x10000 - 0x10000 % n_sides;
    let fair = numbers.map(u32::from).filter(move |number| *number < limit);
    fair.map(move |number| (number % n_sides) as u16 + 1).take(usize::from(die.n_dice()))
}

/// Draws the dice of one roll after the other.
pub struct Draw {
    dice: Dice,
    rng: StdRng,
}

impl Draw {
    /// Draws `dice` with a generator that the operating system's entropy seeds.
    pub fn from_entropy(dice: Dice) -> Draw {
        Draw { dice, rng: rand::make_rng() }
    }

    /// The results of the roll `id`, in configured order.
    ///
    /// They do not depend on the id yet.
    pub fn draw(&mut self, _id: RollId) -> Results {
        let results = self.dice.iter().map(|die| {
            let sides = 1..=u32::from(die.n_sides());
            let result = (0..die.n_dice()).map(|_| self.rng.random_range(sides.clone())).sum();
            DieResult { die, result }
        });
        Results(results.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use rand::SeedableRng;

    use crate::dice::Die;

    #[test]
    fn a_fair_die_shows_each_result_about_equally_often_and_sums_stay_in_range() {
        const N_ROLLS: u32 = 60_000;
        let dice: Vec<Die> = ["1D6", "3D4"].map(|name| name.parse().expect("a die")).into();
        let dice = Dice::try_from(dice).expect("dice");
        let mut draw = Draw { dice, rng: StdRng::seed_from_u64(7) };
        let mut counts = BTreeMap::<(String, u32), u32>::new();
        for id in 1..=N_ROLLS {
            for DieResult { die, result } in draw.draw(RollId(i64::from(id))).0 {
                *counts.entry((die.to_string(), result)).or_default() += 1;
            }
        }
        let results = |name: &str| -> Vec<u32> {
            counts.keys().filter(|(die, _)| die == name).map(|(_, result)| *result).collect()
        };
        assert_eq!(results("1D6"), (1..=6).collect::<Vec<_>>());
        assert_eq!(results("3D4"), (3..=12).collect::<Vec<_>>());
        // Chi-square with 5 degrees of freedom exceeds 25.7 for one seed in 10,000.
        let expected = f64::from(N_ROLLS) / 6.0;
        let chi_square: f64 = (1..=6)
            .map(|result| (f64::from(counts[&("1D6".into(), result)]) - expected).powi(2))
            .map(|square| square / expected)
            .sum();
        assert!(chi_square < 25.7, "expected a fair die, got chi-square {chi_square}: {counts:?}");
    }
}
