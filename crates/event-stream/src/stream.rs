//! Reads a stream's frames as they arrive.

use std::io::{self, Read};

use crate::parser::{Frame, Parser};

/// How many bytes are read at a time.
const PIECE: usize = 16 << 10;

/// The frames of a body that is read as an event stream.
///
/// ```
/// use event_stream::parser::Frame;
/// use event_stream::stream::Stream;
///
/// let mut stream = Stream::new(&b": hello\nretry: 10\n"[..]);
/// assert_eq!(stream.next_frames()?, Some(vec![Frame::Comment, Frame::Retry(10)]));
/// assert_eq!(stream.next_frames()?, None);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Stream<R> {
    body: R,
    parser: Parser,
    piece: Vec<u8>,
    n_bytes: u64,
}

impl<R: Read> Stream<R> {
    /// Starts at the beginning of `body`.
    pub fn new(body: R) -> Stream<R> {
        Stream { body, parser: Parser::default(), piece: vec![0; PIECE], n_bytes: 0 }
    }

    /// Waits for bytes and returns the frames that they complete, perhaps none; `None` at the
    /// end of the body.
    ///
    /// # Errors
    ///
    /// Those of the body's `read`.
    pub fn next_frames(&mut self) -> io::Result<Option<Vec<Frame>>> {
        let n_bytes = loop {
            match self.body.read(&mut self.piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.n_bytes += n_bytes as u64;
        Ok((n_bytes > 0).then(|| self.parser.feed(&self.piece[..n_bytes])))
    }

    /// How many bytes have been read.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }
}
