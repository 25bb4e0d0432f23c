//! Things seen, for the tests of judgements: rollcast behind nginx as it should be, to be spoilt.

use std::time::Duration;

use event_stream::parser::Frame;
use jiff::Timestamp;
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use crate::doctor::client::{Answer, Arrival, Connection, End, Watch};
use crate::doctor::judge::{Finding, Verdict};
use crate::doctor::visit::{Page, PageRolls, Resumed, Seen};

/// When the visit began, in Unix milliseconds: 2026-11-23T01:37:40Z.
pub const START_MS: i64 = 1_795_397_860_000;
const DATE: &str = "Mon, 23 Nov 2026 01:37:40 GMT";

pub fn answer(headers: &[(&str, &str)]) -> Answer {
    let mut map = HeaderMap::new();
    let usual = [("date", DATE), ("server", "nginx")];
    for (name, value) in usual.iter().chain(headers) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        if usual.iter().any(|(usual, _)| *usual == name.as_str()) {
            map.remove(&name);
        }
        map.append(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    Answer {
        url: "http://dice.example.org/stream/".parse().expect("an address"),
        hops: vec![],
        status: 200,
        headers: map,
        after: Duration::from_millis(3),
        at: Timestamp::from_millisecond(START_MS + 500).expect("a moment"),
    }
}

/// A stream's answer as rollcast gives it, and then these headers.
pub fn stream_answer(headers: &[(&str, &str)]) -> Answer {
    let usual = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("access-control-allow-origin", "*"),
    ];
    answer(&[&usual, headers].concat())
}

/// What came, and after how many milliseconds.
pub fn watch(frames: Vec<(u64, Frame)>, end: End, lasted_ms: u64) -> Watch {
    let arrival = |(ms, frame)| Arrival { at: Duration::from_millis(ms), frame };
    Watch {
        answer: stream_answer(&[]),
        started: Timestamp::from_millisecond(START_MS).expect("a moment"),
        arrivals: frames.into_iter().map(arrival).collect(),
        end,
        lasted: Duration::from_millis(lasted_ms),
    }
}

pub fn event(name: &str, id: Option<&str>, data: &str) -> Frame {
    Frame::Event { name: name.into(), id: id.map(String::from), data: data.into() }
}

pub fn sync(mode: &str) -> Frame {
    let data = format!(r#"{{"mode":"{mode}","head":"40-{}","replay":0,"lost":0}}"#, START_MS - 100);
    event("sync", None, &data)
}

/// First frames at once, then rolls that came and were made after so many milliseconds.
pub fn rolls(times_ms: &[(u64, i64)]) -> Vec<(u64, Frame)> {
    let first = [(3, Frame::Retry(2_000)), (3, sync("live"))];
    let rolls = times_ms.iter().zip(41..).map(|((came, made), id)| {
        let id = format!("{id}-{}", START_MS + made);
        (*came, event("message", Some(&id), r#"{"1D6":4}"#))
    });
    first.into_iter().chain(rolls).collect()
}

/// All as it should be, with a roll a second for ten seconds.
pub fn seen() -> Seen {
    let steady: Vec<_> = (1..=9).map(|n| (n * 1_000 + 2, n as i64 * 1_000)).collect();
    let told = [("rollcast-client", "203.0.113.7")];
    Seen {
        connection: Connection { local: "203.0.113.7".parse().expect("one"), tls: None },
        page: Some(Ok(Page {
            answer: Answer {
                url: "http://dice.example.org/".parse().expect("an address"),
                ..answer(&[("content-type", "text/html"), ("cache-control", "no-cache")])
            },
            rolls: Some(PageRolls {
                every: Duration::from_secs(1),
                newest: format!("40-{}", START_MS - 100).parse().ok(),
            }),
        })),
        url: "http://dice.example.org/stream/".parse().expect("an address"),
        compressed: None,
        stream: Ok(watch(rolls(&steady), End::Left, 10_000)),
        honest: Some(stream_answer(&told)),
        forged: Some(stream_answer(&told)),
        resumed: Some(Resumed {
            last_event_id: "48-1".into(),
            later_ids: vec!["49-2".into()],
            answered: Ok(vec![Frame::Retry(2_000), sync("resumed")]),
        }),
        crowd: (0..8).map(|_| Ok((stream_answer(&[]), vec![sync("live")]))).collect(),
    }
}

/// The same for a stream that is not ours.
pub fn foreign(watch: Watch) -> Seen {
    let honest = Some(stream_answer(&[]));
    Seen { page: None, stream: Ok(watch), forged: honest.clone(), honest, resumed: None, ..seen() }
}

impl Seen {
    /// Its stream, to spoil or to judge.
    pub fn watched(&mut self) -> &mut Watch {
        self.stream.as_mut().expect("a sample was watched")
    }
}

/// Holds a judgement against what is expected of it.
#[track_caller]
pub fn expect(case: &str, finding: &Finding, verdict: Verdict, text: &str) {
    let all = format!("{} {}", finding.saw, finding.change.as_deref().unwrap_or_default());
    assert_eq!(finding.verdict, verdict, "{case}: {finding:?}");
    assert!(all.contains(text), "{case}: expected `{text}` in {finding:?}");
    let wants_change = matches!(verdict, Verdict::Fault | Verdict::Note);
    assert_eq!(finding.change.is_some(), wants_change, "{case}: {finding:?}");
}
