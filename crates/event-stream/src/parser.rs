//! Reads frames from bytes that arrive in pieces of any size.

/// How many bytes of one line, and of one event's data, are kept. The rest is dropped: input
/// without line ends is no event stream.
pub const MAX_BYTES: usize = 1 << 20;

/// One thing that a stream tells its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An event with data.
    Event {
        /// Its type; `message` where the stream names none.
        name: String,
        /// The id, if this event itself sets one. Without one, the last id before it still counts.
        id: Option<String>,
        /// The data lines, joined with LF.
        data: String,
    },
    /// The id of a block without data: no event, but the id counts from here on.
    Id(String),
    /// How long to wait before a reconnect, in milliseconds; a longer time than 64 bits can hold
    /// is [`u64::MAX`]. It comes as soon as its line is complete, so before the event whose block
    /// it is in.
    Retry(u64),
    /// A comment line.
    Comment,
}

impl Frame {
    /// The id that this frame sets. It counts until another frame sets one, and a client that
    /// reconnects sends it. An empty one resets the id.
    pub fn id(&self) -> Option<&str> {
        match self {
            Frame::Event { id, .. } => id.as_deref(),
            Frame::Id(id) => Some(id),
            Frame::Retry(_) | Frame::Comment => None,
        }
    }
}

/// Turns bytes into frames.
///
/// ```
/// use event_stream::parser::{Frame, Parser};
///
/// let mut parser = Parser::default();
/// assert_eq!(parser.feed(b"retry: 2500\nid: 40\ndata: "), [Frame::Retry(2_500)]);
/// let (name, id, data) = ("message".into(), Some("40".into()), "six".into());
/// assert_eq!(parser.feed(b"six\n\n"), [Frame::Event { name, id, data }]);
/// ```
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was a CR, so an LF right after it belongs to the same line end.
    after_return: bool,
    started: bool,
    name: String,
    id: Option<String>,
    data: Option<String>,
}

impl Parser {
    /// Takes the next bytes of the stream and returns the frames that they complete, in order.
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
                    if self.line.len() < MAX_BYTES {
                        self.line.push(byte);
                    }
                }
            }
        }
        frames
    }

    fn end_line(&mut self, line: &str) -> Option<Frame> {
        // The format allows one byte order mark, at the very beginning.
        let line = if self.started { line } else { line.strip_prefix('\u{FEFF}').unwrap_or(line) };
        self.started = true;
        if line.is_empty() {
            let (name, id) = (std::mem::take(&mut self.name), self.id.take());
            let name = if name.is_empty() { "message".into() } else { name };
            return match self.data.take() {
                Some(data) => Some(Frame::Event { name, id, data }),
                None => id.map(Frame::Id),
            };
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => return Some(Frame::Comment),
            "event" => self.name = value.into(),
            "id" if !value.contains('\0') => self.id = Some(value.into()),
            "data" => match &mut self.data {
                Some(data) if data.len() + value.len() >= MAX_BYTES => {}
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.into()),
            },
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                // Only a number beyond 64 bits is an error.
                return Some(Frame::Retry(value.parse().unwrap_or(u64::MAX)));
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
    fn frames_do_not_depend_on_how_the_bytes_are_cut() {
        let text = "\u{FEFF}: hello\r\nretry: 10\rretry: soon\n\nevent: sync\ndata: {}\n\n\
                    id: 4-17\r\ndata:a\r\ndata: b\r\n\r\nid: 5\n\nnonsense\ndata\n\nevent: x\n\n\
                    event: x\nid\n\nid: 6\0\n\n";
        let expected = [
            Frame::Comment,
            Frame::Retry(10),
            event("sync", None, "{}"),
            event("message", Some("4-17"), "a\nb"),
            Frame::Id("5".into()),
            event("message", None, ""),
            Frame::Id(String::new()),
        ];
        for size in [1, 2, 3, 7, 1_000] {
            let mut parser = Parser::default();
            let frames: Vec<Frame> =
                text.as_bytes().chunks(size).flat_map(|bytes| parser.feed(bytes)).collect();
            assert_eq!(frames, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_retry_time_is_digits_of_any_number() {
        for (value, expected) in [
            ("0000300", Some(300)),
            ("18446744073709551615", Some(u64::MAX)),
            ("100000000000000000000000", Some(u64::MAX)),
            ("", None),
            ("+5", None),
            ("1.5", None),
            ("٣", None),
        ] {
            let frames = Parser::default().feed(format!("retry: {value}\n").as_bytes());
            assert_eq!(frames, Vec::from_iter(expected.map(Frame::Retry)), "{value}");
        }
    }

    #[test]
    fn data_beyond_the_limit_is_dropped() {
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(1_000));
        for _ in 0..3_000 {
            assert_eq!(parser.feed(line.as_bytes()), []);
        }
        let [Frame::Event { data, .. }] = &parser.feed(b"\n")[..] else { panic!("no event") };
        assert!(data.len() > MAX_BYTES / 2 && data.len() <= MAX_BYTES, "{} bytes", data.len());
    }

    #[test]
    fn an_event_counts_once_its_blank_line_has_arrived() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"id: 1\ndata: half"), []);
        assert_eq!(parser.feed(b"\n"), []);
        assert_eq!(parser.feed(b"\n"), [event("message", Some("1"), "half")]);
    }
}
