//! A roll: its id, its timestamp and the results of its dice.

use std::fmt;
use std::str::FromStr;

use jiff::tz::Offset;
use jiff::{Timestamp, Unit};

use crate::dice::Results;
use crate::text::{ValueError, canonical_number};

/// The id of a roll: 1, 2, 3, … without gaps. It is also the roll's place in the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollId(pub i64);

impl RollId {
    /// The place before the first roll. All rolls come after it.
    pub const BEFORE_FIRST: RollId = RollId(0);

    /// The id of the roll after this one.
    pub fn next(self) -> RollId {
        RollId(self.0 + 1)
    }

    /// The id of the roll before this one.
    pub fn previous(self) -> RollId {
        RollId(self.0 - 1)
    }
}

impl fmt::Display for RollId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RollId {
    type Err = ValueError;

    /// Reads a decimal id from 0 on, without sign, spaces or leading zeros. 0 is the place before
    /// the first roll.
    fn from_str(text: &str) -> Result<RollId, ValueError> {
        match canonical_number(text) {
            Some(id) => Ok(RollId(id)),
            None => Err(ValueError::new("a roll id such as `41`", text)),
        }
    }
}

/// When a roll was made: UTC, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolledAt(Timestamp);

impl RolledAt {
    /// Rounds a timestamp down to the millisecond.
    pub fn truncate(timestamp: Timestamp) -> RolledAt {
        let rounding =
            jiff::TimestampRound::new().smallest(Unit::Millisecond).mode(jiff::RoundMode::Floor);
        RolledAt(timestamp.round(rounding).unwrap_or(timestamp))
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// The timestamp.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for RolledAt {
    /// RFC 3339 with exactly three decimals: `2026-11-23T01:37:40.123Z`. These texts sort like the
    /// timestamps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl FromStr for RolledAt {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<RolledAt, ValueError> {
        let timestamp: Option<Timestamp> = text.parse().ok();
        // A year before 0000 has more digits, so the texts would not sort like the timestamps.
        let has_four_digits = |time: &Timestamp| Offset::UTC.to_datetime(*time).year() >= 0;
        let timestamp = timestamp.filter(has_four_digits).map(RolledAt::truncate);
        timestamp
            .ok_or_else(|| ValueError::new("a timestamp such as `2026-11-23T01:37:40.123Z`", text))
    }
}

/// A roll whose id is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    /// The next id after that of the roll before.
    pub id: RollId,
    /// When it was due.
    pub rolled_at: RolledAt,
    /// What the dice showed.
    pub dice: Results,
}

#[cfg(test)]
impl Roll {
    /// Roll `id` for a test: made `id` seconds after the epoch, with a 4 on its 1D6.
    pub fn example(id: i64) -> Roll {
        let time = jiff::Timestamp::from_second(id).expect("a time");
        let dice = r#"{"1D6":4}"#.parse().expect("results");
        Roll { id: RollId(id), rolled_at: RolledAt::truncate(time), dice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_milliseconds_and_sort_as_text() {
        let read = |text: &str| text.parse::<RolledAt>().expect("a timestamp");
        let early = read("2026-11-23T01:37:40.0999Z");
        assert_eq!(early.to_string(), "2026-11-23T01:37:40.099Z");
        assert_eq!(early.unix_millis(), 1_795_397_860_099);
        let late = read("2026-11-23T02:37:41+01:00");
        assert_eq!(late.to_string(), "2026-11-23T01:37:41.000Z");
        assert!(early < late && early.to_string() < late.to_string());
        let first = "0000-01-01T00:00:00.000Z";
        assert_eq!(read(first).to_string(), first);
        for text in ["-000001-12-31T23:59:59.999Z", "0000-01-01T00:00:00+01:00", "10000-01-01"] {
            assert!(text.parse::<RolledAt>().is_err(), "{text}");
        }
    }
}
