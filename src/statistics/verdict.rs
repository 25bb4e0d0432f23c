//! The answer to "is this die fair?" in words, and what it rests on.

use serde::Serialize;
use utoipa::ToSchema;

use crate::statistics::DieTally;
use crate::statistics::tally::PRIOR;
use crate::statistics::words::{decimal, grouped, power_of_ten};

/// A normal distribution is above its mean minus this many deviations in four of five cases.
const MARGIN: f64 = 0.84;

/// The answer to "is this die fair?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum Verdict {
    /// The die was never rolled.
    #[serde(rename = "no rolls yet")]
    NoRolls,
    /// Even a result that came up twice as often as it should would not have caused an alarm yet.
    #[serde(rename = "too early to tell")]
    TooEarly,
    /// There is no alarm.
    #[serde(rename = "fair so far")]
    FairSoFar,
    /// The evidence reached the alarm earlier, and is below it now.
    #[serde(rename = "earlier alarm")]
    EarlierAlarm,
    /// The evidence is at the alarm or above.
    #[serde(rename = "alarm")]
    Alarm,
}

impl Verdict {
    pub fn of(tally: &DieTally) -> Verdict {
        match detectable_excess(tally) {
            _ if tally.alarm_id.is_some() && tally.log_e >= tally.alarm.ln() => Verdict::Alarm,
            _ if tally.alarm_id.is_some() => Verdict::EarlierAlarm,
            None => Verdict::NoRolls,
            Some(excess) if excess >= 1.0 => Verdict::TooEarly,
            Some(_) => Verdict::FairSoFar,
        }
    }

    /// The words of the verdict, in lower case.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::NoRolls => "no rolls yet",
            Verdict::TooEarly => "too early to tell",
            Verdict::FairSoFar => "fair so far",
            Verdict::EarlierAlarm => "earlier alarm",
            Verdict::Alarm => "alarm",
        }
    }
}

/// The reason for the verdict, as one sentence. Empty before the first roll.
pub fn reason(tally: &DieTally) -> String {
    let excess = detectable_excess(tally);
    match (Verdict::of(tally), excess, tally.alarm_id) {
        (Verdict::Alarm | Verdict::EarlierAlarm, _, Some(id)) => format!(
            "The evidence against it reached the alarm at roll {} and is {} now.",
            grouped(id.0 as u64),
            power_of_ten(tally.log10_e())
        ),
        (Verdict::TooEarly, ..) => format!(
            "Even if {} came up twice as often as it should, the evidence would not show it yet.",
            likeliest(tally)
        ),
        (Verdict::FairSoFar, Some(excess), _) => format!(
            "If {} came up {} % too often, the evidence would probably show it by now.",
            likeliest(tally),
            decimal(100.0 * excess, if excess < 0.1 { 1 } else { 0 })
        ),
        _ => String::new(),
    }
}

/// The excess of the likeliest result with which the evidence reaches the alarm by now in about
/// four of five histories, as a fraction of the result's probability. `None` before the first roll.
///
/// With n rolls, k results and a prior that weighs as much as m rolls, the logarithm of the e-value
/// is about s/2 χ² - (k - 1)/2 ln(1 + n/m), where s = n/(n + m). If a result has the probability
/// p(1 + d) rather than p, χ² is larger by about x², where x is normally distributed with the mean
/// d √(n p/(1 - p)) and the deviation 1. This is solved for the d at which the logarithm is that of
/// the alarm if x is below its mean by `MARGIN`. Simulations are in the tests.
pub fn detectable_excess(tally: &DieTally) -> Option<f64> {
    if tally.n_rolls == 0 {
        return None;
    }
    let n_results = tally.fair.chances().len() as f64;
    let n_rolls = tally.n_rolls as f64;
    let prior = PRIOR * n_results;
    let share = n_rolls / (n_rolls + prior);
    let learning = (n_results - 1.0) / 2.0 * ((n_rolls / prior).ln_1p() - share);
    let chance = tally.fair.chances().iter().copied().fold(0.0, f64::max);
    let needed = 2.0 * (tally.alarm.ln() + learning) / share;
    Some((needed.sqrt() + MARGIN) * ((1.0 - chance) / chance / n_rolls).sqrt())
}

/// The likeliest result, with an article.
fn likeliest(tally: &DieTally) -> String {
    if tally.die.n_dice() == 1 {
        return "a number".into();
    }
    let middle = (tally.fair.chances().len() - 1) / 2;
    format!("a sum of {}", grouped(tally.fair.result(middle).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use crate::roll::RollId;

    const N_HISTORIES: u64 = 100;

    fn die(name: &str) -> DieTally {
        DieTally::new(name.parse().expect("a die"))
    }

    /// A die whose highest number comes `excess` too often.
    fn loaded(name: &str, excess: f64, n_rolls: u64, seed: u64) -> DieTally {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut tally = die(name);
        let n_sides = u32::from(tally.die.n_sides());
        let highest = (1.0 + excess) / f64::from(n_sides);
        for id in 1..=n_rolls as i64 {
            let is_highest = rng.random::<f64>() < highest;
            let result = if is_highest { n_sides } else { rng.random_range(1..n_sides) };
            tally.add(RollId(id), result);
        }
        tally
    }

    #[test]
    fn a_bias_that_would_probably_show_by_now_is_found_in_most_histories() {
        for (name, n_rolls) in [("1D2", 2_000), ("1D6", 500), ("1D6", 3_000), ("1D20", 3_000)] {
            let excess = detectable_excess(&loaded(name, 0.0, n_rolls, 0)).expect("rolls");
            let found = |excess| {
                let histories = (1..=N_HISTORIES).map(|seed| loaded(name, excess, n_rolls, seed));
                histories.filter(|tally| tally.alarm_id.is_some()).count() as u64
            };
            let (n_found, n_smaller) = (found(excess), found(excess / 2.0));
            println!("{n_rolls} of {name}: {excess:.3} found {n_found}, half of it {n_smaller}");
            assert!(n_found > N_HISTORIES * 3 / 5, "{name}, {excess}: {n_found} of {N_HISTORIES}");
            // Control: a smaller bias stays hidden.
            assert!(n_smaller < N_HISTORIES / 3, "{name}, {excess} / 2: {n_smaller}");
        }
    }

    #[test]
    fn the_verdict_follows_the_rolls_and_keeps_an_earlier_alarm() {
        let mut tally = die("1D6");
        let mut rolled = 0;
        let mut roll = |tally: &mut DieTally, n_rolls: i64, result: &dyn Fn(i64) -> u32| {
            for _ in 0..n_rolls {
                rolled += 1;
                tally.add(RollId(rolled), result(rolled));
            }
            (Verdict::of(tally), reason(tally))
        };
        assert_eq!(roll(&mut tally, 0, &|_| 1), (Verdict::NoRolls, String::new()));
        let fair = |id: i64| 1 + (id % 6) as u32;
        let (verdict, reason) = roll(&mut tally, 60, &fair);
        assert_eq!(verdict, Verdict::TooEarly);
        assert!(reason.starts_with("Even if a number came up twice"), "{reason}");
        let (verdict, reason) = roll(&mut tally, 3_000, &fair);
        assert_eq!(verdict, Verdict::FairSoFar);
        assert!(reason.starts_with("If a number came up 1"), "{reason}");
        let (verdict, reason) = roll(&mut tally, 200, &|_| 6);
        assert_eq!(verdict, Verdict::Alarm);
        assert!(
            reason.starts_with("The evidence against it reached the alarm at roll 3,"),
            "{reason}"
        );
        let mut even = tally.clone();
        even.log_e = 1.0;
        assert_eq!(Verdict::of(&even), Verdict::EarlierAlarm);
        even.set_alarm(1e60);
        assert_eq!(Verdict::of(&even), Verdict::FairSoFar, "more dice need more evidence");
    }

    #[test]
    fn every_verdict_has_the_same_words_in_json() {
        for verdict in [
            Verdict::NoRolls,
            Verdict::TooEarly,
            Verdict::FairSoFar,
            Verdict::EarlierAlarm,
            Verdict::Alarm,
        ] {
            let json = serde_json::to_value(verdict).expect("JSON");
            assert_eq!(json, verdict.text());
        }
    }
}
