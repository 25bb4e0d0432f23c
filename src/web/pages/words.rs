//! Dice and times as pages name them.

use std::time::Duration;

use crate::dice::Die;
use crate::statistics::words::{capitalized, grouped};

const NUMBERS: [&str; 13] = [
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
];

/// Units of time with their milliseconds, the largest first.
const UNITS: [(&str, u128); 5] = [
    ("day", 86_400_000),
    ("hour", 3_600_000),
    ("minute", 60_000),
    ("second", 1_000),
    ("millisecond", 1),
];

/// The name of a die: `d20`. Several dice are a sum: `2d6, sum`.
pub fn die(die: Die) -> String {
    let sum = if die.n_dice() == 1 { "" } else { ", sum" };
    format!("{}{sum}", die_in_text(die))
}

/// The name of a die within a sentence: `d20`, `2d6`.
pub fn die_in_text(die: Die) -> String {
    match die.n_dice() {
        1 => format!("d{}", die.n_sides()),
        n_dice => format!("{n_dice}d{}", die.n_sides()),
    }
}

/// The names of dice within a sentence: `d6, 2d8 and d20`.
pub fn dice_in_text(dice: impl Iterator<Item = Die>) -> String {
    let names: Vec<String> = dice.map(die_in_text).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// A number of rolls: `1 roll`, `5,000 rolls`.
pub fn rolls(n: u64) -> String {
    if n == 1 { "1 roll".into() } else { format!("{} rolls", grouped(n)) }
}

/// What the server does, as a title: `Two dice, rolled every second`.
pub fn headline(dice: impl Iterator<Item = Die>, every: Duration) -> String {
    let n_dice: usize = dice.map(|die| usize::from(die.n_dice())).sum();
    let dice = if n_dice == 1 { "die" } else { "dice" };
    let number = NUMBERS.get(n_dice).map_or_else(|| n_dice.to_string(), |word| capitalized(word));
    format!("{number} {dice}, rolled {}", pace(every))
}

/// How often there is a roll: `every 5 minutes`, `twice a second`.
pub fn pace(every: Duration) -> String {
    let ms = every.as_millis().max(1);
    if ms < 1_000 && 1_000 % ms == 0 {
        return match 1_000 / ms {
            2 => "twice a second".into(),
            n => format!("{} times a second", grouped(n as u64)),
        };
    }
    format!("every {}", period(every))
}

/// A time after "every" or "the last": `30 days`, `1 hour 30 minutes`, `second`.
pub fn period(time: Duration) -> String {
    let mut left = time.as_millis().max(1);
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let n = left / length;
        left %= length;
        match n {
            0 => {}
            1 => parts.push(format!("1 {unit}")),
            _ => parts.push(format!("{n} {unit}s")),
        }
    }
    let parts = parts.join(" ");
    // "every second", not "every 1 second".
    match parts.strip_prefix("1 ") {
        Some(unit) if !unit.contains(' ') => unit.into(),
        _ => parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_counts_all_dice_of_a_roll() {
        let headline = |dice: &[&str]| {
            let dice = dice.iter().map(|die| die.parse::<Die>().expect("a die"));
            super::headline(dice, Duration::from_secs(1))
        };
        assert_eq!(headline(&["1D20"]), "One die, rolled every second");
        assert_eq!(headline(&["1D6", "1D20"]), "Two dice, rolled every second");
        assert_eq!(headline(&["2D6", "10D10"]), "Twelve dice, rolled every second");
        assert_eq!(headline(&["100D6"]), "100 dice, rolled every second");
    }

    #[test]
    fn a_pace_is_in_words_that_people_use() {
        let table = [
            (1, "1,000 times a second"),
            (50, "20 times a second"),
            (300, "every 300 milliseconds"),
            (500, "twice a second"),
            (1_000, "every second"),
            (1_500, "every 1 second 500 milliseconds"),
            (5_000, "every 5 seconds"),
            (60_000, "every minute"),
            (90_000, "every 1 minute 30 seconds"),
            (3_600_000, "every hour"),
            (172_800_000, "every 2 days"),
        ];
        for (ms, words) in table {
            assert_eq!(pace(Duration::from_millis(ms)), words);
        }
    }

    #[test]
    fn a_period_follows_the_last() {
        let table = [(1, "second"), (90, "1 minute 30 seconds"), (30 * 86_400, "30 days")];
        for (seconds, words) in table {
            assert_eq!(period(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn one_roll_has_no_plural() {
        assert_eq!([1, 5_000].map(rolls), ["1 roll", "5,000 rolls"]);
    }

    #[test]
    fn dice_in_a_sentence_are_a_list() {
        let names =
            |dice: &[&str]| dice_in_text(dice.iter().map(|die| die.parse::<Die>().expect("a die")));
        assert_eq!(names(&["1D20"]), "d20");
        assert_eq!(names(&["1D6", "1D20"]), "d6 and d20");
        assert_eq!(names(&["1D6", "2D8", "1D20"]), "d6, 2d8 and d20");
    }

    #[test]
    fn several_dice_are_named_as_a_sum() {
        let name = |text: &str| die(text.parse().expect("a die"));
        assert_eq!(["1D20", "2D6"].map(name), ["d20", "2d6, sum"]);
    }
}
