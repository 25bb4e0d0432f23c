//! Delivers an open stream: writes its head, and then each chunk of frames as soon as it is ready.
//!
//! hyper reads the request, and the door writes the stream itself. hyper keeps buffers of 16 KiB and a
//! map of headers for each connection, of which a stream needs nothing. So a stream costs a socket, a
//! reader, and the frame that it is sending.
//!
//! Source of the format: <https://www.rfc-editor.org/rfc/rfc9112#section-7.1>.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use hyper::{HeaderMap, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::feed::Sent;
use crate::web::stream::body::{Frame, FrameSource};

/// A client that lags gets at most about this many bytes in one chunk.
const MAX_CHUNK_BYTES: usize = 8 << 10;
/// What a client sends after its request is read in pieces of this size, and ignored.
const IGNORED_BYTES: usize = 256;
/// How many such pieces are read before other streams get their turn.
const MAX_IGNORED: usize = 16;

/// A stream on its way to a client.
pub struct Delivery<IO, S> {
    socket: IO,
    source: S,
    out: Out,
    /// How many bytes of it were sent.
    n_sent: usize,
    /// Whether the length of each chunk stands before it. HTTP/1.0 has no chunks.
    is_chunked: bool,
    is_over: bool,
}

/// What [`Delivery::poll_out`] took.
enum Taken {
    /// The stream is over.
    Nothing,
    /// There may be more.
    Some,
    /// All that is ready. The source wakes this task for the next frame.
    All,
}

/// Bytes for the socket.
enum Out {
    /// A roll, which all streams share.
    Chunk(Arc<Sent>),
    /// The same without the framing of a chunk.
    Frame(Arc<Sent>),
    /// This stream's own.
    Own(Vec<u8>),
}

impl Out {
    fn bytes(&self) -> &[u8] {
        match self {
            Out::Chunk(sent) => sent.chunk(),
            Out::Frame(sent) => sent.frame(),
            Out::Own(bytes) => bytes,
        }
    }
}

/// The head of a stream's response. `persistence` is the value of its `Connection` header, if it has
/// one.
pub fn head(version: Version, headers: &HeaderMap, persistence: Option<&str>) -> Vec<u8> {
    let mut head = format!("{version:?} 200 OK\r\n").into_bytes();
    for (name, value) in headers {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    if let Some(persistence) = persistence {
        head.extend(format!("connection: {persistence}\r\n").bytes());
    }
    if version == Version::HTTP_11 {
        head.extend(b"transfer-encoding: chunked\r\n");
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    head.extend(format!("date: {date}\r\n\r\n").bytes());
    head
}

impl<IO, S> Delivery<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: FrameSource,
{
    /// A delivery that begins with this head.
    pub fn new(socket: IO, version: Version, head: Vec<u8>, source: S) -> Delivery<IO, S> {
        let is_chunked = version == Version::HTTP_11;
        Delivery { socket, source, out: Out::Own(head), n_sent: 0, is_chunked, is_over: false }
    }

    /// Takes the next bytes to send.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Taken> {
        if self.is_over {
            return Poll::Ready(Taken::Nothing);
        }
        let (frame, waits) = ready!(poll_frames(&mut self.source, cx));
        self.is_over = frame.is_none();
        self.out = match frame {
            Some(Frame::Roll(sent)) if self.is_chunked => Out::Chunk(sent),
            Some(Frame::Roll(sent)) => Out::Frame(sent),
            Some(Frame::Own(bytes)) if self.is_chunked => {
                let size = format!("{:x}\r\n", bytes.len());
                Out::Own([size.as_bytes(), &bytes, b"\r\n"].concat())
            }
            Some(Frame::Own(bytes)) => Out::Own(bytes),
            None if self.is_chunked => Out::Own(b"0\r\n\r\n".to_vec()),
            None => Out::Own(Vec::new()),
        };
        self.n_sent = 0;
        Poll::Ready(if waits { Taken::All } else { Taken::Some })
    }

    /// Ends when the client has gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..MAX_IGNORED {
            let mut ignored = [0; IGNORED_BYTES];
            let mut ignored = ReadBuf::new(&mut ignored);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut ignored))?;
            if ignored.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<IO, S> Future for Delivery<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: FrameSource,
{
    type Output = io::Result<()>;

    /// Ends with the stream, or when the client has gone.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut taken = Taken::Some;
        loop {
            while let rest = &this.out.bytes()[this.n_sent..]
                && !rest.is_empty()
            {
                match ready!(Pin::new(&mut this.socket).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    n_bytes => this.n_sent += n_bytes,
                }
            }
            ready!(Pin::new(&mut this.socket).poll_flush(cx))?;
            if matches!(taken, Taken::All) {
                return this.poll_gone(cx);
            }
            match this.poll_out(cx) {
                Poll::Ready(Taken::Nothing) => return Pin::new(&mut this.socket).poll_shutdown(cx),
                Poll::Ready(next) => taken = next,
                Poll::Pending => return this.poll_gone(cx),
            }
        }
    }
}

/// The frames that are ready, as one, and whether this task will be woken for the next. A single roll
/// is not copied. `None` at the end.
fn poll_frames(source: &mut impl FrameSource, cx: &mut Context<'_>) -> Poll<(Option<Frame>, bool)> {
    let Some(first) = ready!(source.poll_frame(cx)) else { return Poll::Ready((None, false)) };
    let second = match source.poll_frame(cx) {
        Poll::Ready(Some(second)) => second,
        second => return Poll::Ready((Some(first), second.is_pending())),
    };
    let mut bytes = [first.bytes(), second.bytes()].concat();
    while bytes.len() < MAX_CHUNK_BYTES
        && let Poll::Ready(Some(frame)) = source.poll_frame(cx)
    {
        bytes.extend_from_slice(frame.bytes());
    }
    Poll::Ready((Some(Frame::Own(bytes)), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::VecDeque;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    /// Frames; `None` is a moment without one, after which the task is woken. At the end, the stream
    /// is over or waits for ever.
    struct Script {
        frames: VecDeque<Option<Vec<u8>>>,
        ends: bool,
    }

    impl FrameSource for Script {
        fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
            match self.frames.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(Frame::Own(frame))),
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    /// Delivers these frames to the returned client, whose connection holds `n_bytes`.
    fn deliver(
        version: Version,
        frames: &[Option<&str>],
        ends: bool,
        n_bytes: usize,
    ) -> (DuplexStream, JoinHandle<io::Result<()>>) {
        let frames = frames.iter().map(|frame| frame.map(|frame| frame.as_bytes().to_vec()));
        let source = Script { frames: frames.collect(), ends };
        let (client, server) = duplex(n_bytes);
        let delivery = Delivery::new(server, version, b"head/".to_vec(), source);
        (client, tokio::spawn(delivery))
    }

    async fn received(version: Version, frames: &[Option<&str>], n_bytes: usize) -> String {
        let (mut client, delivery) = deliver(version, frames, true, n_bytes);
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("text");
        delivery.await.expect("no panic").expect("no error");
        text
    }

    #[tokio::test]
    async fn frames_that_are_ready_share_a_chunk_and_nothing_is_lost_on_a_small_connection() {
        let frames =
            [Some("one/"), None, Some("two/"), Some("three/"), None, Some(&*"x".repeat(40))];
        let x = format!("28\r\n{}\r\n", "x".repeat(40));
        let expected = format!("head/4\r\none/\r\na\r\ntwo/three/\r\n{x}0\r\n\r\n");
        for n_bytes in [1, 2, 3, 7, 64, 4_096] {
            assert_eq!(received(Version::HTTP_11, &frames, n_bytes).await, expected, "{n_bytes}");
            let plain = format!("head/one/two/three/{}", "x".repeat(40));
            assert_eq!(received(Version::HTTP_10, &frames, n_bytes).await, plain, "{n_bytes}");
        }
        assert_eq!(received(Version::HTTP_11, &[], 64).await, "head/0\r\n\r\n");
    }

    #[tokio::test]
    async fn a_chunk_ends_after_its_limit() {
        let frame = "x".repeat(MAX_CHUNK_BYTES / 2 + 1);
        let text = received(Version::HTTP_11, &[Some(frame.as_str()); 5], 1 << 20).await;
        let sizes: Vec<&str> = text.lines().filter(|line| !line.contains("xx")).collect();
        assert_eq!(sizes, ["head/2002", "2002", "1001", "0", ""]);
    }

    #[tokio::test]
    async fn a_delivery_ends_when_its_client_has_gone_and_ignores_what_the_client_sends() {
        use tokio::io::AsyncWriteExt;
        let (mut client, delivery) = deliver(Version::HTTP_11, &[Some("one/")], false, 1 << 20);
        client.write_all(&vec![b'?'; 3 * MAX_IGNORED * IGNORED_BYTES]).await.expect("ignored");
        let mut first = [0; 14];
        client.read_exact(&mut first).await.expect("a chunk");
        assert_eq!(&first, b"head/4\r\none/\r\n");
        assert!(!delivery.is_finished());
        drop(client);
        delivery.await.expect("no panic").expect("no error");
    }

    #[test]
    fn the_head_has_all_headers_and_how_the_body_ends() {
        let headers =
            HeaderMap::from_iter([(hyper::header::SERVER, "rollcast".parse().expect("a value"))]);
        let text = |version, persistence| {
            let head = String::from_utf8(head(version, &headers, persistence)).expect("text");
            let (before, date) = head.split_once("date: ").expect("a date");
            assert!(date.ends_with(" GMT\r\n\r\n"), "{date}");
            before.to_string()
        };
        let start = "HTTP/1.1 200 OK\r\nserver: rollcast\r\n";
        assert_eq!(text(Version::HTTP_11, None), format!("{start}transfer-encoding: chunked\r\n"));
        let closes = "connection: close\r\ntransfer-encoding: chunked\r\n";
        assert_eq!(text(Version::HTTP_11, Some("close")), format!("{start}{closes}"));
        assert_eq!(text(Version::HTTP_10, None), "HTTP/1.0 200 OK\r\nserver: rollcast\r\n");
    }
}
