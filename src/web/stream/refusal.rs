//! Refused streams: an event for clients that read event streams, an error for others.

use tracing::warn;

use crate::store::StoreError;
use crate::web::http::ahead::Behind;
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::http::permits::{Busy, BusyReason};
use crate::web::stream::BUSY_RETRY_MS;
use crate::web::stream::frames::{self, Closing};

/// Why a stream does not start.
pub enum Refusal {
    /// There are too many streams.
    Busy(Busy),
    /// This node of a fleet does not have the client's roll yet.
    Behind(Behind),
    /// The history cannot be read.
    Unreadable(StoreError),
}

impl Refusal {
    /// The refusal as the only event of a stream.
    pub fn frame(self) -> Vec<u8> {
        match self {
            Refusal::Busy(busy) => frames::busy(&busy),
            Refusal::Behind(_) => frames::closing(Closing::Behind),
            Refusal::Unreadable(error) => {
                let cause = anyhow::Error::new(error);
                warn!("rejected stream: cannot read the history: {cause:#}");
                frames::closing(Closing::Unreadable)
            }
        }
    }
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> HttpError {
        let Busy { reason, limit } = match refusal {
            Refusal::Busy(busy) => busy,
            Refusal::Behind(behind) => return behind.into(),
            Refusal::Unreadable(error) => return error.into(),
        };
        let message = match reason {
            BusyReason::Total => format!("All {limit} streams are in use; try again soon."),
            BusyReason::Address => format!("Your address has all of its {limit} streams open."),
        };
        let retry_seconds = rand::random_range(BUSY_RETRY_MS) / 1_000;
        HttpError::later(ErrorCode::TooManyStreams, message, retry_seconds)
    }
}
