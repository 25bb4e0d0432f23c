//! Whether an `EventSource` accepts the response, or gives up for good.

use crate::front::Front;
use crate::judge::buffering::PROXY_BUFFERING;
use crate::judge::{Finding, fault, fine, in_ms, seconds};
use crate::response::NoResponse;
use crate::rollcast::STREAM_PATH;
use crate::visit::Observations;

/// How to let more streams through nginx.
pub const LIMITS: &str = "nginx: a higher `limit_conn`, or none in the stream's location: any \
                          status but 200 ends an EventSource for good";
const CONTENT_TYPE: &str = "nginx: the stream's location must `proxy_pass` to the application, \
                            without `proxy_hide_header Content-Type;` and `default_type`";

/// Why the fan-out door closes connections, or does not understand requests.
const PROXY_PROTOCOL: &str = "rollcast: in `[default.rollcast.fanout]`, `proxy_protocol = true` if the \
                              proxy in front sends the PROXY protocol, and only then; its address is \
                              in `trusted_proxies`";
const DOOR: &str = "the port must be open, and where `public_url` says";

/// What to change when there is no answer.
pub fn no_answer_remedy(seen: &Observations) -> String {
    match may_be_door(seen) {
        true => format!("{PROXY_PROTOCOL}; {DOOR}"),
        false => "nginx: `proxy_pass`, and the error log".into(),
    }
}

/// Whether this may be a fan-out door with no proxy that reads HTTP before it.
fn may_be_door(seen: &Observations) -> bool {
    let is_direct = matches!(seen.front, Front::Rollcast | Front::Door | Front::Other);
    let is_unknown = !seen.is_rollcast() && seen.url.path() == STREAM_PATH;
    is_direct && (seen.is_door || is_unknown)
}

/// Whether an `EventSource` accepts the response.
pub fn answer(seen: &Observations) -> Option<Finding> {
    const NAME: &str = "answer";
    let head = match &seen.stream {
        Ok(watch) => &watch.head,
        Err(NoResponse::TimedOut(after)) if seen.is_rollcast() => {
            let after = seconds(*after);
            let saw =
                format!("no answer in {after}, not even headers: rollcast sends them at once");
            return Some(fault("buffering", saw, PROXY_BUFFERING));
        }
        Err(NoResponse::TimedOut(after)) => {
            let after = seconds(*after);
            let saw = format!(
                "no answer in {after}, not even headers: an EventSource opens only when they arrive"
            );
            let change = format!(
                "the application: send the headers before the first event; {PROXY_BUFFERING}"
            );
            return Some(fault(NAME, saw, &change));
        }
        Err(NoResponse::Failed(why)) => {
            return Some(fault(NAME, why.clone(), &no_answer_remedy(seen)));
        }
    };
    let content_type = head.content_type();
    Some(if head.status != 200 {
        let saw = format!("status {}: an EventSource gives up for good", head.status);
        fault(NAME, saw, status_remedy(seen, head.status))
    } else if content_type != "text/event-stream" {
        let saw = match &*content_type {
            "" => "no content type: an EventSource gives up for good".into(),
            other => format!("content type `{other}`: an EventSource gives up for good"),
        };
        fault(NAME, saw, CONTENT_TYPE)
    } else {
        fine(NAME, format!("200, text/event-stream, {}", in_ms(head.after)))
    })
}

/// What to change when a page or a stream has this status.
pub fn status_remedy(seen: &Observations, status: u16) -> &'static str {
    match status {
        400 if may_be_door(seen) => PROXY_PROTOCOL,
        401 | 403 => "nginx: no `auth_basic`, `allow` or `deny` in this location",
        404 | 405 => {
            "nginx: `location` and `proxy_pass` that lead to the stream; for a page that does not \
             name its stream, `rollcast doctor --stream URL`"
        }
        429 => LIMITS,
        500 => {
            "nginx: more `worker_connections`, each stream takes two; else the application's log"
        }
        502 => "nginx: `proxy_pass` to where the application listens; and is it running?",
        503 => LIMITS,
        504 => "nginx: `proxy_pass`, `proxy_connect_timeout`; and does the application answer?",
        _ => "nginx: its access log and error log show which server answered",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::judge::Verdict::{Fault, Fine};
    use crate::judge::samples::{door, expect, foreign, head, rollcast, watch};
    use crate::response::Head;
    use crate::watch::End;

    #[test]
    fn an_event_source_gives_up_on_all_but_status_200_and_the_content_type() {
        let stream = ("content-type", "text/event-stream; charset=utf-8");
        let html = ("content-type", "text/html");
        let table = [
            (200, Some(stream), Fine, "200"),
            (200, Some(html), Fault, "content type `text/html`"),
            (200, None, Fault, "no content type"),
            (204, Some(stream), Fault, "status 204"),
            (404, Some(html), Fault, "`location`"),
            (403, Some(html), Fault, "`deny`"),
            (429, Some(html), Fault, "`limit_conn`"),
            (500, Some(html), Fault, "`worker_connections`"),
            (502, Some(html), Fault, "is it running?"),
            (504, Some(html), Fault, "`proxy_connect_timeout`"),
        ];
        for (status, content_type, verdict, text) in table {
            let mut seen = rollcast();
            let headers: Vec<_> = content_type.into_iter().collect();
            seen.watched().head = head(&headers);
            seen.watched().head.status = status;
            expect(&format!("{status}"), &answer(&seen).expect("one"), verdict, text);
        }
        let mut silent = rollcast();
        silent.stream = Err(NoResponse::TimedOut(Duration::from_secs(9)));
        expect("ours", &answer(&silent).expect("one"), Fault, "`proxy_buffering off;`");
        let mut silent = foreign(watch(vec![], End::Open, 0));
        silent.stream = Err(NoResponse::TimedOut(Duration::from_secs(9)));
        expect("foreign", &answer(&silent).expect("one"), Fault, "the headers before");
        silent.stream = Err(NoResponse::Failed("reset".into()));
        expect("failed", &answer(&silent).expect("one"), Fault, "reset");
    }

    #[test]
    fn a_door_and_a_proxy_that_disagree_on_the_proxy_protocol_are_a_fault() {
        let closed = |seen: Observations| Observations {
            stream: Err(NoResponse::Failed("reset".into())),
            plain_head: None,
            ..seen
        };
        expect("page", &answer(&closed(door())).expect("one"), Fault, "`proxy_protocol = true`");
        let alone = |front| Observations { page: None, is_door: false, front, ..closed(door()) };
        let expected = "`proxy_protocol = true`";
        expect("alone", &answer(&alone(Front::Other)).expect("one"), Fault, expected);
        expect("nginx", &answer(&alone(Front::Nginx)).expect("one"), Fault, "nginx: `proxy_pass`");
        let elsewhere = "https://a.example/events".parse().expect("an address");
        let foreign = Observations { url: elsewhere, ..alone(Front::Other) };
        expect("foreign", &answer(&foreign).expect("one"), Fault, "nginx: `proxy_pass`");
        let mut misread = door();
        misread.watched().head = Head { status: 400, ..head(&[]) };
        expect("misread", &answer(&misread).expect("one"), Fault, expected);
    }
}
