//! The doctor: looks at an event stream from outside, as a browser would, and says what is wrong
//! with it and which line to change.
//!
//! ```text
//! client ───────► visit ────────► judge ───────► report
//! the network     what was seen   the findings   for people, for machines
//! ```
//!
//! It works on any event stream; what it cannot judge it calls unknown, with the reason.

mod client;
mod visit;
mod judge;
mod report;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use self::judge::{Finding, Verdict};
pub use self::visit::{Plan, Progress};

/// What the doctor found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked about.
    pub url: String,
    /// The stream's address.
    pub stream: String,
    /// Whether it is a stream of rollcast's.
    pub rollcast: bool,
    /// How long it took.
    pub seconds: f64,
    /// How many faults there are.
    pub n_faults: usize,
    /// What was judged, in the order in which a browser meets it.
    pub findings: Vec<Finding>,
}

/// Why there is no report: nobody can be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(String);

/// Looks and judges. Takes little longer than the stream is watched; where nothing is answered in
/// time, twice that and a dozen timeouts at most.
///
/// # Errors
///
/// Nobody can be reached at the address.
pub fn examine(plan: &Plan, progress: &mut dyn FnMut(Progress)) -> Result<Report, Unreachable> {
    let start = Instant::now();
    let seen = visit::visit(plan, progress).map_err(Unreachable)?;
    let findings = judge::judge(&seen);
    Ok(Report {
        url: plan.url.to_string(),
        stream: seen.url.to_string(),
        rollcast: seen.is_rollcast(),
        seconds: round(start.elapsed()),
        n_faults: findings.iter().filter(|f| f.verdict == Verdict::Fault).count(),
        findings,
    })
}

fn round(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}
