//! The statistics: the totals of all rolls of a die, compared with a fair die.
//!
//! This module only computes. A [`DieTally`] counts one roll after another, and the store saves it.
//! A [`DieReport`] contains the results for the pages, the API and the terminal.

mod distribution;
mod tally;
mod tallies;
mod report;
mod verdict;
pub mod words;

pub use self::distribution::Distribution;
pub use self::report::{
    Bin, BlockReport, Chance, DieReport, EvidencePoint, Fairness, PValueBin, Range, Run, Statistics,
};
pub use self::tallies::{Change, Tallies};
pub use self::tally::{Block, DieTally, N_BINS, Peak, ResultTally, Streak};
pub use self::verdict::Verdict;

/// The number of rolls in a block. Each complete block gets one chi-square test.
pub const N_BLOCK_ROLLS: u64 = 3_600;

/// The e-value at which one of `n_dice` dice is called unfair: 20 times the number of dice.
///
/// The probability that the e-value of a fair die ever reaches it is at most `1 / (20 * n_dice)`.
/// So with fair dice, the probability that a server ever gives an alarm is at most 5 %, even if the
/// dice depend on each other. This holds as long as the server keeps its dice: if a die is added
/// later, the rolls before it were judged by a lower alarm.
pub fn alarm(n_dice: usize) -> f64 {
    20.0 * n_dice.max(1) as f64
}
