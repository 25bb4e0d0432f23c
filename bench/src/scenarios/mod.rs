//! The scenarios, each with its options and defaults: what is measured, and the tables of it.

use std::time::Duration;

use anyhow::{Result, bail};

pub mod compare;
pub mod durable;
pub mod fill;
pub mod pages;
pub mod reconnect;
pub mod replay;
pub mod scale;
pub mod stalled;
pub mod start;

/// Time between rolls; rollcast takes whole milliseconds.
pub fn every(rolls_per_s: u32) -> Result<Duration> {
    match rolls_per_s {
        1..=1000 if 1000 % rolls_per_s == 0 => {
            Ok(Duration::from_millis(u64::from(1000 / rolls_per_s)))
        }
        _ => bail!("expected a rate that divides 1000 rolls a second, got `{rolls_per_s}`"),
    }
}
