//! The statistics: what all rolls of a die add up to, and what a fair die would have shown.
//!
//! Pure arithmetic. [`DieTally`] takes in one roll after the other; the store keeps it.
//! [`DieReport`] draws from it what pages, the API and the terminal show.

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

/// Rolls of a block whose chi-square is judged once it is complete.
pub const N_BLOCK_ROLLS: u64 = 3_600;
/// The e-value at which a die is called unfair.
pub const ALARM: f64 = 20.0;
