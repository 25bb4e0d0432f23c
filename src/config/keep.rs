//! The key `keep`: how many rolls are kept, or for how long.

use std::fmt;

use jiff::SignedDuration;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::time_spec;

const DAY: SignedDuration = SignedDuration::from_hours(24);
const MIN_AGE: SignedDuration = SignedDuration::from_secs(1);
/// A hundred years.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24 * 36_500);
const MAX_ROLLS: i64 = 1_000_000_000_000;
const EXPECTED: &str = "`\"forever\"`, an age of 1s to 36500d such as `\"90d\"`, or a number of \
                        rolls of 1 to 1000000000000 such as `1000000`";

/// Which rolls are kept. Others are pruned, the oldest first; the newest roll is always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All rolls.
    Forever,
    /// Rolls up to this age, 1 s to 36,500 days.
    Age(SignedDuration),
    /// The newest rolls, this many, 1 to 10^12.
    Count(i64),
}

impl fmt::Display for Keep {
    /// For people: `forever`, `90d`, `1000000 rolls`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Forever => f.write_str("forever"),
            Keep::Age(age) if age.as_nanos() % DAY.as_nanos() == 0 => {
                write!(f, "{}d", age.as_hours() / DAY.as_hours())
            }
            Keep::Age(age) => write!(f, "{age:#}"),
            Keep::Count(1) => f.write_str("1 roll"),
            Keep::Count(n_rolls) => write!(f, "{n_rolls} rolls"),
        }
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keep, D::Error> {
        deserializer.deserialize_any(TextOrNumber)
    }
}

/// The value as it is written in the file.
struct TextOrNumber;

impl Visitor<'_> for TextOrNumber {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Keep, E> {
        if text == "forever" {
            return Ok(Keep::Forever);
        }
        time_spec::ago(text)
            .filter(|age| (MIN_AGE..=MAX_AGE).contains(age))
            .map(Keep::Age)
            .ok_or_else(|| refusal(text))
    }

    fn visit_i64<E: Error>(self, n_rolls: i64) -> Result<Keep, E> {
        if (1..=MAX_ROLLS).contains(&n_rolls) {
            Ok(Keep::Count(n_rolls))
        } else {
            Err(refusal(n_rolls))
        }
    }

    /// Figment reads numbers in environment variables as unsigned.
    fn visit_u64<E: Error>(self, n_rolls: u64) -> Result<Keep, E> {
        i64::try_from(n_rolls).map_err(|_| refusal(n_rolls)).and_then(|n| self.visit_i64(n))
    }
}

fn refusal<E: Error>(seen: impl fmt::Display) -> E {
    E::custom(format!("expected {EXPECTED}, got `{seen}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    use rocket::figment::Figment;
    use rocket::figment::providers::{Format, Toml};

    fn read(value: &str) -> Result<String, String> {
        let keep = Figment::from(Toml::string(&format!("keep = {value}"))).extract_inner("keep");
        keep.map(|keep: Keep| keep.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_age_has_a_unit_and_a_count_has_none() {
        let table = [
            ("'forever'", "forever"),
            ("'90d'", "90d"),
            ("'1s'", "1s"),
            ("'36500d'", "36500d"),
            ("'36h'", "36h"),
            ("'48h'", "2d"),
            ("'1h 30m'", "1h 30m"),
            ("1", "1 roll"),
            ("1_000_000", "1000000 rolls"),
            ("1000000000000", "1000000000000 rolls"),
        ];
        for (value, expected) in table {
            assert_eq!(read(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn other_values_are_refused_with_the_value_and_a_remedy() {
        let refused = [
            "'0s'",
            "'999ms'",
            "'36501d'",
            "'-1d'",
            "'1000000'",
            "'Forever'",
            "''",
            "'1 month'",
            "0",
            "-1",
            "1000000000001",
            "1.5",
            "true",
            "[]",
        ];
        for value in refused {
            let error = read(value).expect_err(value);
            assert!(error.contains("an age of 1s to 36500d such as `\"90d\"`"), "{value}: {error}");
            assert!(error.contains("1 to 1000000000000"), "{value}: {error}");
            let seen = value.trim_matches('\'');
            let named = error.contains(seen) || value == "[]";
            assert!(named && error.contains("keep"), "{value}: {error}");
        }
    }
}
