//! Reads a stream for a while and notes when each frame arrives.

use std::error::Error;
use std::io::{self, Read};
use std::time::Duration;

use event_stream::parser::Frame;
use event_stream::stream::Stream;
use jiff::{SignedDuration, Timestamp};

use crate::response::Head;
use crate::rollcast::{Cursor, sync};

/// A stream that was watched for a while.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The head of its response.
    pub head: Head,
    /// When the request was sent.
    pub started: Timestamp,
    /// What arrived, in order.
    pub arrivals: Vec<Arrival>,
    /// How it ended.
    pub end: End,
    /// How long it was open, from the request on.
    pub lasted: Duration,
}

/// A frame and when it arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The time since the request.
    pub at: Duration,
    /// The frame.
    pub frame: Frame,
}

/// How a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The stream was still open when the watch was over.
    Open,
    /// The server ended the stream in order.
    Closed,
    /// The connection broke.
    Broken(String),
    /// More arrived than is read.
    TooMuch,
}

/// How much of a stream is read.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Bytes.
    pub n_bytes: u64,
    /// Frames.
    pub n_frames: usize,
}

/// Reads frames until `on_frame` returns false, time is over, the stream ends, or more than
/// `limits` arrived.
pub fn read<R: Read>(
    stream: &mut Stream<R>,
    limits: Limits,
    mut on_frame: impl FnMut(Frame) -> bool,
) -> End {
    let mut n_frames = 0;
    loop {
        match stream.next_frames() {
            Ok(None) => return End::Closed,
            Ok(Some(frames)) => {
                n_frames += frames.len();
                if !frames.into_iter().all(&mut on_frame) {
                    return End::Open;
                }
                if stream.n_bytes() > limits.n_bytes || n_frames > limits.n_frames {
                    return End::TooMuch;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return End::Open,
            Err(error) => return End::Broken(with_causes(&error)),
        }
    }
}

/// An error with its causes, each once.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl Watch {
    /// The newest roll when the stream was opened, if it is a stream of rollcast.
    pub fn newest_roll(&self) -> Option<Cursor> {
        self.arrivals.iter().find_map(|arrival| {
            let sync = sync(&arrival.frame)?;
            sync.get("head")?.as_str()?.parse().ok()
        })
    }

    /// The newest roll that had arrived, or that `sync` had named, at a time by the clock of this
    /// machine; `None` before the first roll.
    pub fn newest_roll_until(&self, at: Timestamp) -> Option<Cursor> {
        let until = self.arrivals.iter().take_while(|arrival| self.time_of(arrival) <= at);
        let rolls = until.filter_map(|arrival| match &arrival.frame {
            Frame::Event { id: Some(id), .. } => id.parse().ok(),
            frame => sync(frame)?.get("head")?.as_str()?.parse().ok(),
        });
        rolls.filter(|roll: &Cursor| roll.id > 0).max_by_key(|roll| roll.id)
    }

    /// When a frame arrived, by the clock of this machine.
    pub fn time_of(&self, arrival: &Arrival) -> Timestamp {
        self.started + SignedDuration::try_from(arrival.at).unwrap_or_default()
    }

    /// The rolls that were made while the stream was open, and when.
    pub fn live_rolls(&self) -> impl Iterator<Item = (&Arrival, Timestamp)> {
        let newest = self.newest_roll();
        self.arrivals.iter().filter_map(move |arrival| {
            let Frame::Event { id: Some(id), .. } = &arrival.frame else { return None };
            let cursor: Cursor = id.parse().ok()?;
            (cursor.id > newest?.id).then_some((arrival, cursor.rolled_at?))
        })
    }

    /// How long after its making each live roll arrived. If the clocks differ, all are off by
    /// the same amount.
    pub fn delays(&self) -> Vec<SignedDuration> {
        let rolls = self.live_rolls();
        rolls.map(|(arrival, made)| self.time_of(arrival).duration_since(made)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream without end.
    struct Endless(&'static [u8]);

    impl Read for Endless {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let n_whole = bytes.len() / self.0.len() * self.0.len();
            for (byte, endless) in bytes[..n_whole].iter_mut().zip(self.0.iter().cycle()) {
                *byte = *endless;
            }
            Ok(n_whole)
        }
    }

    #[test]
    fn a_flood_is_read_up_to_a_limit_of_bytes_and_of_frames() {
        let limits = Limits { n_bytes: 1 << 20, n_frames: 10_000 };
        for text in [&b":\n"[..], b"data: 1\n\n", b"data: nothing that ever ends\n"] {
            let mut n_frames = 0;
            let end = read(&mut Stream::new(Endless(text)), limits, |_| {
                n_frames += 1;
                assert!(n_frames < 100_000, "read without end");
                true
            });
            assert_eq!(end, End::TooMuch);
        }
    }
}
