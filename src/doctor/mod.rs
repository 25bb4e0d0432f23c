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
use self::visit::Seen;
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

/// Looks and judges. Takes little longer than the stream is watched; where answers come as late as
/// they may, or drip, twice that and 13 timeouts at most (three connections, the page with its
/// text, two looks at the stream, two at its headers, and twice the beginnings of further streams).
///
/// # Errors
///
/// Nobody can be reached at the address.
pub fn examine(plan: &Plan, progress: &mut dyn FnMut(Progress)) -> Result<Report, Unreachable> {
    let start = Instant::now();
    let seen = visit::visit(plan, progress).map_err(|why| Unreachable(printable(&why)))?;
    Ok(report(plan.url.to_string(), &seen, start.elapsed()))
}

/// What is to be told of a visit to `url`. Much of it comes from outside: none of it can steer a
/// terminal.
fn report(url: String, seen: &Seen, took: Duration) -> Report {
    let mut findings = judge::judge(seen);
    for finding in &mut findings {
        finding.saw = printable(&finding.saw);
        finding.change = finding.change.as_deref().map(printable);
    }
    Report {
        url: printable(&url),
        stream: printable(&seen.url.to_string()),
        rollcast: seen.is_rollcast(),
        seconds: round(took),
        n_faults: findings.iter().filter(|f| f.verdict == Verdict::Fault).count(),
        findings,
    }
}

/// A text with its control characters written out, C0, DEL and C1: `\u{1b}`.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { printable.extend(c.escape_default()) } else { printable.push(c) }
    }
    printable
}

fn round(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::doctor::client::NoAnswer;
    use crate::doctor::judge::samples;

    #[test]
    fn nothing_that_comes_from_outside_steers_a_terminal() {
        let evil = "\x1b]0;title\x07\x1b[2J\r\n\u{9b}31m\x7f";
        let mut seen = samples::seen();
        seen.url = "http://a.example/\u{9b}31m".parse().expect("an address");
        seen.page = Some(Err(NoAnswer::Failed(evil.into())));
        if let Some(resumed) = &mut seen.resumed {
            (resumed.last_event_id, resumed.answered) =
                (evil.into(), Err(NoAnswer::Failed(evil.into())));
        }
        let report = report("http://a.example/".into(), &seen, Duration::from_secs(1));
        let (table, json) = (report.table(false, 100), serde_json::to_string(&report));
        for text in [table.replace('\n', ""), json.expect("JSON")] {
            let found: Vec<_> = text.chars().filter(|c| c.is_control()).collect();
            assert_eq!(found, [], "in {text:?}");
            assert!(text.contains(r"\u{9b}31m") && text.contains(r"\u{7f}"), "{text}");
        }
    }
}
