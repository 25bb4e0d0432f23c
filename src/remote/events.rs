//! What an event stream says, piece by piece as it arrives.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>.

/// Bytes of one line, and of one event's data, that are looked at: what comes without an end is no
/// event stream.
const LINE_BYTES: usize = 1 << 20;

/// A part of a stream that means something by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Something for the page.
    Event {
        /// `message` where the stream names none.
        name: String,
        /// The last event id that this event itself set.
        id: Option<String>,
        /// Its lines, joined.
        data: String,
    },
    /// A reconnection time, in milliseconds.
    Retry(u64),
    /// A line that keeps the connection busy.
    Comment,
}

/// Turns bytes into frames. Fields may come in any pieces.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed right after it ends nothing.
    after_return: bool,
    started: bool,
    name: String,
    id: Option<String>,
    data: Option<String>,
}

impl Parser {
    /// The frames that these bytes complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    frames.extend(self.end_line(&String::from_utf8_lossy(&line)));
                }
                _ => {
                    self.after_return = false;
                    if self.line.len() < LINE_BYTES {
                        self.line.push(byte);
                    }
                }
            }
        }
        frames
    }

    fn end_line(&mut self, line: &str) -> Option<Frame> {
        // One byte order mark, at the very beginning.
        let line = if self.started { line } else { line.strip_prefix('\u{FEFF}').unwrap_or(line) };
        self.started = true;
        if line.is_empty() {
            let (name, id) = (std::mem::take(&mut self.name), self.id.take());
            let name = if name.is_empty() { "message".into() } else { name };
            return self.data.take().map(|data| Frame::Event { name, id, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => return Some(Frame::Comment),
            "event" => self.name = value.into(),
            "id" if !value.contains('\0') => self.id = Some(value.into()),
            "data" => match &mut self.data {
                Some(data) if data.len() + value.len() >= LINE_BYTES => {}
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.into()),
            },
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                return value.parse().ok().map(Frame::Retry);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: Option<&str>, data: &str) -> Frame {
        Frame::Event { name: name.into(), id: id.map(String::from), data: data.into() }
    }

    #[test]
    fn frames_are_the_same_in_whatever_pieces_they_come() {
        let text = "\u{FEFF}: hello\r\nretry: 10\rretry: soon\n\nevent: sync\ndata: {}\n\n\
                    id: 4-17\r\ndata:a\r\ndata: b\r\n\r\nid: 5\n\nnonsense\ndata\n\nevent: x\n\n";
        let expected = [
            Frame::Comment,
            Frame::Retry(10),
            event("sync", None, "{}"),
            event("message", Some("4-17"), "a\nb"),
            event("message", None, ""),
        ];
        for size in [1, 2, 3, 7, 1_000] {
            let mut parser = Parser::default();
            let frames: Vec<Frame> =
                text.as_bytes().chunks(size).flat_map(|bytes| parser.feed(bytes)).collect();
            assert_eq!(frames, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn data_without_an_end_is_kept_up_to_a_limit() {
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(1_000));
        for _ in 0..3_000 {
            assert_eq!(parser.feed(line.as_bytes()), []);
        }
        let [Frame::Event { data, .. }] = &parser.feed(b"\n")[..] else { panic!("no event") };
        assert!(data.len() > LINE_BYTES / 2 && data.len() <= LINE_BYTES, "{} bytes", data.len());
    }

    #[test]
    fn what_is_not_complete_is_no_event() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"id: 1\ndata: half"), []);
        assert_eq!(parser.feed(b"\n"), []);
        assert_eq!(parser.feed(b"\n"), [event("message", Some("1"), "half")]);
    }
}
