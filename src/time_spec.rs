//! A point in time as people write it: some time ago, or a timestamp.

use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::roll::RolledAt;
use crate::text::ValueError;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSpec {
    /// This time before now.
    Ago(SignedDuration),
    /// A timestamp.
    At(RolledAt),
}

impl TimeSpec {
    /// The timestamp that this means at the time `now`.
    pub fn moment(self, now: Timestamp) -> RolledAt {
        match self {
            // A time before the calendar's beginning is before the first roll.
            TimeSpec::Ago(ago) => {
                RolledAt::truncate(now.checked_sub(ago).unwrap_or(Timestamp::MIN))
            }
            TimeSpec::At(timestamp) => timestamp,
        }
    }

    /// The same as a query parameter's value. It holds no `+`, which would mean a space.
    pub fn in_query(self) -> String {
        match self {
            TimeSpec::Ago(ago) => format!("{}s{}ms", ago.as_secs(), ago.subsec_millis()),
            TimeSpec::At(timestamp) => timestamp.to_string(),
        }
    }
}

impl FromStr for TimeSpec {
    type Err = ValueError;

    /// Reads a time ago, such as `10m` or `1h 30m`, or what [`moment`] reads.
    fn from_str(text: &str) -> Result<TimeSpec, ValueError> {
        let expected = "a time ago such as `10m`, or a timestamp such as `2026-11-23T01:37:40Z`";
        if let Ok(timestamp) = moment(text) {
            return Ok(TimeSpec::At(timestamp));
        }
        ago(text).map(TimeSpec::Ago).ok_or_else(|| ValueError::new(expected, text))
    }
}

/// Reads a duration: whole days, such as `7d`, or units down to `ms`, such as `1h 30m`. `None` for
/// any other text.
pub fn ago(text: &str) -> Option<SignedDuration> {
    let ago = days(text).or_else(|| text.parse().ok());
    ago.filter(|ago| !ago.is_negative() && !text.starts_with(['-', '+']))
}

/// Reads whole days of 24 hours each.
fn days(text: &str) -> Option<SignedDuration> {
    let n_days: i64 = text.strip_suffix('d')?.trim_end().parse().ok()?;
    Some(SignedDuration::from_secs(n_days.checked_mul(24 * 60 * 60)?))
}

/// Reads a timestamp, or a date in UTC with or without a time of day.
///
/// # Errors
///
/// The text is neither.
pub fn moment(text: &str) -> Result<RolledAt, ValueError> {
    let expected = "a timestamp such as `2026-11-23T01:37:40Z`, or in UTC `2026-11-23T01:37`";
    moment_in(&TimeZone::UTC, text).ok_or_else(|| ValueError::new(expected, text))
}

/// Reads a timestamp, or a date in this time zone with or without a time of day. `None` for any
/// other text. If the zone's clock shows the time twice, it is the first one. If the clock skips
/// the time, the result is later by the skipped period.
pub fn moment_in(zone: &TimeZone, text: &str) -> Option<RolledAt> {
    if let Ok(timestamp) = text.parse() {
        return Some(timestamp);
    }
    let zoned = text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok()?;
    Some(RolledAt::truncate(zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ago_or_a_timestamp_is_read() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a timestamp");
        let table = [
            ("10m", Some("2026-11-25T11:50:00.000Z")),
            ("2h", Some("2026-11-25T10:00:00.000Z")),
            ("1h 30m", Some("2026-11-25T10:30:00.000Z")),
            ("250ms", Some("2026-11-25T11:59:59.750Z")),
            ("7d", Some("2026-11-18T12:00:00.000Z")),
            ("0s", Some("2026-11-25T12:00:00.000Z")),
            ("2026-11-23T01:37:40.123Z", Some("2026-11-23T01:37:40.123Z")),
            ("2026-11-23T02:37:40+01:00", Some("2026-11-23T01:37:40.000Z")),
            ("2026-11-23T01:37", Some("2026-11-23T01:37:00.000Z")),
            ("2026-11-23", Some("2026-11-23T00:00:00.000Z")),
            ("-10m", None),
            ("-1d", None),
            ("10", None),
            ("d", None),
            ("99999999999999999d", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in table {
            let seen = text.parse::<TimeSpec>().ok().map(|since| since.moment(now).to_string());
            assert_eq!(seen.as_deref(), expected, "`{text}`");
        }
        let long: TimeSpec = "9000000d".parse().expect("a long time ago");
        assert!(long.moment(now) < RolledAt::truncate(Timestamp::UNIX_EPOCH));
    }
}
