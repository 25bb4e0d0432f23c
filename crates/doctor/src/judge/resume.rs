//! Whether a client that reconnects continues where it was.

use event_stream::parser::Frame;
use serde_json::Value;

use crate::judge::{Finding, fault, fine, unknown};
use crate::rollcast::sync;
use crate::visit::Observations;

const LAST_EVENT_ID: &str = "nginx: no `proxy_set_header Last-Event-ID`, no \
                             `proxy_pass_request_headers off;` in the stream's location";
const ONE_HISTORY: &str =
    "all servers behind one URL must have one history; nginx: one `server` in the `upstream`";

/// Whether a client that reconnects continues where it was.
pub fn resume(seen: &Observations) -> Finding {
    const NAME: &str = "resume";
    let Some(reconnect) = &seen.reconnect else {
        return unknown(NAME, "the events have no ids");
    };
    let sent = format!("reconnected with `Last-Event-ID: {}`", reconnect.last_event_id);
    let frames = match &reconnect.frames {
        Ok(frames) => frames,
        Err(why) => return unknown(NAME, format!("{sent}: {why}")),
    };
    if let Some(sync) = frames.iter().find_map(sync) {
        let text = |name| sync.get(name).and_then(Value::as_str).unwrap_or_default();
        return match text("mode") {
            "resumed" => fine(NAME, format!("{sent}: the stream continued there")),
            "live" => fault(NAME, format!("{sent}: the server did not receive it"), LAST_EVENT_ID),
            mode => {
                let saw = format!("{sent}: the answer was `{mode}` ({})", text("reason"));
                fault(NAME, saw, ONE_HISTORY)
            }
        };
    }
    match frames.iter().find_map(Frame::id) {
        Some(id) if reconnect.later_ids.iter().any(|later| later == id) => {
            fine(NAME, format!("{sent}: the stream continued there"))
        }
        Some(id) => unknown(
            NAME,
            format!(
                "{sent}: the next event was `{id}`. The server does not repeat events, or \
                 Last-Event-ID is lost on the way"
            ),
        ),
        None => unknown(NAME, format!("{sent}: no event with an id arrived")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Unknown};
    use crate::judge::samples::{self, event, expect, foreign, rollcast, watch};
    use crate::response::NoResponse;
    use crate::watch::End;

    #[test]
    fn the_first_event_shows_whether_the_last_event_id_arrived() {
        let sync = |mode| Ok(vec![Frame::Retry(1_000), samples::sync(mode)]);
        let id = |id| Ok(vec![event("x", Some(id), "y")]);
        let table = [
            ("resumed", sync("resumed"), Fine, "the stream continued there"),
            ("live", sync("live"), Fault, "`proxy_pass_request_headers off;`"),
            ("reset", sync("reset"), Fault, "one history"),
            ("the next one", id("49-2"), Fine, "the stream continued there"),
            (
                "its id alone",
                Ok(vec![Frame::Id("49-2".into()), event("x", None, "y")]),
                Fine,
                "the stream continued there",
            ),
            ("some other", id("77"), Unknown, "is lost on the way"),
            ("nothing", Ok(vec![]), Unknown, "no event with an id arrived"),
            (
                "no answer",
                Err(NoResponse::TimedOut(Duration::from_secs(5))),
                Unknown,
                "no answer in 5.0 s",
            ),
        ];
        for (case, frames, verdict, text) in table {
            let mut seen = rollcast();
            seen.reconnect.as_mut().expect("one").frames = frames;
            expect(case, &resume(&seen), verdict, text);
        }
        let seen = foreign(watch(vec![], End::Open, 1_000));
        expect("no ids", &resume(&seen), Unknown, "no ids");
    }
}
