//! The roller: makes a new roll at every tick. The only reader of the clock and the dice.

use std::time::Duration;

use futures::stream::{Stream, unfold};
use jiff::Timestamp;
use rand::{Rng, RngExt};
use tokio::time::{MissedTickBehavior, interval};

use crate::dice::{Dice, Die, DieResult, Results};
use crate::roll::{NewRoll, RolledAt};

/// New rolls of `dice`, the first at once and then one every `every` (not zero).
///
/// The ticks are paced by the monotonic clock; a tick that was missed, because the machine slept
/// or the reader was busy, is left out: after a pause comes one roll, never a volley.
pub fn rolls(every: Duration, dice: Dice, rng: impl Rng) -> impl Stream<Item = NewRoll> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    unfold((ticks, dice, rng), |(mut ticks, dice, mut rng)| async move {
        ticks.tick().await;
        let faces = dice.iter().map(|die| throw(die, &mut rng)).collect();
        let new = NewRoll {
            // The system's clock may step back: it is the id that orders rolls.
            rolled_at: RolledAt::truncate(Timestamp::now()),
            dice: Results(faces),
        };
        Some((new, (ticks, dice, rng)))
    })
}

fn throw(die: Die, rng: &mut impl Rng) -> DieResult {
    let n_sides = u32::from(die.n_sides());
    let result = (0..die.n_dice()).map(|_| rng.random_range(1..=n_sides)).sum();
    DieResult { die, result }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;
    use std::pin::pin;

    use futures::StreamExt;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use tokio::time::{Instant, advance};

    fn dice(names: &[&str]) -> Dice {
        let dice: Vec<Die> = names.iter().map(|name| name.parse().expect("a die")).collect();
        Dice::try_from(dice).expect("dice")
    }

    #[tokio::test(start_paused = true)]
    async fn rolls_come_at_once_and_then_on_the_clock() {
        let start = Instant::now();
        let rolls = rolls(Duration::from_secs(1), dice(&["1D6"]), StdRng::seed_from_u64(1));
        let mut rolls = pin!(rolls);
        for seconds in 0..100 {
            rolls.next().await.expect("a roll");
            assert_eq!(start.elapsed(), Duration::from_secs(seconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_comes_one_roll_and_no_volley() {
        let rolls = rolls(Duration::from_secs(1), dice(&["1D6"]), StdRng::seed_from_u64(1));
        let mut rolls = pin!(rolls);
        rolls.next().await.expect("the first roll");
        advance(Duration::from_millis(600_300)).await;
        let woken = Instant::now();
        rolls.next().await.expect("the roll after the pause");
        assert_eq!(woken.elapsed(), Duration::ZERO);
        for seconds in 1..10 {
            rolls.next().await.expect("a roll");
            assert_eq!(woken.elapsed(), Duration::from_secs(seconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_face_comes_up_about_equally_often_and_sums_stay_in_bounds() {
        const N_ROLLS: u32 = 60_000;
        let dice = dice(&["1D6", "3D4"]);
        let rolls = rolls(Duration::from_secs(1), dice, StdRng::seed_from_u64(7));
        let mut counts = BTreeMap::<(String, u32), u32>::new();
        let mut rolls = pin!(rolls.take(N_ROLLS as usize));
        while let Some(roll) = rolls.next().await {
            for DieResult { die, result } in roll.dice.0 {
                *counts.entry((die.to_string(), result)).or_default() += 1;
            }
        }
        let results = |name: &str| -> Vec<u32> {
            counts.keys().filter(|(die, _)| die == name).map(|(_, result)| *result).collect()
        };
        assert_eq!(results("1D6"), (1..=6).collect::<Vec<_>>());
        assert_eq!(results("3D4"), (3..=12).collect::<Vec<_>>());
        // Chi-square with 5 degrees of freedom passes 25.7 once in 10,000 seeds.
        let expected = f64::from(N_ROLLS) / 6.0;
        let chi_square: f64 = (1..=6)
            .map(|face| (f64::from(counts[&("1D6".into(), face)]) - expected).powi(2) / expected)
            .sum();
        assert!(
            chi_square < 25.7,
            "expected a fair die, got chi-square {chi_square} in {counts:?}"
        );
    }
}
