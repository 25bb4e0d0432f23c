//! The body of a response. It polls the feed's reader in the connection's own task.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Buf, Frame as HttpFrame, SizeHint};

use crate::web::stream::body::{Frame, FrameSource, OpenStream};

/// A client that lags gets at most about this many bytes in one chunk.
const MAX_CHUNK_BYTES: usize = 8 << 10;

/// The bytes of a response.
#[expect(clippy::large_enum_variant, reason = "nearly every body is an open stream")]
pub enum StreamBody {
    /// Nothing, or all that is left.
    Closed(Option<Chunk>),
    /// The same with its length in the headers.
    Sized(Option<Chunk>),
    Open(OpenStream),
}

/// Bytes of one or more frames. The frame of a roll is not copied.
pub struct Chunk {
    frame: Frame,
    n_sent: usize,
}

impl From<Frame> for Chunk {
    fn from(frame: Frame) -> Chunk {
        Chunk { frame, n_sent: 0 }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.frame.bytes().len() - self.n_sent
    }

    fn chunk(&self) -> &[u8] {
        &self.frame.bytes()[self.n_sent..]
    }

    fn advance(&mut self, n_bytes: usize) {
        assert!(n_bytes <= self.remaining(), "cannot advance by {n_bytes} bytes");
        self.n_sent += n_bytes;
    }
}

impl StreamBody {
    /// A response without a body.
    pub fn empty() -> StreamBody {
        StreamBody::Sized(None)
    }
}

impl Body for StreamBody {
    type Data = Chunk;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Chunk>, Infallible>>> {
        let chunk = match self.get_mut() {
            StreamBody::Closed(rest) | StreamBody::Sized(rest) => rest.take(),
            StreamBody::Open(stream) => ready!(poll_chunk(stream, cx)),
        };
        Poll::Ready(chunk.map(|chunk| Ok(HttpFrame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, StreamBody::Sized(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            StreamBody::Sized(rest) => {
                SizeHint::with_exact(rest.as_ref().map_or(0, |chunk| chunk.remaining() as u64))
            }
            _ => SizeHint::default(),
        }
    }
}

/// The frames that are ready, as one chunk.
fn poll_chunk(source: &mut impl FrameSource, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
    let Some(first) = ready!(source.poll_frame(cx)) else { return Poll::Ready(None) };
    let Poll::Ready(Some(second)) = source.poll_frame(cx) else {
        return Poll::Ready(Some(first.into()));
    };
    let mut bytes = [first.bytes(), second.bytes()].concat();
    while bytes.len() < MAX_CHUNK_BYTES
        && let Poll::Ready(Some(frame)) = source.poll_frame(cx)
    {
        bytes.extend_from_slice(frame.bytes());
    }
    Poll::Ready(Some(Frame::Own(bytes).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::VecDeque;
    use std::task::Waker;

    /// Frames; `None` is a moment without one.
    struct Script(VecDeque<Option<Vec<u8>>>);

    impl FrameSource for Script {
        fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Frame>> {
            match self.0.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(Frame::Own(frame))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    /// The chunks of these frames, one per line; `…` is pending, `.` the end.
    fn chunks(frames: &[Option<&str>]) -> String {
        let frames = frames.iter().map(|frame| frame.map(|frame| frame.as_bytes().to_vec()));
        let mut source = Script(frames.collect());
        let mut cx = Context::from_waker(Waker::noop());
        let mut lines = Vec::new();
        loop {
            match poll_chunk(&mut source, &mut cx) {
                Poll::Pending => lines.push("…".to_string()),
                Poll::Ready(None) => return [&lines.join("\n"), "\n."].concat(),
                Poll::Ready(Some(mut chunk)) => {
                    // In two parts, as a full socket would take it.
                    let mut sent = chunk.chunk()[..1].to_vec();
                    chunk.advance(1);
                    sent.extend(chunk.chunk());
                    assert_eq!(chunk.remaining(), sent.len() - 1);
                    lines.push(String::from_utf8(sent).expect("text"));
                }
            }
        }
    }

    #[test]
    fn all_frames_until_none_is_ready_are_one_chunk_and_nothing_is_lost() {
        assert_eq!(chunks(&[]), "\n.");
        assert_eq!(chunks(&[Some("one/")]), "one/\n.");
        assert_eq!(chunks(&[Some("one/"), Some("two/"), Some("three/")]), "one/two/three/\n.");
        let frames = [None, Some("one/"), None, None, Some("two/"), Some("three/"), None];
        // A look for a second frame ends each chunk.
        assert_eq!(chunks(&frames), "…\none/\n…\ntwo/three/\n.");
    }

    #[test]
    fn a_chunk_ends_after_its_limit() {
        let frame = "x".repeat(MAX_CHUNK_BYTES / 2 + 1);
        let frames = [Some(frame.as_str()); 5];
        let sizes: Vec<usize> = chunks(&frames).lines().map(str::len).collect();
        assert_eq!(
            sizes,
            [2, 2, 1].map(|n| n * frame.len()).into_iter().chain([1]).collect::<Vec<_>>()
        );
    }
}
