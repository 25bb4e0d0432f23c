//! One connection to a stream, read on its own thread.

use std::thread;
use std::time::Duration;

use event_stream::parser::Frame;
use tokio::sync::mpsc;

use crate::cursor::Cursor;
use crate::remote::{Expected, Remote, RemoteError};

/// A connection is closed and opened again after this time. No roll is lost by that, and a thread
/// that reads from a dead connection ends.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// How many pieces of a stream wait for the follower.
const MAX_QUEUED: usize = 16;

/// What arrives from a connection.
#[derive(Debug)]
pub enum Received {
    /// Frames, perhaps none: a sign of life.
    Frames(Vec<Frame>),
    /// There is no stream.
    Refused(RemoteError),
    /// The stream is over; the reason.
    Ended(String),
}

/// Opens the stream at `path` after a cursor. A read cannot be interrupted, so it runs on its own
/// thread, which ends soon after the receiver is dropped, or with its connection.
pub fn open(remote: Remote, path: String, after: Option<Cursor>) -> mpsc::Receiver<Received> {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED);
    thread::spawn(move || {
        let last_event_id = after.map(|cursor| cursor.to_string());
        let header = last_event_id.as_deref().map(|id| ("Last-Event-ID", id));
        let expected = Expected { content_type: "text/event-stream", name: "an event stream" };
        let mut stream = match remote.get(&path, expected, header.as_slice(), MAX_AGE) {
            Ok(response) => response.into_stream(),
            Err(error) => return drop(sender.blocking_send(Received::Refused(error))),
        };
        let why = loop {
            match stream.next_frames() {
                Ok(None) => break "the server ended the stream".into(),
                Ok(Some(frames)) => {
                    if sender.blocking_send(Received::Frames(frames)).is_err() {
                        return;
                    }
                }
                Err(error) => break format!("the connection broke: {error}"),
            }
        };
        // Nobody receives it if the follower has given the connection up.
        let _ = sender.blocking_send(Received::Ended(why));
    });
    receiver
}
