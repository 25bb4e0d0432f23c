//! Whether several people behind one address get a stream each.

use serde_json::Value;

use crate::judge::answer::{LIMITS, status_remedy};
use crate::judge::{Finding, fault, fine, seconds, unknown};
use crate::response::NoResponse;
use crate::rollcast::busy;
use crate::visit::Observations;

const CONNECTIONS: &str =
    "nginx: more `worker_connections`, each stream takes two, and `worker_rlimit_nofile`";

/// Whether several people behind one address get a stream each.
pub fn limit(seen: &Observations) -> Finding {
    const NAME: &str = "limit";
    let n_streams = seen.at_once.len();
    let one = format!("1 of {n_streams} streams at once");
    for opened in &seen.at_once {
        match opened {
            Ok((head, _)) if head.status != 200 => {
                let status = head.status;
                let saw = format!("{one} got status {status}: an EventSource gives up for good");
                let change = match status {
                    429 | 503 => LIMITS,
                    status => status_remedy(seen, status),
                };
                return fault(NAME, saw, change);
            }
            Ok((_, frames)) => {
                let Some(busy) = frames.iter().find_map(busy) else { continue };
                let limit = busy.get("limit").and_then(Value::as_u64).unwrap_or_default();
                return match busy.get("reason").and_then(Value::as_str) {
                    Some("address") => fault(
                        NAME,
                        format!(
                            "at most {limit} streams per client address, fewer than {n_streams}: \
                             a household or a class shares one address"
                        ),
                        "rollcast: a higher `max_streams_per_address` in Rocket.toml",
                    ),
                    _ => fault(
                        NAME,
                        format!("all {limit} streams are in use"),
                        "rollcast: a higher `max_streams` in Rocket.toml",
                    ),
                };
            }
            Err(NoResponse::TimedOut(after)) => {
                return unknown(NAME, format!("{one} got no answer in {}", seconds(*after)));
            }
            Err(NoResponse::Failed(why)) => {
                return fault(NAME, format!("{one} failed: {why}"), CONNECTIONS);
            }
        }
    }
    fine(NAME, format!("{n_streams} streams at once, all open"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use event_stream::parser::Frame;

    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Unknown};
    use crate::judge::samples::{event, expect, rollcast, stream_head, sync};

    #[test]
    fn a_stream_that_is_refused_shows_which_limit_is_reached() {
        let with = |status, frames: Vec<Frame>| {
            let mut head = stream_head(&[]);
            head.status = status;
            Ok((head, frames))
        };
        let busy = |reason| event("busy", None, &format!(r#"{{"reason":"{reason}","limit":4}}"#));
        let table = [
            ("open", with(200, vec![sync("live")]), Fine, "8 streams"),
            ("address", with(200, vec![busy("address")]), Fault, "`max_streams_per_address`"),
            ("total", with(200, vec![busy("total")]), Fault, "`max_streams`"),
            ("503", with(503, vec![]), Fault, "`limit_conn`"),
            ("500", with(500, vec![]), Fault, "`worker_connections`"),
            ("reset", Err(NoResponse::Failed("reset".into())), Fault, "`worker_rlimit_nofile`"),
            ("silent", Err(NoResponse::TimedOut(Duration::from_secs(5))), Unknown, "5.0 s"),
        ];
        for (case, one, verdict, text) in table {
            let mut seen = rollcast();
            seen.at_once[5] = one;
            expect(case, &limit(&seen), verdict, text);
        }
    }
}
