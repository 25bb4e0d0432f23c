//! A place in time, as people ask for rolls: some time ago, or an instant.

use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use crate::roll::RolledAt;
use crate::text::ValueError;

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSpec {
    /// So long ago.
    Ago(SignedDuration),
    /// At this moment.
    At(RolledAt),
}

impl TimeSpec {
    /// The moment that is meant, where it is `now`.
    pub fn moment(self, now: Timestamp) -> RolledAt {
        match self {
            // Whatever lies before the calendar begins lies before the first roll.
            TimeSpec::Ago(ago) => {
                RolledAt::truncate(now.checked_sub(ago).unwrap_or(Timestamp::MIN))
            }
            TimeSpec::At(moment) => moment,
        }
    }

    /// The same as the value of a query, where a plus would mean a space.
    pub fn in_query(self) -> String {
        match self {
            TimeSpec::Ago(ago) => format!("{}s{}ms", ago.as_secs(), ago.subsec_millis()),
            TimeSpec::At(moment) => moment.to_string(),
        }
    }
}

impl FromStr for TimeSpec {
    type Err = ValueError;

    /// Reads a time ago, `10m` or `1h 30m`, or what [`moment`] reads.
    fn from_str(text: &str) -> Result<TimeSpec, ValueError> {
        let expected = "a time ago such as `10m`, or a moment such as `2026-11-23T01:37:40Z`";
        if let Ok(moment) = moment(text) {
            return Ok(TimeSpec::At(moment));
        }
        ago(text).map(TimeSpec::Ago).ok_or_else(|| ValueError::new(expected, text))
    }
}

/// Reads a length of time: whole days, `7d`, or units down to `ms`, `1h 30m`.
pub fn ago(text: &str) -> Option<SignedDuration> {
    let ago = days(text).or_else(|| text.parse().ok());
    ago.filter(|ago| !ago.is_negative() && !text.starts_with(['-', '+']))
}

/// Whole days, `7d`: 24 hours each, since these are times ago and not dates.
fn days(text: &str) -> Option<SignedDuration> {
    let n_days: i64 = text.strip_suffix('d')?.trim_end().parse().ok()?;
    Some(SignedDuration::from_secs(n_days.checked_mul(24 * 60 * 60)?))
}

/// Reads an instant, or a date with or without a time of day, which is then UTC: what a form's
/// `datetime-local` field sends.
pub fn moment(text: &str) -> Result<RolledAt, ValueError> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let expected = "a moment such as `2026-11-23T01:37:40Z`, or in UTC `2026-11-23T01:37`";
    let civil = text.parse::<DateTime>().ok();
    let moment = civil.and_then(|civil| Offset::UTC.to_timestamp(civil).ok());
    moment.map(RolledAt::truncate).ok_or_else(|| ValueError::new(expected, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ago_or_an_instant_names_a_moment() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("an instant");
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
