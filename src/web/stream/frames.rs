//! The frames of a stream other than its rolls.
//!
//! None of them is a block without data, because some clients make an empty event of such a
//! block. So `retry` is a field of an event that has data, and a heartbeat is a single line.

use std::ops::RangeInclusive;
use std::time::Duration;

use event_stream::encoder::{Event, write_comment};
use serde::Serialize;

use crate::feed::{Mode, Reason, SyncEvent};
use crate::web::http::permits::Busy;
use crate::web::stream::{BUSY_RETRY_MS, RETRY_MS};

/// Why a stream ends that the server ends.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Closing {
    /// The server stops.
    Shutdown,
    /// This node of a fleet does not have the client's roll yet.
    Behind,
    /// The history cannot be read.
    Unreadable,
}

/// How the rolls that follow continue those of the client.
pub fn sync(sync: &SyncEvent) -> Vec<u8> {
    let (mode, reason) = words(sync.mode);
    let (head, SyncEvent { replay, lost, .. }) = (sync.head.to_string(), *sync);
    event("sync", RETRY_MS, &SyncJson { mode, reason, head, replay, lost })
}

/// There are too many streams.
pub fn busy(busy: &Busy) -> Vec<u8> {
    event("busy", BUSY_RETRY_MS, busy)
}

/// The end of the stream follows.
pub fn closing(reason: Closing) -> Vec<u8> {
    #[derive(Serialize)]
    struct ClosingJson {
        reason: Closing,
    }
    event("closing", RETRY_MS, &ClosingJson { reason })
}

/// Keeps the connection busy.
pub fn heartbeat() -> Vec<u8> {
    let mut frame = Vec::new();
    write_comment("", &mut frame);
    frame
}

/// The word for a mode in the metrics: the reason of a reset says more than `reset`.
pub fn verdict(mode: Mode) -> &'static str {
    let (mode, reason) = words(mode);
    reason.unwrap_or(mode)
}

fn words(mode: Mode) -> (&'static str, Option<&'static str>) {
    match mode {
        Mode::Live => ("live", None),
        Mode::Resumed => ("resumed", None),
        Mode::Reset(Reason::Pruned) => ("reset", Some("pruned")),
        Mode::Reset(Reason::Unreadable) => ("reset", Some("unreadable")),
        Mode::Reset(Reason::Unknown | Reason::Ahead) => ("reset", Some("unknown")),
        Mode::Reset(Reason::Malformed) => ("reset", Some("malformed")),
    }
}

#[derive(Serialize)]
struct SyncJson {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    head: String,
    replay: u64,
    lost: Option<u64>,
}

fn event(name: &str, retry_ms: RangeInclusive<u64>, data: &impl Serialize) -> Vec<u8> {
    let data = serde_json::to_string(data).expect("plain structs become JSON");
    let retry = Some(Duration::from_millis(rand::random_range(retry_ms)));
    let mut frame = Vec::new();
    let event = Event { name: Some(name), retry, data: &data, id: None };
    event.write(&mut frame).expect("the names above are one line");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::http::permits::BusyReason;

    use event_stream::parser::{Frame, Parser};

    /// A frame's retry, event name and data; the frame must be one block.
    fn read(frame: &[u8]) -> (u64, String, String) {
        let text = std::str::from_utf8(frame).expect("text");
        assert!(text.find("\n\n") == Some(text.len() - 2), "more than one block: {text:?}");
        match Parser::default().feed(frame).as_slice() {
            [Frame::Retry(retry), Frame::Event { name, id: None, data }] => {
                (*retry, name.clone(), data.clone())
            }
            frames => panic!("expected a retry and an event without an id, got {frames:?}"),
        }
    }

    #[test]
    fn each_event_is_one_block_with_a_retry_inside() {
        let head = "41-17".parse().expect("a cursor");
        let resumed = SyncEvent {
            mode: Mode::Resumed,
            head,
            replay: 2,
            lost: Some(0),
            start: "39".parse().expect("an id"),
        };
        let (retry, name, data) = read(&sync(&resumed));
        assert!(RETRY_MS.contains(&retry), "{retry}");
        let json = r#"{"mode":"resumed","head":"41-17","replay":2,"lost":0}"#;
        assert_eq!((name.as_str(), data.as_str()), ("sync", json));

        let ahead =
            SyncEvent { mode: Mode::Reset(Reason::Ahead), replay: 0, lost: None, ..resumed };
        let json = r#"{"mode":"reset","reason":"unknown","head":"41-17","replay":0,"lost":null}"#;
        assert_eq!(read(&sync(&ahead)).2, json);

        let (retry, name, data) = read(&busy(&Busy { reason: BusyReason::Total, limit: 3 }));
        assert!(BUSY_RETRY_MS.contains(&retry), "{retry}");
        assert_eq!((name.as_str(), data.as_str()), ("busy", r#"{"reason":"total","limit":3}"#));

        let (retry, name, data) = read(&closing(Closing::Shutdown));
        assert!(RETRY_MS.contains(&retry), "{retry}");
        assert_eq!((name.as_str(), data.as_str()), ("closing", r#"{"reason":"shutdown"}"#));
    }

    #[test]
    fn a_heartbeat_is_one_line_and_no_block() {
        assert_eq!(heartbeat(), b":\n");
    }
}
