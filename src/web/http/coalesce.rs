//! One write a wake-up: hands on all that a body has to say as one chunk.
//!
//! Rocket's `EventStream` gives each event in several small pieces, and Rocket sends each piece
//! as a chunk, and so in a write, of its own: three for a roll. Reading on until the body is
//! pending makes that one; and a client that lags gets many rolls in one write, as many as fit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rocket::response::Response;
use rocket::tokio::io::{AsyncRead, ReadBuf};

/// The largest chunk, and the buffer that Rocket keeps for each client. A larger one saves
/// writes to clients that lag, a smaller one memory for all; an event that does not fit into
/// what is left of it takes two writes, here every fortieth roll of two dice.
const CHUNK_BYTES: usize = 2 << 10;

/// Makes the body of `response` come in as few chunks as it can.
pub fn coalesce(response: &mut Response<'_>) {
    let body = response.body_mut().take();
    response.set_streamed_body(Coalesced { body, failed: None });
    response.set_max_chunk_size(CHUNK_BYTES);
}

struct Coalesced<R> {
    body: R,
    /// An error that came after something that was to be handed on first.
    failed: Option<io::Error>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Coalesced<R> {
    /// Fills `buf` until the body is pending, at its end or broken, or until `buf` is full.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let n_before = buf.filled().len();
        while buf.remaining() > 0 {
            let n_filled = buf.filled().len();
            match Pin::new(&mut self.body).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() > n_filled => {}
                nothing if n_filled == n_before => return nothing,
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                // Pending, so that this task is woken for the rest; or the end, which the body
                // tells again when it is asked again.
                Poll::Pending | Poll::Ready(Ok(())) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::VecDeque;
    use std::task::Waker;

    use Step::{Broken, Pending, Piece};

    #[derive(Clone, Copy)]
    enum Step {
        Piece(&'static str),
        Pending,
        Broken,
    }

    /// Gives its pieces as they are, as `EventStream` does; nothing is left at the end.
    struct Script(VecDeque<Step>);

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                None => Poll::Ready(Ok(())),
                Some(Pending) => Poll::Pending,
                Some(Broken) => Poll::Ready(Err(io::Error::other("broken"))),
                Some(Piece(piece)) => {
                    let (now, later) = piece.split_at(piece.len().min(buf.remaining()));
                    buf.put_slice(now.as_bytes());
                    if !later.is_empty() {
                        self.0.push_front(Piece(later));
                    }
                    Poll::Ready(Ok(()))
                }
            }
        }
    }

    /// What comes of the script in chunks of up to `n_bytes`, one a line; `…` is pending.
    fn chunks(script: &[Step], n_bytes: usize) -> String {
        let mut body = Coalesced { body: Script(script.iter().copied().collect()), failed: None };
        let mut cx = Context::from_waker(Waker::noop());
        let mut lines = Vec::new();
        loop {
            let mut bytes = vec![0; n_bytes];
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut body).poll_read(&mut cx, &mut buf) {
                Poll::Pending => lines.push("…".to_string()),
                Poll::Ready(Err(error)) => lines.push(error.to_string()),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return lines.join("\n"),
                Poll::Ready(Ok(())) => {
                    lines.push(String::from_utf8(buf.filled().to_vec()).expect("text"));
                }
            }
        }
    }

    #[test]
    fn all_pieces_until_the_body_is_pending_are_one_chunk() {
        let event = [Piece("id:1/"), Piece("data:2/"), Piece("/"), Pending];
        assert_eq!(chunks(&event, 64), "id:1/data:2//");
        let twice = [Pending, Piece("id:1/"), Piece("/"), Pending, Pending, Piece("id:2/")];
        assert_eq!(chunks(&twice, 64), "…\nid:1//\n…\nid:2/");
    }

    #[test]
    fn what_does_not_fit_comes_next_and_nothing_is_lost() {
        let lagging = [Piece("id:1/"), Piece("data:2/"), Piece("/"), Piece("id:2/"), Pending];
        assert_eq!(chunks(&lagging, 8), "id:1/dat\na:2//id:\n2/");
        assert_eq!(chunks(&lagging, 18), "id:1/data:2//id:2/\n…", "full, then pending");
    }

    #[test]
    fn an_error_comes_after_what_was_said_before_it() {
        assert_eq!(chunks(&[Piece("id:1/"), Broken, Piece("id:2/")], 64), "id:1/\nbroken\nid:2/");
        assert_eq!(chunks(&[Broken], 64), "broken");
    }
}
