//! What is said about a run.

use std::time::Duration;

use serde::Serialize;

use crate::case::{Case, Level};
use crate::judge::{Outcome, Reason, is_over, judge};
use crate::log::{Heard, Log};

/// A verdict, as `GET /lab/<case>/<run>/verdict` sends it.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub case: &'static str,
    pub level: Level,
    pub verdict: Outcome,
    pub because: Vec<Reason>,
    /// How many requests there were. Only the first 50 are listed.
    pub n_requests: usize,
    pub requests: Vec<RequestReport>,
    pub heard: Vec<Heard>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// From the first request to the last event, in seconds.
    pub seconds: f64,
    /// The most memory that the client used, in bytes, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// A request in a verdict. Times are since the first request, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct RequestReport {
    pub at_ms: u64,
    pub ended_ms: Option<u64>,
    pub last_event_id: Option<String>,
    pub accept: Option<String>,
}

impl Verdict {
    /// The verdict on a run at `now`, the time since it began.
    pub fn of(case: &Case, log: Log, now: Duration) -> Verdict {
        let is_over = is_over(case, &log, now);
        let (verdict, because) =
            if is_over { judge(case, &log) } else { (Outcome::Running, Vec::new()) };
        let first = log.requests.first().map_or(Duration::ZERO, |request| request.at);
        let since_first = |time: Duration| time.saturating_sub(first);
        let millis = |time| u64::try_from(since_first(time).as_millis()).unwrap_or(u64::MAX);
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let requests = log.requests.iter().map(|request| RequestReport {
            at_ms: millis(request.at),
            ended_ms: request.ended.map(millis),
            last_event_id: request.last_event_id.as_ref().map(text),
            accept: request.accept.clone(),
        });
        let last_heard = log.heard_at.last().copied().unwrap_or(first);
        Verdict {
            case: case.id,
            level: case.level,
            verdict,
            because,
            n_requests: log.n_requests,
            requests: requests.collect(),
            heard: log.heard,
            errors: log.errors,
            seconds: since_first(last_heard).as_secs_f64(),
            memory: None,
        }
    }
}
