//! The statistics: the totals of all rolls of a die, compared with a fair die.
//!
//! This module only computes. A [`DieTally`] counts one roll after another, and the store saves it.
//! A [`DieReport`] contains the results for the pages, the API and the terminal.

mod distribution;
mod tally;
mod tallies;
mod report;
pub mod words;

pub use self::distribution::Distribution;
pub use self::report::{
    Bin, BlockReport, Chance, DieReport, Fairness, PValueBin, Range, Run, Statistics,
};
pub use self::tallies::{Change, Tallies};
pub use self::tally::{Block, DieTally, N_BINS, ResultTally, Streak};

/// The number of rolls in a block. Each complete block gets one chi-square test.
pub const N_BLOCK_ROLLS: u64 = 3_600;
/// The e-value at which a die is called unfair.
pub const ALARM: f64 = 20.0;
