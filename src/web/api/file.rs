//! A file of rolls of any size, written while it is sent: memory holds one batch.

use std::time::Duration;

use futures::stream::{self, Stream};
use rocket::Request;
use rocket::http::ContentType;
use rocket::response::stream::ByteStream;
use rocket::response::{self, Responder};
use tracing::{error, warn};

use crate::backoff::{Backoff, retry};
use crate::export_format::{Encoder, Format};
use crate::roll::RollId;
use crate::store::{Extent, IdRange, Store, StoreError};
use crate::web::http::permits::Permit;

/// Rolls in one read.
const BATCH: usize = 1_000;
/// The largest chunk that goes to the connection: about a batch.
const CHUNK_BYTES: usize = 64 << 10;
/// The most ids in the header that names damaged rolls: proxies limit the size of headers.
const MAX_UNREADABLE: usize = 100;
/// The first and the longest pause after a read that found the database busy.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A file of rolls as a response.
pub struct RollFile {
    content_type: ContentType,
    last: RollId,
    unreadable_ends: Vec<RollId>,
    file_name: String,
    body: Body,
}

/// What is left to send.
struct Body {
    store: Store,
    encoder: Encoder,
    ids: IdRange,
    /// Released when the file is sent or the client disconnects.
    _permit: Permit,
    has_begun: bool,
    /// Whether a roll was sent.
    has_rolls: bool,
}

impl RollFile {
    /// The rolls of `extent`.
    pub fn new(
        format: Format,
        Extent { ids, last, unreadable_ends, dice }: Extent,
        store: Store,
        permit: Permit,
    ) -> RollFile {
        let encoder = Encoder::new(format, dice);
        let body =
            Body { store, encoder, ids, _permit: permit, has_begun: false, has_rolls: false };
        let content_type = match format {
            Format::Csv => ContentType::CSV,
            Format::Ndjson => ContentType::new("application", "x-ndjson"),
            Format::Json => ContentType::JSON,
        };
        RollFile { content_type, last, unreadable_ends, file_name: format!("rolls.{format}"), body }
    }
}

impl Body {
    fn pieces(self) -> impl Stream<Item = Vec<u8>> {
        stream::unfold(self, |mut body| async { body.piece().await.map(|piece| (piece, body)) })
    }

    /// The next piece; `None` at the end, or where the file cannot be continued. That includes rolls
    /// that were pruned before they were read, because nobody would see a hole inside a file. Rocket
    /// cannot abort a body, so the header with the id of the last roll shows that rolls are missing.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        if !self.has_begun {
            self.has_begun = true;
            return Some(self.encoder.head());
        }
        loop {
            let piece = self.rolls().await?;
            // A batch of damaged rolls is empty, and an empty piece would end the body.
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }

    /// The next batch of rolls, without those that cannot be read.
    async fn rolls(&mut self) -> Option<Vec<u8>> {
        let last = self.ids.after;
        // While the database is busy, read again: a truncated file is of no use.
        let backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
        let read = retry(backoff, StoreError::is_load, || self.store.between(self.ids, BATCH));
        let rows = match read.await {
            Ok(rows) => rows,
            Err(error) => {
                error!("truncated a download: {:#}", anyhow::Error::new(error));
                return None;
            }
        };
        // Rolls that were pruned before the first one is sent are missing at the beginning, as they
        // are for a request a moment later.
        let first = rows.oldest()?;
        if self.has_rolls && first != last.next() {
            warn!("truncated a download after roll {last}: the next roll that is kept is {first}");
            return None;
        }
        self.has_rolls = true;
        self.ids.after = rows.newest()?;
        let piece = self.encoder.rolls(&rows.rolls);
        piece.map_err(|error| error!("truncated a download: {error}")).ok()
    }
}

impl<'r> Responder<'r, 'r> for RollFile {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'r> {
        let RollFile { content_type, last, unreadable_ends, file_name, body } = self;
        let mut response = ByteStream::from(body.pieces()).respond_to(request)?;
        response.set_header(content_type);
        response.set_max_chunk_size(CHUNK_BYTES);
        response.set_raw_header("Rollcast-Last", last.to_string());
        if !unreadable_ends.is_empty() {
            let ids = unreadable_ends.iter().take(MAX_UNREADABLE).map(RollId::to_string);
            let ids: Vec<String> = ids.collect();
            response.set_raw_header("Rollcast-Unreadable", ids.join(", "));
        }
        let disposition = format!("attachment; filename=\"{file_name}\"");
        response.set_raw_header("Content-Disposition", disposition);
        Ok(response)
    }
}
