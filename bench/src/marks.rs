//! Marks: the number and the time that each event carries. This module finds them in the bytes of an
//! event stream, and checks that a client gets every number once and in order.
//!
//! rollcast and most peers send the mark as the event's id, `id: 41-1763861860123`. nchan assigns its
//! own ids, so there the data starts with the mark.

use anyhow::{Result, bail};

/// An event's number in the feed and its time, in milliseconds or microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mark {
    pub n: u64,
    pub moment: u64,
}

/// The field that carries the mark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field {
    Id,
    Data,
}

/// Parses only the marks of an event stream. Lines end with LF or CRLF.
#[derive(Debug)]
pub struct Marks {
    field: Field,
    line: Line,
    /// The mark of the current event. An event counts only after its blank line.
    pending: Option<Mark>,
}

#[derive(Debug, PartialEq)]
enum Line {
    /// The number of bytes of the line that match the field's name.
    Name(usize),
    /// After the colon.
    Value,
    Number(u64),
    Moment(Mark),
    /// In the rest of a line, which is ignored.
    Rest,
}

impl Marks {
    pub fn new(field: Field) -> Marks {
        Marks { field, line: Line::Name(0), pending: None }
    }

    /// Parses the next bytes and passes on the marks of complete events.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut found: impl FnMut(Mark) -> Result<()>,
    ) -> Result<()> {
        let name: &[u8] = match self.field {
            Field::Id => b"id:",
            Field::Data => b"data:",
        };
        while let Some(&byte) = bytes.first() {
            if self.line == Line::Rest {
                let Some(end) = memchr::memchr(b'\n', bytes) else { return Ok(()) };
                bytes = &bytes[end + 1..];
                self.line = Line::Name(0);
                continue;
            }
            bytes = &bytes[1..];
            self.line = match (&self.line, byte) {
                (Line::Name(0), b'\n') => {
                    if let Some(mark) = self.pending.take() {
                        found(mark)?;
                    }
                    Line::Name(0)
                }
                (Line::Name(0), b'\r') => Line::Name(0),
                (Line::Name(n), _) if name[*n] == byte => {
                    if n + 1 == name.len() {
                        Line::Value
                    } else {
                        Line::Name(n + 1)
                    }
                }
                (Line::Name(_), b'\n') => Line::Name(0),
                (Line::Name(_), _) => Line::Rest,
                (Line::Value, b' ') => Line::Value,
                (Line::Value, b'0'..=b'9') => Line::Number(digit(0, byte)?),
                (Line::Value, _) => bail!("expected a number in an event's mark"),
                (Line::Number(n), b'0'..=b'9') => Line::Number(digit(*n, byte)?),
                (Line::Number(n), b'-') => Line::Moment(Mark { n: *n, moment: 0 }),
                (Line::Number(n), _) => {
                    self.pending = Some(Mark { n: *n, moment: 0 });
                    after_mark(byte)
                }
                (Line::Moment(mark), b'0'..=b'9') => {
                    Line::Moment(Mark { moment: digit(mark.moment, byte)?, ..*mark })
                }
                (Line::Moment(mark), _) => {
                    self.pending = Some(*mark);
                    after_mark(byte)
                }
                (Line::Rest, _) => unreachable!("handled above"),
            };
        }
        Ok(())
    }
}

fn after_mark(byte: u8) -> Line {
    if byte == b'\n' { Line::Name(0) } else { Line::Rest }
}

fn digit(number: u64, byte: u8) -> Result<u64> {
    let next = number.checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0')));
    let Some(next) = next else { bail!("a number in an event's mark is too large") };
    Ok(next)
}

/// The progress of one client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The next expected number; 0 before the first one, which may be any number.
    pub next: u64,
}

/// How an arrived number relates to the expected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    InOrder,
    /// This many numbers before it are missing.
    Gap(u64),
    /// It arrived before, or too late.
    Repeat,
}

impl Progress {
    /// A client that has everything up to `n`.
    pub fn after(n: u64) -> Progress {
        Progress { next: n + 1 }
    }

    pub fn take(&mut self, n: u64) -> Arrival {
        if n < self.next {
            return Arrival::Repeat;
        }
        let expected = if self.next == 0 { n } else { self.next };
        self.next = n + 1;
        if n == expected { Arrival::InOrder } else { Arrival::Gap(n - expected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks<'a>(field: Field, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Mark>> {
        let (mut marks, mut found) = (Marks::new(field), Vec::new());
        for piece in pieces {
            marks.feed(piece, |mark| {
                found.push(mark);
                Ok(())
            })?;
        }
        Ok(found)
    }

    const STREAM: &str = ":\n\nretry: 2417\n\nevent: sync\ndata: {\"head\":\"7-1\"}\n\n\
        id: 8-1763861860123\n:\ndata: {\"1D6\":4}\n\nidle: 1\ni\nid\n\ndata:{\"1D6\":4}\nid:9-5\n\n\
        id: 10\r\ndata: x\r\n\r\nid: 11-6\ndata: cut off\n";

    #[test]
    fn marks_are_the_same_for_every_split_of_the_stream() {
        let stream = STREAM.as_bytes();
        let expected: Vec<Mark> = [(8, 1_763_861_860_123), (9, 5), (10, 0)]
            .map(|(n, moment)| Mark { n, moment })
            .to_vec();
        for a in 0..stream.len() {
            for b in a..stream.len() {
                let pieces = [&stream[..a], &stream[a..b], &stream[b..]];
                assert_eq!(marks(Field::Id, pieces).unwrap(), expected, "at {a}, {b}");
            }
        }
        assert_eq!(marks(Field::Id, stream.chunks(1)).unwrap(), expected);
    }

    #[test]
    fn nchan_sends_its_marks_in_the_data() {
        let stream = b": hi\n\nid: 1763861860:0\ndata: 41-1763861860123456 {\"1D6\":4}\n\n";
        let expected = vec![Mark { n: 41, moment: 1_763_861_860_123_456 }];
        assert_eq!(marks(Field::Data, [&stream[..]]).unwrap(), expected);
    }

    #[test]
    fn an_invalid_mark_is_an_error() {
        for stream in ["id: x\n\n", "id:\n\n", "id: 99999999999999999999\n\n"] {
            assert!(marks(Field::Id, [stream.as_bytes()]).is_err(), "{stream:?}");
        }
    }

    #[test]
    fn gaps_repeats_and_late_numbers_are_distinguished_from_numbers_in_order() {
        let arrivals = |progress: Progress, numbers: &[u64]| -> Vec<Arrival> {
            let mut progress = progress;
            numbers.iter().map(|n| progress.take(*n)).collect()
        };
        use Arrival::{Gap, InOrder, Repeat};
        assert_eq!(arrivals(Progress::default(), &[5, 6, 7]), [InOrder, InOrder, InOrder]);
        assert_eq!(arrivals(Progress::default(), &[5, 7, 8]), [InOrder, Gap(1), InOrder]);
        assert_eq!(arrivals(Progress::default(), &[5, 5, 6]), [InOrder, Repeat, InOrder]);
        assert_eq!(
            arrivals(Progress::default(), &[5, 7, 6, 8]),
            [InOrder, Gap(1), Repeat, InOrder]
        );
        assert_eq!(arrivals(Progress::after(4), &[5]), [InOrder]);
        assert_eq!(arrivals(Progress::after(4), &[6]), [Gap(1)], "a resume skips no number");
        assert_eq!(arrivals(Progress::after(4), &[4, 5]), [Repeat, InOrder]);
    }
}
