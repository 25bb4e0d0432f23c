//! HTTP/1.1 answers, piece by piece as they arrive: the head, then the body freed of its framing.
//!
//! A piece may end anywhere, inside a chunk's size as well. Source:
//! <https://www.rfc-editor.org/rfc/rfc9112#section-7.1>.

use anyhow::{Result, bail};

/// A head is longer than this only by mistake.
const MAX_HEAD: usize = 16 << 10;

/// What is known of one answer so far.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// The head's bytes, until it is whole.
    head: Vec<u8>,
    status: u16,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Head,
    /// In a chunk's size, so far this many bytes; whether a digit was seen.
    Size(u64, bool),
    /// In what may follow the size on its line.
    SizeRest(u64),
    /// In a chunk, this many bytes before its end.
    Chunk(u64),
    /// Before the end of the line behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk; whether this line is empty so far.
    Trailer(bool),
    /// In a body of known length, this many bytes before its end.
    Length(u64),
    /// In a body that ends with the connection.
    UntilClose,
    Done,
}

impl Decoder {
    /// Takes the next bytes of the connection and hands the body's bytes on, in pieces.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        mut body: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        while let Some(&byte) = input.first() {
            match self.state {
                State::Head => {
                    input = &input[1..];
                    self.head.push(byte);
                    if self.head.ends_with(b"\r\n\r\n") {
                        self.state = self.read_head()?;
                        self.head = Vec::new();
                    } else if self.head.len() > MAX_HEAD {
                        bail!("expected the end of the head within {MAX_HEAD} bytes");
                    }
                }
                State::Size(size, seen) => {
                    input = &input[1..];
                    self.state = match (char::from(byte).to_digit(16), byte) {
                        (Some(_), _) if size >> 56 != 0 => bail!("a chunk's size is too large"),
                        (Some(digit), _) => State::Size(size << 4 | u64::from(digit), true),
                        (None, b'\r' | b';' | b' ') if seen => State::SizeRest(size),
                        _ => bail!("expected a chunk's size, got byte `{byte:#04x}`"),
                    };
                }
                State::SizeRest(size) => {
                    input = &input[1..];
                    if byte == b'\n' {
                        self.state =
                            if size == 0 { State::Trailer(true) } else { State::Chunk(size) };
                    }
                }
                State::Chunk(left) => {
                    let (piece, rest) = split(input, left);
                    input = rest;
                    body(piece)?;
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                }
                State::ChunkEnd => {
                    input = &input[1..];
                    match byte {
                        b'\r' => {}
                        b'\n' => self.state = State::Size(0, false),
                        _ => bail!("expected the end of a chunk, got byte `{byte:#04x}`"),
                    }
                }
                State::Trailer(empty) => {
                    input = &input[1..];
                    self.state = match byte {
                        b'\r' => State::Trailer(empty),
                        b'\n' if empty => State::Done,
                        b'\n' => State::Trailer(true),
                        _ => State::Trailer(false),
                    };
                }
                State::Length(left) => {
                    let (piece, rest) = split(input, left);
                    input = rest;
                    body(piece)?;
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                }
                State::UntilClose => {
                    body(input)?;
                    input = &[];
                }
                State::Done => bail!("expected nothing behind the answer's end"),
            }
        }
        Ok(())
    }

    /// The answer's status, once its head is whole.
    pub fn status(&self) -> Option<u16> {
        (self.status != 0).then_some(self.status)
    }

    /// Whether the answer is whole.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn read_head(&mut self) -> Result<State> {
        let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("http/1.").and_then(|rest| rest.get(2..5));
        let Some(status) = status.and_then(|status| status.parse().ok()) else {
            bail!("expected an answer in HTTP/1, got `{first}`");
        };
        self.status = status;
        let field = |name| {
            let values = head.lines().filter_map(|line| line.split_once(':'));
            values.into_iter().find(|(field, _)| *field == name).map(|(_, value)| value.trim())
        };
        if field("transfer-encoding").is_some_and(|codings| codings.ends_with("chunked")) {
            return Ok(State::Size(0, false));
        }
        match field("content-length").map(str::parse) {
            Some(Ok(0)) => Ok(State::Done),
            Some(Ok(length)) => Ok(State::Length(length)),
            Some(Err(_)) => bail!("expected a number as the content's length"),
            None => Ok(State::UntilClose),
        }
    }
}

/// The input's first bytes, at most `n`, and the rest.
fn split(input: &[u8], n: u64) -> (&[u8], &[u8]) {
    let n = usize::try_from(n).unwrap_or(usize::MAX).min(input.len());
    input.split_at(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, when the answer arrives in the given pieces, and whether it is whole.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(String, bool)> {
        let (mut decoder, mut body) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.feed(piece, |bytes| {
                body.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        assert_eq!(decoder.status(), Some(200));
        Ok((String::from_utf8(body)?, decoder.is_done()))
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nid: 1\r\n1;name=value\r\n\n\r\n010\r\n: 23456789012345\r\n0\r\nTrailer: x\r\n\r\n";
    const COUNTED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\nid: 1\n: 23456789012345";

    #[test]
    fn a_body_is_the_same_however_its_answer_is_split() {
        for answer in [CHUNKED, COUNTED] {
            let answer = answer.as_bytes();
            let whole = "id: 1\n: 23456789012345".to_string();
            for a in 0..answer.len() {
                for b in a..answer.len() {
                    let pieces = [&answer[..a], &answer[a..b], &answer[b..]];
                    assert_eq!(decode(pieces).unwrap(), (whole.clone(), true), "at {a}, {b}");
                }
            }
            assert_eq!(decode(answer.chunks(1)).unwrap(), (whole, true));
        }
    }

    #[test]
    fn a_body_without_length_ends_with_the_connection() {
        let answer = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nid: 1\n";
        assert_eq!(decode([&answer[..]]).unwrap(), ("id: 1\n".to_string(), false));
    }

    #[test]
    fn broken_framing_is_an_error() {
        for body in ["x\r\n", "\r\n", "1\r\nab", "11111111111111111\r\n", "0\r\n\r\nmore"] {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            assert!(decode([answer.as_bytes()]).is_err(), "{body:?}");
        }
    }
}
