//! What the server does with a request: an exact list of writes and pauses, and an end.

use std::time::Duration;

/// The pause between two writes that the client should receive by separate reads.
pub const APART: Duration = Duration::from_millis(60);

/// How long an open connection waits for the end of the case.
const HOLD: Duration = Duration::from_secs(5);
/// The same for large events, which slow clients need time for.
const LONG_HOLD: Duration = Duration::from_secs(25);

/// The data of the event that ends a case. A client that reports it has reported everything before it.
pub const END_OF_CASE: &str = "end of case";

/// The answer to one request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// How the body is put on the wire.
    pub framing: Framing,
    /// The body is compressed with gzip if the request accepts that.
    pub gzip: bool,
    /// What is sent before the body, as it is.
    pub head: Vec<Step>,
    /// The body.
    pub body: Vec<Step>,
    /// What happens after the body.
    pub end: End,
    /// How long [`End::Hold`] lasts.
    pub hold: Duration,
}

/// How a body is put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each write is a chunk.
    Chunked,
    /// The writes go out as they are.
    Plain,
}

/// A step of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes bytes at once.
    Write(Vec<u8>),
    /// Writes the same bytes many times.
    Repeat(Vec<u8>, usize),
    /// Writes bytes one by one, with a pause after each.
    Bytewise(Vec<u8>, Duration),
    /// Waits.
    Pause(Duration),
    /// Waits until the client has reported this many events, at most 3 s.
    UntilHeard(usize),
}

/// What happens after a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The last chunk, if the body is chunked, and the end of the connection.
    Orderly,
    /// The end of the connection, without a last chunk.
    Cut,
    /// A TCP reset.
    Reset,
    /// The connection stays open for a while. The run ends when the client reports the end of the case.
    Hold,
    /// The orderly end. The port is closed for this time then.
    Away(Duration),
}

impl Reply {
    /// A stream in chunks.
    pub fn stream() -> Reply {
        Reply::with_type("text/event-stream")
    }

    /// A stream in chunks with this `Content-Type`.
    pub fn with_type(content_type: &str) -> Reply {
        let fields = format!("Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n");
        Reply::with_head(Framing::Chunked, "HTTP/1.1 200 OK", &fields)
    }

    /// A stream whose body ends with the connection.
    pub fn until_close() -> Reply {
        Reply::with_head(Framing::Plain, "HTTP/1.1 200 OK", "Content-Type: text/event-stream\r\n")
    }

    /// A response with this status, in chunks, with the content type of a stream.
    pub fn status(status: &str) -> Reply {
        let fields = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";
        Reply::with_head(Framing::Chunked, &format!("HTTP/1.1 {status}"), fields)
    }

    /// A response without a body, with these header lines, each with its line end.
    pub fn empty(status: &str, fields: &str) -> Reply {
        Reply::with_head(Framing::Plain, &format!("HTTP/1.1 {status}"), fields)
    }

    /// A response with this status line and these header lines, each with its line end.
    pub fn with_head(framing: Framing, status_line: &str, fields: &str) -> Reply {
        let head = format!(
            "{status_line}\r\n{fields}Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\n\
             Connection: close\r\n\r\n"
        );
        Reply::raw(framing, vec![Step::Write(head.into())])
    }

    /// Sends exactly this before the body.
    pub fn raw(framing: Framing, head: Vec<Step>) -> Reply {
        Reply { framing, gzip: false, head, body: Vec::new(), end: End::Orderly, hold: HOLD }
    }

    /// Closes the connection without a byte.
    pub fn hang_up() -> Reply {
        Reply::raw(Framing::Plain, Vec::new())
    }

    /// Writes `bytes` next.
    pub fn write(self, bytes: impl Into<Vec<u8>>) -> Reply {
        self.step(Step::Write(bytes.into()))
    }

    /// Writes these pieces next, each of which the client should receive by a read of its own.
    pub fn pieces(mut self, pieces: &[&[u8]]) -> Reply {
        for (i, piece) in pieces.iter().enumerate() {
            if i > 0 {
                self = self.pause(APART);
            }
            self = self.write(*piece);
        }
        self
    }

    /// Waits.
    pub fn pause(self, time: Duration) -> Reply {
        self.step(Step::Pause(time))
    }

    /// Takes this step next.
    pub fn step(mut self, step: Step) -> Reply {
        self.body.push(step);
        self
    }

    /// Writes the event that ends the case, and leaves the connection open.
    pub fn end_of_case(self) -> Reply {
        self.pause(APART).write(format!("data: {END_OF_CASE}\n\n")).ends(End::Hold)
    }

    /// Waits longer for the end of the case.
    pub fn patiently(mut self) -> Reply {
        self.hold = LONG_HOLD;
        self
    }

    /// Ends in this way.
    pub fn ends(mut self, end: End) -> Reply {
        self.end = end;
        self
    }
}
