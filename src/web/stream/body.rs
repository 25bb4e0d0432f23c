//! The body of a stream: frames, as many as the connection takes.
//!
//! One write per wake-up: the body fills the connection's buffer until the reader has nothing
//! more, so a roll leaves in one write, and a lagging client gets many rolls in one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use rocket::tokio::io::{AsyncRead, ReadBuf};
use tracing::{info, warn};

use crate::feed::{Item, Reader, Sent};
use crate::metrics::StreamCount;
use crate::store::StoreError;
use crate::web::http::client::Client;
use crate::web::http::permits::Permit;
use crate::web::stream::frames::{self, Closing};

/// The size of the buffer that Rocket keeps for each client, and so of the largest chunk. A larger
/// one saves writes to lagging clients, a smaller one saves memory for every client.
pub const CHUNK_BYTES: usize = 2 << 10;

/// The bytes of a stream.
pub struct Body<S> {
    frame: Frame,
    /// How many bytes of the frame were sent.
    n_sent: usize,
    /// Where the next frames come from; `None` if there are none.
    source: Option<S>,
}

/// Where frames come from.
pub trait FrameSource: Unpin {
    /// The next frame; `None` at the end, however often it is asked for.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>>;
}

/// Bytes of an event or a comment.
pub enum Frame {
    /// A roll's, which all streams share.
    Roll(Arc<Sent>),
    /// This stream's own.
    Own(Vec<u8>),
}

impl Frame {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Frame::Roll(sent) => sent.frame(),
            Frame::Own(bytes) => bytes,
        }
    }
}

impl<S> Body<S> {
    /// All frames of `source`.
    pub fn open(source: S) -> Body<S> {
        Body { frame: Frame::Own(Vec::new()), n_sent: 0, source: Some(source) }
    }

    /// One frame, which may be empty.
    pub fn closed(frame: Vec<u8>) -> Body<S> {
        Body { frame: Frame::Own(frame), n_sent: 0, source: None }
    }
}

impl<S: FrameSource> AsyncRead for Body<S> {
    /// Fills `buf` until it is full or there is no frame left.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let body = self.get_mut();
        let n_filled = buf.filled().len();
        loop {
            let rest = &body.frame.bytes()[body.n_sent..];
            let n_bytes = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..n_bytes]);
            body.n_sent += n_bytes;
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let Some(source) = &mut body.source else { return Poll::Ready(Ok(())) };
            match source.poll_frame(cx) {
                Poll::Ready(Some(frame)) => (body.frame, body.n_sent) = (frame, 0),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                // The task is woken for the next frame; the bytes so far are sent now.
                Poll::Pending if buf.filled().len() > n_filled => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A client's open stream.
pub struct OpenStream {
    reader: Reader,
    is_over: bool,
    client: Client,
    count: StreamCount,
    opened: Instant,
    _permit: Permit,
}

impl OpenStream {
    /// A stream of the items of `reader`.
    pub fn new(reader: Reader, client: Client, count: StreamCount, permit: Permit) -> OpenStream {
        OpenStream {
            reader,
            is_over: false,
            client,
            count,
            opened: Instant::now(),
            _permit: permit,
        }
    }

    /// An item as it is sent. The last frame says why the stream ends.
    fn frame(&mut self, item: Result<Option<Item>, StoreError>) -> Frame {
        match item {
            Ok(Some(Item::Roll(sent))) => {
                self.count.delivered(sent.cursor.id, sent.committed);
                Frame::Roll(sent)
            }
            Ok(Some(Item::Sync(sync))) => {
                self.count.sync(frames::verdict(sync.mode), sync.start, sync.head.id);
                Frame::Own(frames::sync(&sync))
            }
            Ok(Some(Item::Heartbeat)) => Frame::Own(frames::heartbeat()),
            Ok(None) => self.closing(Closing::Shutdown),
            Err(error) => {
                let cause = anyhow::Error::new(error);
                warn!(client = %self.client, "closed stream: cannot read the history: {cause:#}");
                self.closing(Closing::Unreadable)
            }
        }
    }

    fn closing(&mut self, reason: Closing) -> Frame {
        self.is_over = true;
        Frame::Own(frames::closing(reason))
    }
}

impl FrameSource for OpenStream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let item = ready!(self.reader.poll_next(cx));
        Poll::Ready(Some(self.frame(item)))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let OpenStream { client, count, opened, .. } = self;
        let n_rolls = count.n_deliveries();
        let seconds = opened.elapsed().as_secs_f64();
        info!(
            %client, n_rolls, seconds,
            "stream closed after {seconds:.1} s and {n_rolls} rolls, client {client}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::VecDeque;
    use std::task::Waker;

    /// Frames; `None` is a moment without one.
    struct Script(VecDeque<Option<&'static str>>);

    impl FrameSource for Script {
        fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Frame>> {
            match self.0.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(Frame::Own(frame.into()))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    /// The chunks of at most `n_bytes` that the body is sent in, one per line; `…` is pending.
    fn chunks(mut body: Body<Script>, n_bytes: usize) -> String {
        let mut cx = Context::from_waker(Waker::noop());
        let mut lines = Vec::new();
        loop {
            let mut bytes = vec![0; n_bytes];
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut body).poll_read(&mut cx, &mut buf) {
                Poll::Pending => lines.push("…".to_string()),
                Poll::Ready(Err(error)) => panic!("a body has no errors, got {error}"),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return lines.join("\n"),
                Poll::Ready(Ok(())) => {
                    lines.push(String::from_utf8(buf.filled().to_vec()).expect("text"));
                }
            }
        }
    }

    fn script(frames: &[Option<&'static str>]) -> Body<Script> {
        Body::open(Script(frames.iter().copied().collect()))
    }

    #[test]
    fn all_frames_until_none_is_ready_are_one_chunk() {
        assert_eq!(chunks(script(&[Some("one/"), Some("two/"), None]), 64), "one/two/");
        let frames = [None, Some("one/"), None, None, Some("two/")];
        assert_eq!(chunks(script(&frames), 64), "…\none/\n…\ntwo/");
    }

    #[test]
    fn bytes_that_do_not_fit_come_next_and_nothing_is_lost() {
        let frames = [Some("one/"), Some("two/"), Some("three/"), None];
        assert_eq!(chunks(script(&frames), 5), "one/t\nwo/th\nree/");
        assert_eq!(chunks(script(&frames), 14), "one/two/three/\n…", "full, then pending");
    }

    #[test]
    fn a_closed_body_is_its_one_frame() {
        assert_eq!(chunks(Body::closed(b"busy/".to_vec()), 3), "bus\ny/");
        assert_eq!(chunks(Body::closed(Vec::new()), 3), "");
    }
}
