//! The rarest result of a roll: how often it has come up so far, and the last roll before with it.

use serde::Serialize;

use crate::roll::RollId;
use crate::statistics::words::grouped;
use crate::store::Occurrence;
use crate::web::pages::zone::Zone;
use crate::web::pages::{links, words};

/// The sentence about a result on the page of a roll.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct MeaningView {
    die: String,
    result: u32,
    /// `first`, `60,001st`; `None` if it is not known.
    nth: Option<String>,
    is_first: bool,
    previous: Option<PreviousView>,
    /// The rolls before this one that were read: `1 roll`, `13 rolls`. All have another result.
    /// `None` if older rolls are gone.
    n_others: Option<String>,
}

/// The roll before it with the same result.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct PreviousView {
    id: i64,
    href: String,
    /// `1 roll`, `13 rolls`.
    earlier: String,
}

impl MeaningView {
    /// The place of a result of the roll `id`. Links keep the zone of the page.
    pub fn new(id: RollId, place: Occurrence, zone: &Zone) -> MeaningView {
        let previous = place.previous.map(|previous| {
            let n_earlier = (id.0 - previous.0).unsigned_abs();
            PreviousView {
                id: previous.0,
                href: links::roll_in(zone, previous),
                earlier: words::rolls(n_earlier),
            }
        });
        MeaningView {
            die: words::die_in_text(place.of.die),
            result: place.of.result,
            nth: place.nth.map(ordinal),
            is_first: place.nth == Some(1),
            previous,
            n_others: (place.n_read > 0).then(|| words::rolls(place.n_read)),
        }
    }
}

/// An ordinal number: `first`, `60,001st`.
fn ordinal(n: u64) -> String {
    if n == 1 {
        return "first".into();
    }
    let ending = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{}{ending}", grouped(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_have_the_ending_of_their_last_digits() {
        let table = [
            (1, "first"),
            (2, "2nd"),
            (3, "3rd"),
            (4, "4th"),
            (11, "11th"),
            (12, "12th"),
            (13, "13th"),
            (21, "21st"),
            (112, "112th"),
            (60_001, "60,001st"),
        ];
        for (n, expected) in table {
            assert_eq!(ordinal(n), expected);
        }
    }
}
