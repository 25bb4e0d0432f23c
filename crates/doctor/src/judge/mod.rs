//! Compares the observations with the needs of an event stream. Does no I/O.
//!
//! Sources: <https://html.spec.whatwg.org/multipage/server-sent-events.html>,
//! <https://nginx.org/en/docs/http/ngx_http_proxy_module.html>.

#[cfg(test)]
pub(crate) mod samples;
mod transport;
mod page;
mod answer;
mod headers;
mod buffering;
mod idle;
mod resume;
mod address;
mod limit;
mod clock;
mod roller;
mod proofs;
mod lines;

use std::time::Duration;

use serde::Serialize;

use crate::visit::Observations;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// Its verdict.
    pub verdict: Verdict,
    /// The observation, or why there is no verdict.
    pub saw: String,
    /// The line to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Not as good as it could be.
    Note,
    /// Wrong.
    Fault,
    /// The observations do not decide it.
    Unknown,
}

/// Runs all checks that apply, in the order in which a browser meets their subjects. Each change
/// is for the proxy that answers, or for nginx if it is not known.
pub fn judge(seen: &Observations) -> Vec<Finding> {
    let before_stream = [
        transport::proxy(seen),
        transport::tls(seen),
        page::page(seen),
        transport::connections(seen),
        page::redirects(seen),
        answer::answer(seen),
    ];
    let of_stream = match &seen.stream {
        Ok(watch) if watch.head.is_stream() => vec![
            headers::cache(seen, watch),
            headers::header(seen, watch),
            headers::compression(seen, watch),
            buffering::buffering(seen, watch),
            idle::idle(seen, watch),
            resume::resume(seen),
            address::address(seen),
            limit::limit(seen),
            clock::clock(seen, watch),
            roller::roller(seen, watch),
            headers::cross_origin(seen, watch),
        ],
        _ if seen.plain_head.is_some() => vec![address::address(seen)],
        _ => Vec::new(),
    };
    let findings = before_stream.into_iter().flatten().chain(of_stream);
    let findings = findings.chain(proofs::proofs(seen));
    findings.map(|finding| lines::of_front(finding, seen.front)).collect()
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
    fn a_good_stream_has_no_fault() {
        let findings = judge(&samples::rollcast());
        let not_fine = findings.iter().filter(|finding| finding.verdict != Verdict::Fine);
        let not_fine: Vec<_> = not_fine.map(|f| (f.check, f.verdict)).collect();
        assert_eq!(not_fine, [("connections", Verdict::Note)], "{findings:#?}");
        assert_eq!(findings.len(), 15);
    }
}
