//! The report on a visit.

use std::time::{Duration, Instant};

use event_stream::printable::printable;
use serde::Serialize;

use crate::judge::{Finding, Verdict, judge};
use crate::visit::{Observations, Plan, Progress, visit};

/// What the doctor found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The URL of the plan.
    pub url: String,
    /// The URL of the stream.
    pub stream: String,
    /// Whether the stream is rollcast's.
    pub rollcast: bool,
    /// How long the visit took.
    pub seconds: f64,
    /// How many faults there are.
    pub n_faults: usize,
    /// The findings, in the order in which a browser meets their subjects.
    pub findings: Vec<Finding>,
}

/// No connection can be opened; the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(String);

/// Visits and judges. `progress` is called now and then.
///
/// Usually takes little longer than `plan.watch_for`. If responses come as late as they may, it
/// takes twice that, 2 s, and at most 20 timeouts: 3 connections, 2 pages and their bodies, 2 watches,
/// 3 heads, the checkpoint, a tile and their bodies, and twice the beginning of further streams.
///
/// # Errors
///
/// No connection to the URL can be opened.
pub fn examine(plan: &Plan, progress: &mut dyn FnMut(Progress)) -> Result<Report, Unreachable> {
    let start = Instant::now();
    let seen = visit(plan, progress).map_err(|why| Unreachable(printable(&why)))?;
    Ok(report(plan.url.to_string(), &seen, start.elapsed()))
}

/// The report on a visit to `url`. Texts from outside have their control characters escaped, so
/// that they cannot steer a terminal.
fn report(url: String, seen: &Observations, took: Duration) -> Report {
    let mut findings = judge(seen);
    for finding in &mut findings {
        finding.saw = printable(&finding.saw);
        finding.change = finding.change.as_deref().map(printable);
    }
    Report {
        url: printable(&url),
        stream: printable(&seen.url.to_string()),
        rollcast: seen.is_rollcast(),
        seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        n_faults: findings.iter().filter(|f| f.verdict == Verdict::Fault).count(),
        findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::samples;
    use crate::response::NoResponse;
    use crate::table::Style;

    #[test]
    fn nothing_that_comes_from_outside_steers_a_terminal() {
        let evil = "\x1b]0;title\x07\x1b[2J\r\n\u{9b}31m\x7f\u{202e}";
        let mut seen = samples::rollcast();
        seen.page = Some(Err(NoResponse::Failed(evil.into())));
        if let Some(reconnect) = &mut seen.reconnect {
            reconnect.last_event_id = evil.into();
            reconnect.frames = Err(NoResponse::Failed(evil.into()));
        }
        let report = report("http://a.example/".into(), &seen, Duration::from_secs(1));
        let (table, json) = (report.table(Style::Plain, 100), serde_json::to_string(&report));
        for text in [table.replace('\n', ""), json.expect("JSON")] {
            let found: Vec<_> = text.chars().filter(|c| c.is_control()).collect();
            assert!(found.is_empty(), "{found:?} in {text:?}");
            for escaped in [r"\u{9b}31m", r"\u{7f}", r"\u{202e}"] {
                assert!(text.contains(escaped), "{text}");
            }
        }
    }
}
