//! The scenarios, each with its options, defaults, measurements and tables.

use std::time::Duration;

use anyhow::{Context, Result};

pub mod compare;
pub mod crowd;
pub mod durable;
pub mod fill;
pub mod log;
pub mod pages;
pub mod reconnect;
pub mod replay;
pub mod scale;
pub mod stalled;
pub mod start;

/// Parses a rate in rolls per second. rollcast needs whole milliseconds between rolls.
pub fn rate(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(rate @ 1..=1000) if 1000 % rate == 0 => Ok(rate),
        _ => Err("expected a divisor of 1000, such as 1, 2, 5, 10, 20, 50, 100, 200, 1000".into()),
    }
}

/// The time between rolls at a rate.
pub fn every(rate: u32) -> Duration {
    Duration::from_secs(1) / rate
}

/// Parses a time in seconds.
pub fn seconds(seconds: f64) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    time.with_context(|| format!("expected some seconds, got `{seconds}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_one_that_rollcast_takes() {
        assert_eq!(rate("200").map(every), Ok(Duration::from_millis(5)));
        for text in ["0", "3", "2000", "-1", "fast"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
