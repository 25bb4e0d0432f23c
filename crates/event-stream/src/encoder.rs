//! Writes events, reconnection times and comments as bytes.

use std::io::Write;
use std::time::Duration;

/// One event: a block of fields that ends with a blank line.
///
/// It always has data. A block without data is no event, and some clients report an empty one
/// for it. For the same reason the reconnection time is a field of an event.
///
/// ```
/// use std::time::Duration;
///
/// use event_stream::encoder::Event;
///
/// let mut out = Vec::new();
/// let retry = Some(Duration::from_millis(2_500));
/// Event { name: Some("sync"), retry, data: "{\"replay\":2}", ..Event::default() }
///     .write(&mut out)?;
/// Event { id: Some("40"), data: "two\nlines", ..Event::default() }.write(&mut out)?;
/// assert_eq!(
///     String::from_utf8_lossy(&out),
///     "retry: 2500\nevent: sync\ndata: {\"replay\":2}\n\nid: 40\ndata: two\ndata: lines\n\n"
/// );
/// # Ok::<(), event_stream::encoder::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's type; a client takes an event without one for a `message`.
    pub name: Option<&'a str>,
    /// What a client that reconnects sends as its `Last-Event-ID`. `Some("")` resets it.
    pub id: Option<&'a str>,
    /// How long a client waits before it reconnects, from now on; in whole milliseconds.
    pub retry: Option<Duration>,
    /// The payload. Each line break (CRLF, LF or CR) reaches the client as one LF.
    pub data: &'a str,
}

/// A value that the format cannot represent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} in the field `{field}` of an event, got `{}`", .value.escape_debug())]
pub struct EncodeError {
    field: &'static str,
    expected: &'static str,
    value: String,
}

impl Event<'_> {
    /// Appends the event to `out`. Allocates nothing else.
    ///
    /// # Errors
    ///
    /// The name or the id contains a line break, or the id contains a NUL, because of which
    /// clients ignore it. Then `out` is left as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let refuse = |field, expected, value: &str| {
            Err(EncodeError { field, expected, value: value.to_string() })
        };
        if let Some(name) = self.name.filter(|name| name.contains(['\n', '\r'])) {
            return refuse("event", "one line", name);
        }
        if let Some(id) = self.id.filter(|id| id.contains(['\n', '\r', '\0'])) {
            return refuse("id", "one line without NUL", id);
        }
        if let Some(retry) = self.retry {
            write_retry(retry, out);
        }
        if let Some(name) = self.name {
            write_field("event", name, out);
        }
        if let Some(id) = self.id {
            write_field("id", id, out);
        }
        for line in lines(self.data) {
            write_field("data", line, out);
        }
        out.push(b'\n');
        Ok(())
    }
}

/// Appends a comment: one comment line for each line of `text`, without a blank line. Clients
/// ignore comments, so an empty one serves as a heartbeat.
///
/// ```
/// let mut out = Vec::new();
/// event_stream::encoder::write_comment("", &mut out);
/// assert_eq!(out, b":\n");
/// ```
pub fn write_comment(text: &str, out: &mut Vec<u8>) {
    for line in lines(text) {
        write_field("", line, out);
    }
}

/// Appends a reconnection time by itself, for the end of a stream that has no event to carry it.
/// A client applies it when the line is complete, so no blank line follows.
///
/// ```
/// use std::time::Duration;
///
/// let mut out = Vec::new();
/// event_stream::encoder::write_retry(Duration::from_secs(3), &mut out);
/// assert_eq!(out, b"retry: 3000\n");
/// ```
pub fn write_retry(retry: Duration, out: &mut Vec<u8>) {
    writeln!(out, "retry: {}", retry.as_millis()).expect("a vector takes every write");
}

fn write_field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if !value.is_empty() {
        // A client removes one space after the colon, so a leading space in the value survives.
        out.push(b' ');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'\n');
}

/// The lines of a text, whatever ends them; one empty line for an empty text.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let n_bytes = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + n_bytes..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{Frame, Parser};

    fn written(event: Event<'_>) -> String {
        let mut out = Vec::new();
        event.write(&mut out).expect("the format can represent it");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_event_is_one_block_with_its_reconnection_time_inside() {
        let all = Event {
            name: Some("sync"),
            id: Some("40-17"),
            retry: Some(Duration::from_micros(1_500_999)),
            data: "{}",
        };
        let table = [
            (all, "retry: 1500\nevent: sync\nid: 40-17\ndata: {}\n\n"),
            (Event { data: "{}", ..Event::default() }, "data: {}\n\n"),
            (Event::default(), "data:\n\n"),
            (Event { id: Some(""), data: "x", ..Event::default() }, "id:\ndata: x\n\n"),
        ];
        for (event, expected) in table {
            assert_eq!(written(event), expected, "{event:?}");
        }
    }

    #[test]
    fn a_parser_reads_back_the_data_that_was_written() {
        let table = [
            ("", ""),
            ("a\nb", "a\nb"),
            ("a\r\nb\rc\n", "a\nb\nc\n"),
            ("\n\r\r\n", "\n\n\n"),
            (" leading: colon", " leading: colon"),
            ("id: 7\nretry: 1", "id: 7\nretry: 1"),
            ("\u{FEFF}ü\0", "\u{FEFF}ü\0"),
        ];
        for (data, expected) in table {
            let text = written(Event { name: Some(" x"), id: Some(" 1"), data, retry: None });
            let frame =
                Frame::Event { name: " x".into(), id: Some(" 1".into()), data: expected.into() };
            assert_eq!(Parser::default().feed(text.as_bytes()), [frame], "{data:?}");
        }
    }

    #[test]
    fn a_name_or_id_that_would_end_its_line_is_refused_and_nothing_is_written() {
        let with_name = |name| Event { name: Some(name), data: "x", ..Event::default() };
        let with_id = |id| Event { id: Some(id), data: "x", ..Event::default() };
        let table = [
            (with_name("a\nb"), r"expected one line in the field `event` of an event, got `a\nb`"),
            (with_name("\r"), r"expected one line in the field `event` of an event, got `\r`"),
            (
                with_id("1\r"),
                r"expected one line without NUL in the field `id` of an event, got `1\r`",
            ),
            (
                with_id("\0"),
                r"expected one line without NUL in the field `id` of an event, got `\0`",
            ),
        ];
        for (event, expected) in table {
            let mut out = b"before".to_vec();
            let error = event.write(&mut out).expect_err("the format cannot represent it");
            assert_eq!((error.to_string().as_str(), &out[..]), (expected, &b"before"[..]));
        }
    }

    #[test]
    fn each_line_of_a_comment_is_a_comment_line_and_none_is_blank() {
        let mut out = Vec::new();
        write_comment("a\r\n\nid: 1", &mut out);
        write_retry(Duration::from_secs(3), &mut out);
        assert_eq!(out, b": a\n:\n: id: 1\nretry: 3000\n");
        let frames = Parser::default().feed(&out);
        assert_eq!(frames, [Frame::Comment, Frame::Comment, Frame::Comment, Frame::Retry(3_000)]);
    }
}
