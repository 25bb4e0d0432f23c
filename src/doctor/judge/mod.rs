//! The judgement: what was seen, held against what an event stream needs. No I/O.
//!
//! Sources: <https://html.spec.whatwg.org/multipage/server-sent-events.html>,
//! <https://nginx.org/en/docs/http/ngx_http_proxy_module.html>.

#[cfg(test)]
pub mod samples;
mod delivery;
mod headers;
mod way;
mod server;

use std::time::Duration;

use serde::Serialize;

use crate::doctor::client::NoAnswer;
use crate::doctor::visit::Seen;

/// What the doctor says about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, or why nothing can be said.
    pub saw: String,
    /// Which line to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Not as good as it could be.
    Note,
    /// Wrong.
    Fault,
    /// Not to be told from what was seen.
    Unknown,
}

/// Judges all there is to judge, in the order in which a browser meets it.
pub fn judge(seen: &Seen) -> Vec<Finding> {
    let always = [
        way::tls(seen),
        way::page(seen),
        way::connections(seen),
        way::redirects(seen),
        way::answer(seen),
    ];
    let opened = match &seen.stream {
        Ok(watch) if watch.answer.is_stream() => [
            headers::cache(seen, watch),
            headers::header(seen, watch),
            headers::compression(seen, watch),
            delivery::buffering(seen, watch),
            delivery::idle(seen, watch),
            delivery::resume(seen),
            server::address(seen),
            server::limit(seen),
            server::clock(seen, watch),
            server::roller(seen, watch),
            headers::cross_origin(seen, watch),
        ]
        .to_vec(),
        _ if seen.honest.is_some() => vec![server::address(seen)],
        _ => Vec::new(),
    };
    always.into_iter().flatten().chain(opened).collect()
}

fn fine(check: &'static str, saw: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Fine, saw: saw.into(), change: None }
}

fn note(check: &'static str, saw: impl Into<String>, change: &str) -> Finding {
    Finding { check, verdict: Verdict::Note, saw: saw.into(), change: Some(change.into()) }
}

fn fault(check: &'static str, saw: impl Into<String>, change: &str) -> Finding {
    Finding { check, verdict: Verdict::Fault, saw: saw.into(), change: Some(change.into()) }
}

fn unknown(check: &'static str, why: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Unknown, saw: why.into(), change: None }
}

fn in_words(why: &NoAnswer) -> String {
    match why {
        NoAnswer::Silent(after) => format!("no answer in {}", seconds(*after)),
        NoAnswer::Failed(why) => why.clone(),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn in_ms(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_as_it_should_be_gets_no_reproach() {
        let findings = judge(&samples::seen());
        let but = |finding: &&Finding| finding.verdict != Verdict::Fine;
        let rest: Vec<_> = findings.iter().filter(but).map(|f| (f.check, f.verdict)).collect();
        assert_eq!(rest, [("connections", Verdict::Note)], "{findings:#?}");
        assert_eq!(findings.len(), 14);
    }
}
