//! Values as they are written in the file. Each error says what was expected and what was found.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::dice::{Dice, Die};
use crate::log::is_origin;
use crate::network::Network;
use crate::text::ValueError;

/// Reads `dice`.
///
/// # Errors
///
/// The value is not a list of 1 to 16 different dice.
pub fn dice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dice, D::Error> {
    let dice = Vec::<Text<Die>>::deserialize(deserializer)?;
    let dice: Vec<Die> = dice.into_iter().map(|Text(die)| die).collect();
    Dice::try_from(dice).map_err(D::Error::custom)
}

/// Reads `database`.
///
/// # Errors
///
/// The value is no path, but a text that a shell or another program would turn into one. It would
/// become a file of that strange name.
pub fn database<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let lower = text.to_lowercase();
    let has_scheme = ["file:", "sqlite:", "sqlite3:"].iter().any(|it| lower.starts_with(it));
    let expected = if text.starts_with('~') || text.split('/').any(|part| part.starts_with('$')) {
        "the whole path of a file, because `~` and variables are not expanded"
    } else if text.starts_with(':') {
        "the path of a file, because rolls are not kept in memory"
    } else if has_scheme || text.contains("://") {
        "the path of a file without a scheme such as `sqlite:`"
    } else if text.is_empty() {
        "the path of a file"
    } else {
        return Ok(text.into());
    };
    Err(D::Error::custom(ValueError::new(expected, text)))
}

/// Reads `origin`.
///
/// # Errors
///
/// The value cannot name a log.
pub fn origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected = "a name without spaces and `+`, such as `dice.example.org`";
    text_that(deserializer, is_origin, expected)
}

/// Reads `operator`.
///
/// # Errors
///
/// The value is empty, longer than 100 characters, or has several lines.
pub fn operator<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let is_name = |text: &str| {
        !text.trim().is_empty() && text.chars().count() <= 100 && !text.contains(char::is_control)
    };
    text_that(deserializer, is_name, "a name of 1 to 100 characters on one line")
}

/// Reads `contact`.
///
/// # Errors
///
/// The value is not a `mailto:`, `https:` or `tel:` URL, or it is longer than 300 characters.
pub fn contact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected = "an address of at most 300 characters that begins with `mailto:`, `https:` or \
                    `tel:`, such as `mailto:ada@example.org`";
    text_that(deserializer, |text| is_url(text, &["mailto:", "https://", "tel:"]), expected)
}

/// Reads `lab_url`.
///
/// # Errors
///
/// The value is no address on the web, or it is longer than 300 characters.
pub fn lab_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected = "an address of at most 300 characters on the web, such as \
                    `http://lab.example.org:8002/lab/`";
    text_that(deserializer, |text| is_url(text, &["https://", "http://"]), expected)
}

/// Reads `source`.
///
/// # Errors
///
/// The value is no address on the web, or it is longer than 300 characters.
pub fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected = "an address of at most 300 characters on the web, such as \
                    `https://example.org/rollcast`";
    text_that(deserializer, |text| is_url(text, &["https://", "http://"]), expected)
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    // Spaces and quotes would end the address where it is written.
    let is_plain =
        |text: &str| !text.contains(|c: char| !c.is_ascii_graphic() || "\"<>`".contains(c));
    text.len() <= 300 && rest.is_some_and(|rest| !rest.is_empty() && is_plain(rest))
}

fn text_that<'de, D: Deserializer<'de>>(
    deserializer: D,
    is_valid: impl Fn(&str) -> bool,
    expected: &'static str,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_valid(&text) {
        return Ok(Some(text));
    }
    Err(D::Error::custom(ValueError::new(expected, text)))
}

/// Reads `trusted_proxies`.
///
/// # Errors
///
/// The value is not a list of IP addresses and networks.
pub fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let networks = Vec::<Text<Network>>::deserialize(deserializer)?;
    Ok(networks.into_iter().map(|Text(network)| network).collect())
}

/// Reads `every`.
///
/// # Errors
///
/// The value is not a duration of 1 ms to 1 h.
pub fn every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let bounds = Duration::from_millis(1)..=Duration::from_secs(3600);
    duration(deserializer, bounds, "a time between rolls of 1ms to 1h, such as `200ms`")
}

/// Reads `heartbeat`.
///
/// # Errors
///
/// The value is not a duration of 1 s to 10 min.
pub fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(600);
    duration(deserializer, bounds, "a heartbeat of 1s to 10m, such as `15s`")
}

/// Reads `page_size`.
///
/// # Errors
///
/// The value is not an integer of 1 to 500.
pub fn page_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    count(deserializer, 500, "1 to 500 rolls a page")
}

/// Reads `max_streams` or `max_streams_per_address`.
///
/// # Errors
///
/// The value is not an integer of 1 to 1,000,000.
pub fn max_streams<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    count(deserializer, 1_000_000, "1 to 1000000 streams")
}

/// Reads `reserve_mb`.
///
/// # Errors
///
/// The value is not an integer of 0 to 1,000,000,000.
pub fn reserve_mb<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let n = i64::deserialize(deserializer)?;
    u64::try_from(n)
        .ok()
        .filter(|n| *n <= 1_000_000_000)
        .ok_or_else(|| D::Error::custom(ValueError::new("a reserve of 0 to 1000000000 MiB", n)))
}

/// Reads a duration within bounds, such as `1m 30s`. `expected` describes it.
///
/// # Errors
///
/// The value is not such a duration.
pub fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
    bounds: RangeInclusive<Duration>,
    expected: &'static str,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.parse::<SignedDuration>().ok();
    parsed
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| bounds.contains(duration))
        .ok_or_else(|| D::Error::custom(ValueError::new(expected, text)))
}

/// Reads an integer of 1 to `max`. `expected` describes it.
///
/// # Errors
///
/// The value is not such an integer.
pub fn count<'de, D: Deserializer<'de>>(
    deserializer: D,
    max: i64,
    expected: &'static str,
) -> Result<usize, D::Error> {
    let n = i64::deserialize(deserializer)?;
    if (1..=max).contains(&n) {
        Ok(n as usize)
    } else {
        Err(D::Error::custom(ValueError::new(expected, n)))
    }
}

/// A value that is written as a string.
struct Text<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<T>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Text).map_err(D::Error::custom)
    }
}
