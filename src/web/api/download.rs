//! A file of rolls of any size, made while it is sent: memory holds one batch.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use rocket::Request;
use rocket::http::ContentType;
use rocket::response::stream::ByteStream;
use rocket::response::{self, Responder};
use tracing::{error, info, warn};

use crate::backoff::{Backoff, retry};
use crate::record::{Encoder, Format};
use crate::roll::RollId;
use crate::store::{Extent, IdRange, Store, StoreError};
use crate::web::http::client::Client;
use crate::web::http::error::PageError;
use crate::web::http::slots::{Busy, BusyReason, Slot, Slots};

/// Rolls that are read at a time.
const BATCH: usize = 1_000;
/// After a read that the store was too busy for: the first pause, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// What is handed to the connection at a time: about a batch.
const CHUNK_BYTES: usize = 64 << 10;
/// Downloads at a time: each holds a descriptor and some buffers for as long as its client likes.
const N_IN_ALL: usize = 64;
const N_PER_ADDRESS: usize = 8;
/// When one who was turned away may come back: drawn anew for each.
const RETRY_SECONDS: RangeInclusive<u64> = 15..=45;

/// Places for downloads.
pub fn places() -> Arc<Slots> {
    Slots::new(N_IN_ALL, N_PER_ADDRESS)
}

/// A place for the client, or what to do without.
pub fn place(places: &Arc<Slots>, client: Client) -> Result<Slot, PageError> {
    places.take(client.address).map_err(|Busy { reason, limit }| {
        info!(%client, limit, "download refused ({}), client {client}", reason.word());
        let message = match reason {
            BusyReason::Total => format!(
                "All {limit} downloads are taken; try again soon, or read by the page (/api/rolls)."
            ),
            BusyReason::Address => format!(
                "Your address has all of its {limit} downloads; try again when one has ended."
            ),
        };
        PageError::too_many(message, rand::random_range(RETRY_SECONDS))
    })
}

/// A file of rolls.
pub struct Download {
    content_type: ContentType,
    last: RollId,
    file_name: String,
    file: File,
}

/// How far a file is.
struct File {
    store: Store,
    encoder: Encoder,
    ids: IdRange,
    /// Until the file is sent, or its client gone.
    _slot: Slot,
    begun: bool,
    /// Whether a roll was sent.
    sent: bool,
}

impl Download {
    /// The rolls of `extent`.
    pub fn new(
        format: Format,
        Extent { ids, last, dice }: Extent,
        store: Store,
        slot: Slot,
    ) -> Download {
        let encoder = Encoder::new(format, dice);
        let file = File { store, encoder, ids, _slot: slot, begun: false, sent: false };
        let content_type = match format {
            Format::Csv => ContentType::CSV,
            Format::Ndjson => ContentType::new("application", "x-ndjson"),
            Format::Json => ContentType::JSON,
        };
        Download { content_type, last, file_name: format!("rolls.{format}"), file }
    }
}

impl File {
    fn pieces(self) -> impl Stream<Item = Vec<u8>> {
        stream::unfold(self, |mut file| async { file.piece().await.map(|piece| (piece, file)) })
    }

    /// The next piece; `None` at the end, and where rolls were pruned before they were read. A gap
    /// within a file would mean that they cannot be read, so the file ends there. Rocket cannot
    /// abort a response body: the header that names the last roll shows that the file is cut short.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        if !self.begun {
            self.begun = true;
            return Some(self.encoder.head());
        }
        loop {
            let piece = self.rolls().await?;
            // Not that of rows that cannot be read.
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }

    /// The next batch of rolls, without the rows that cannot be read.
    async fn rolls(&mut self) -> Option<Vec<u8>> {
        let last = self.ids.after;
        // While the store is too busy: half a file is of no use.
        let backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
        let read = retry(backoff, StoreError::is_load, || self.store.between(self.ids, BATCH));
        let rows = match read.await {
            Ok(rows) => rows,
            Err(error) => {
                error!("a download is cut short: {:#}", anyhow::Error::new(error));
                return None;
            }
        };
        // What is gone before the first roll is sent is missing at the beginning, as it is for
        // whoever asks a moment later.
        let first = rows.oldest()?;
        if self.sent && first != last.next() {
            warn!(
                "a download is cut short after roll {last}: the next that is still kept is {first}"
            );
            return None;
        }
        self.sent = true;
        self.ids.after = rows.newest()?;
        let piece = self.encoder.rolls(&rows.rolls);
        piece.map_err(|error| error!("a download is cut short: {error}")).ok()
    }
}

impl<'r> Responder<'r, 'r> for Download {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'r> {
        let Download { content_type, last, file_name, file } = self;
        let mut response = ByteStream::from(file.pieces()).respond_to(request)?;
        response.set_header(content_type);
        response.set_max_chunk_size(CHUNK_BYTES);
        response.set_raw_header("Rollcast-Last", last.to_string());
        let disposition = format!("attachment; filename=\"{file_name}\"");
        response.set_raw_header("Content-Disposition", disposition);
        Ok(response)
    }
}
