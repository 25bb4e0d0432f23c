//! Observations for the tests of judgements: a good rollcast behind nginx, to be spoilt.

use std::time::Duration;

use event_stream::parser::Frame;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::connection::{Connection, Tls};
use crate::front::Front;
use crate::judge::{Finding, Verdict};
use crate::response::Head;
use crate::rollcast::{Checkpoint, PageRolls};
use crate::visit::{Log, Observations, Page, Reconnect};
use crate::watch::{Arrival, End, Watch};

/// When the visit began, in Unix milliseconds: 2026-11-23T01:37:40Z.
pub const START_MS: i64 = 1_795_397_860_000;
const DATE: &str = "Mon, 23 Nov 2026 01:37:40 GMT";

/// The head of a 200 with the usual headers and these.
pub fn head(headers: &[(&str, &str)]) -> Head {
    let mut map = HeaderMap::new();
    let usual = [("date", DATE), ("server", "nginx")];
    for (name, value) in usual.iter().chain(headers) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        if usual.iter().any(|(usual, _)| *usual == name.as_str()) {
            map.remove(&name);
        }
        map.append(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    Head {
        url: "http://dice.example.org/stream/".parse().expect("an address"),
        redirects: vec![],
        status: 200,
        headers: map,
        after: Duration::from_millis(3),
        at: Timestamp::from_millisecond(START_MS + 500).expect("a moment"),
    }
}

/// The head of a stream as rollcast sends it, and then these headers.
pub fn stream_head(headers: &[(&str, &str)]) -> Head {
    let usual = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("access-control-allow-origin", "*"),
    ];
    head(&[&usual, headers].concat())
}

/// Frames and after how many milliseconds each arrived.
pub fn watch(frames: Vec<(u64, Frame)>, end: End, lasted_ms: u64) -> Watch {
    let arrival = |(ms, frame)| Arrival { at: Duration::from_millis(ms), frame };
    Watch {
        head: stream_head(&[]),
        started: Timestamp::from_millisecond(START_MS).expect("a moment"),
        arrivals: frames.into_iter().map(arrival).collect(),
        end,
        lasted: Duration::from_millis(lasted_ms),
    }
}

/// An event.
pub fn event(name: &str, id: Option<&str>, data: &str) -> Frame {
    Frame::Event { name: name.into(), id: id.map(String::from), data: data.into() }
}

/// A `sync` event whose newest roll is roll 40.
pub fn sync(mode: &str) -> Frame {
    let data = format!(r#"{{"mode":"{mode}","head":"40-{}","replay":0,"lost":0}}"#, START_MS - 100);
    event("sync", None, &data)
}

/// The first frames at once, then rolls: the milliseconds after which each arrived and was made.
pub fn rolls(times_ms: &[(u64, i64)]) -> Vec<(u64, Frame)> {
    let first = [(3, Frame::Retry(2_000)), (3, sync("live"))];
    let rolls = times_ms.iter().zip(41..).map(|((arrived, made), id)| {
        let id = format!("{id}-{}", START_MS + made);
        (*arrived, event("message", Some(&id), r#"{"1D6":4}"#))
    });
    first.into_iter().chain(rolls).collect()
}

/// All as it should be, with a roll every second for ten seconds.
pub fn rollcast() -> Observations {
    let steady: Vec<_> = (1..=9).map(|n| (n * 1_000 + 2, n as i64 * 1_000)).collect();
    let reported = [("rollcast-client", "203.0.113.7")];
    Observations {
        connection: Connection {
            local: "203.0.113.7".parse().expect("one"),
            remote: "203.0.113.80".parse().expect("one"),
            tls: None,
        },
        front: Front::Nginx,
        proxy: None,
        page: Some(Ok(Page {
            head: Head {
                url: "http://dice.example.org/".parse().expect("an address"),
                ..head(&[("content-type", "text/html"), ("cache-control", "no-cache")])
            },
            rolls: Some(PageRolls {
                every: Duration::from_secs(1),
                newest: format!("40-{}", START_MS - 100).parse().ok(),
            }),
        })),
        url: "http://dice.example.org/stream/".parse().expect("an address"),
        compressed: None,
        stream: Ok(watch(rolls(&steady), End::Open, 10_000)),
        is_door: false,
        plain_head: Some(stream_head(&reported)),
        forged_head: Some(stream_head(&reported)),
        forged_list_head: Some(stream_head(&reported)),
        log: Some(Ok(log(49))),
        reconnect: Some(Reconnect {
            last_event_id: "48-1".into(),
            later_ids: vec!["49-2".into()],
            frames: Ok(vec![Frame::Retry(2_000), sync("resumed")]),
        }),
        at_once: (0..8).map(|_| Ok((stream_head(&[]), vec![sync("live")]))).collect(),
    }
}

/// The same as [`rollcast`] at a fan-out door with TLS, whose page is elsewhere.
pub fn door() -> Observations {
    let mut seen = rollcast();
    seen.connection.tls = Some(Tls::Trusted { http2: false, expires_soon: false });
    seen.url = "https://dice.example.org:8443/stream/".parse().expect("an address");
    seen.watched().head.url = seen.url.clone();
    if let Some(Ok(page)) = &mut seen.page {
        page.head.url = "https://dice.example.org/".parse().expect("an address");
    }
    Observations { is_door: true, front: Front::Door, ..seen }
}

/// The log with its first `n_rolls` rolls, as read 12 s after the watch began.
pub fn log(n_rolls: i64) -> Log {
    let at = Timestamp::from_millisecond(START_MS + 12_000).expect("a moment");
    let checkpoint = Checkpoint { n_rolls };
    let tile = head(&[("content-type", "application/octet-stream")]);
    Log {
        head: Head { at, ..head(&[("cache-control", "no-cache")]) },
        newest: Some((checkpoint, Ok((tile, checkpoint.newest_tile().1)))),
    }
}

/// The same as [`rollcast`] for a stream that is not rollcast's.
pub fn foreign(watch: Watch) -> Observations {
    let head = Some(stream_head(&[]));
    Observations {
        page: None,
        stream: Ok(watch),
        plain_head: head.clone(),
        forged_head: head.clone(),
        forged_list_head: head,
        log: None,
        reconnect: None,
        ..rollcast()
    }
}

impl Observations {
    /// The watch of the stream, to spoil.
    pub fn watched(&mut self) -> &mut Watch {
        self.stream.as_mut().expect("a sample has a watch")
    }
}

/// Asserts the verdict of a finding, and a part of its texts.
#[track_caller]
pub fn expect(case: &str, finding: &Finding, verdict: Verdict, text: &str) {
    let all = format!("{} {}", finding.saw, finding.change.as_deref().unwrap_or_default());
    assert_eq!(finding.verdict, verdict, "{case}: {finding:?}");
    assert!(all.contains(text), "{case}: expected `{text}` in {finding:?}");
    let wants_change = matches!(verdict, Verdict::Fault | Verdict::Note);
    assert_eq!(finding.change.is_some(), wants_change, "{case}: {finding:?}");
}
