//! The body of a response that is not a stream: nothing, or one piece.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// At most one piece.
pub struct OnePiece {
    piece: Option<Bytes>,
    /// Whether the headers say how long it is, as those of an event stream do not.
    is_sized: bool,
}

impl OnePiece {
    /// A response without a body.
    pub fn none() -> OnePiece {
        OnePiece { piece: None, is_sized: true }
    }

    /// A body with its length in the headers.
    pub fn sized(piece: impl Into<Bytes>) -> OnePiece {
        OnePiece { piece: Some(piece.into()), is_sized: true }
    }

    /// A whole event stream, which may be empty.
    pub fn stream(piece: impl Into<Bytes>) -> OnePiece {
        OnePiece { piece: Some(piece.into()).filter(|piece| !piece.is_empty()), is_sized: false }
    }
}

impl Body for OnePiece {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.piece.take().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_sized && self.piece.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.is_sized { SizeHint::with_exact(length) } else { SizeHint::default() }
    }
}
