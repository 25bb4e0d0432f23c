//! An answer as bytes, read to its end, or to the end of the replay of a stream.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::connect;

/// An answer without what may differ between two answers to one request: the date, the order of
/// headers, the sizes of chunks, and the numbers after `retry`.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: String,
    /// `name: value`, sorted.
    pub headers: Vec<String>,
    pub body: String,
    /// Whether the body has ended.
    pub is_whole: bool,
}

impl Answer {
    /// Sends a request and reads the answer. Returns the connection as well.
    pub fn to(port: u16, request: &str) -> (Answer, TcpStream) {
        let mut socket = connect(port, request);
        let is_head = request.starts_with("HEAD ");
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let n_bytes = socket.read(&mut piece).unwrap();
            bytes.extend_from_slice(&piece[..n_bytes]);
            match Answer::read(&bytes, is_head, n_bytes == 0) {
                Some(answer) => return (answer, socket),
                None if n_bytes == 0 => panic!("no answer to {request}: {}", bytes.escape_ascii()),
                None => {}
            }
        }
    }

    /// The answer in these bytes; `None` if they are not enough, or not an answer.
    fn read(bytes: &[u8], is_head: bool, has_ended: bool) -> Option<Answer> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.to_string();
        let mut headers: Vec<String> = lines
            .filter(|line| !line.starts_with("date: "))
            .map(|line| match line.strip_prefix("retry-after: ") {
                Some(seconds) if seconds.parse::<u64>().is_ok() => "retry-after: N".into(),
                _ => line.to_string(),
            })
            .collect();
        headers.sort();
        let sent = &bytes[end + 4..];
        let has = |header: &str| headers.iter().any(|line| line == header);
        let length = headers.iter().find_map(|line| line.strip_prefix("content-length: "));
        let (body, is_whole) = if is_head || status.contains(" 204 ") {
            (Vec::new(), true)
        } else if let Some(length) = length {
            let length = length.parse().ok()?;
            (sent.get(..length)?.to_vec(), true)
        } else if has("transfer-encoding: chunked") {
            unchunked(sent)?
        } else {
            (sent.to_vec(), has_ended)
        };
        let body = without_retry(&String::from_utf8(body).ok()?);
        let is_replay_whole = has("content-type: text/event-stream") && has_replay(&body);
        (is_whole || is_replay_whole).then_some(Answer { status, headers, body, is_whole })
    }
}

/// The data of all whole chunks, and whether the last one is among them.
fn unchunked(mut bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
            return Some((body, false));
        };
        let size = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let Some((chunk, rest)) = bytes[end + 2..].split_at_checked(size + 2) else {
            return Some((body, false));
        };
        let chunk = chunk.strip_suffix(b"\r\n")?;
        if chunk.is_empty() {
            return Some((body, true));
        }
        body.extend_from_slice(chunk);
        bytes = rest;
    }
}

/// Replaces the number of each `retry`.
fn without_retry(body: &str) -> String {
    let lines = body.split('\n').map(|line| match line.strip_prefix("retry: ") {
        Some(millis) if millis.parse::<u64>().is_ok() => "retry: N",
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether these are a `sync` and all rolls that it announces.
fn has_replay(body: &str) -> bool {
    let Some((sync, rolls)) = body.split_once("\n\n") else { return false };
    let sync = sync.lines().find_map(|line| line.strip_prefix("data: "));
    let sync = sync.and_then(|data| serde_json::from_str::<Value>(data).ok());
    let n_rolls = sync.and_then(|sync| sync["replay"].as_u64());
    n_rolls.is_some_and(|n_rolls| rolls.matches("\n\n").count() as u64 == n_rolls)
}

/// Whether the server answers another request on this connection.
pub fn is_kept(mut socket: &TcpStream) -> bool {
    let _ = socket.write_all(b"HEAD /stream/ HTTP/1.1\r\nHost: x\r\n\r\n");
    matches!(socket.read(&mut [0; 512]), Ok(1..))
}

#[test]
fn a_change_of_any_byte_of_an_answer_is_noticed() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                date: Sat, 28 Nov 2026 02:02:15 GMT\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = "retry: 2345\nevent: sync\ndata: {\"mode\":\"resumed\",\"replay\":1}\n\n\
                id: 1-17\ndata: {\"1D6\":4}\n\n";
    let sent = format!("{head}{:X}\r\n{body}\r\n", body.len());
    let answer = Answer::read(sent.as_bytes(), false, false).unwrap();
    assert!(answer.body.starts_with("retry: N\nevent: sync\n") && !answer.is_whole);
    let may_differ = ["Sat, 28 Nov 2026 02:02:15 GMT", "2345"];
    let may_differ = may_differ.map(|text| {
        let start = sent.find(text).unwrap();
        start..start + text.len()
    });
    for place in 0..sent.len() {
        let mut changed = sent.clone().into_bytes();
        changed[place] = if changed[place] == b'7' { b'8' } else { b'7' };
        let changed = Answer::read(&changed, false, false);
        let is_allowed = may_differ.iter().any(|range| range.contains(&place));
        let is_same = changed.as_ref() == Some(&answer);
        assert_eq!(is_same, is_allowed, "byte {place}: {changed:#?}");
    }
    // A different order of headers and other chunks are the same answer, a lost header is not.
    let (first, second) = body.split_at(20);
    let in_two = format!("{:X}\r\n{first}\r\n{:X}\r\n{second}\r\n", first.len(), second.len());
    let other = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ndate: now\r\n\
                 content-type: text/event-stream\r\n\r\n";
    let other = Answer::read(format!("{other}{in_two}").as_bytes(), false, false);
    assert_eq!(other.as_ref(), Some(&answer));
    let (before, after) = sent.split_once("content-type: text/event-stream\r\n").unwrap();
    assert_eq!(Answer::read(format!("{before}{after}").as_bytes(), false, true), None);
}
