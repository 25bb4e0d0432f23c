//! A roll: its id, its timestamp and the results of its dice.

use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, Unit};

use crate::dice::Results;
use crate::text::{ValueError, canonical_number};

/// The place of a roll in the history: 1, 2, 3, … without gaps. [`RollId::BEFORE_FIRST`] is the
/// place before the first roll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollId(pub i64);

impl RollId {
    /// The place before the first roll: everything ever rolled comes after it.
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

    /// Reads a decimal id, 0 (before the first) or more, without sign, spaces or leading zeros.
    fn from_str(text: &str) -> Result<RollId, ValueError> {
        match canonical_number(text) {
            Some(id) => Ok(RollId(id)),
            None => Err(ValueError::new("a roll's id such as `41`", text)),
        }
    }
}

/// The moment of a roll: UTC, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolledAt(Timestamp);

impl RolledAt {
    /// The millisecond that `moment` lies in.
    pub fn truncate(moment: Timestamp) -> RolledAt {
        let rounding =
            jiff::TimestampRound::new().smallest(Unit::Millisecond).mode(jiff::RoundMode::Floor);
        RolledAt(moment.round(rounding).unwrap_or(moment))
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// The moment as a timestamp.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for RolledAt {
    /// RFC 3339 with exactly three decimals: `2026-11-23T01:37:40.123Z`. Sorts as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl FromStr for RolledAt {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<RolledAt, ValueError> {
        let moment = text
            .parse::<Timestamp>()
            .map_err(|_| ValueError::new("a moment such as `2026-11-23T01:37:40.123Z`", text))?;
        Ok(RolledAt::truncate(moment))
    }
}

/// A roll whose id is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    /// Its place in the history.
    pub id: RollId,
    /// When the dice fell.
    pub rolled_at: RolledAt,
    /// What they showed.
    pub dice: Results,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_milliseconds_and_sort_as_text() {
        let moment = |text: &str| text.parse::<RolledAt>().expect("a moment");
        let early = moment("2026-11-23T01:37:40.0999Z");
        assert_eq!(early.to_string(), "2026-11-23T01:37:40.099Z");
        assert_eq!(early.unix_millis(), 1_795_397_860_099);
        let late = moment("2026-11-23T02:37:41+01:00");
        assert_eq!(late.to_string(), "2026-11-23T01:37:41.000Z");
        assert!(early < late && early.to_string() < late.to_string());
    }
}
