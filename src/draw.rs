//! Draws the dice of a roll whose id is known.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::dice::{Dice, DieResult, Results};
use crate::roll::RollId;

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
    /// Results from entropy do not depend on the id. Callers pass it because results from a
    /// committed seed will.
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
