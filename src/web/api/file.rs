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

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::runtime::Handle;
    use tokio::time::{Instant, timeout};

    use crate::store::RollRange;
    use crate::web::api::download::permits;
    use crate::web::http::client::Client;

    #[tokio::test(start_paused = true)]
    async fn a_download_from_a_busy_database_pauses_and_then_has_every_roll() {
        let (_folder, store) = Store::with_rolls(20).await;
        let extent = store.extent(RollRange::default()).await.expect("an extent");
        let permit = permits().acquire(Client::Unknown).expect("a permit");
        let RollFile { mut body, .. } = RollFile::new(Format::Csv, extent, store.clone(), permit);
        body.piece().await.expect("the head");

        let busy = store.all_long_permits().await;
        let started = Instant::now();
        let (mut n_samples, mut n_reading) = (0, 0);
        {
            let mut piece = std::pin::pin!(body.piece());
            // Each attempt waits 0.5 s for a permit, in a task; then comes a pause of up to 5 s.
            while started.elapsed() < Duration::from_secs(60) {
                let tick = timeout(Duration::from_millis(50), piece.as_mut()).await;
                tick.expect_err("a busy database");
                n_samples += 1;
                n_reading += Handle::current().metrics().num_alive_tasks();
            }
            assert!(n_reading > 0 && n_reading * 3 < n_samples, "{n_reading} of {n_samples}");
            drop(busy);
            let piece = String::from_utf8(piece.await.expect("the rolls")).expect("text");
            let ids: Vec<&str> =
                piece.lines().map(|line| line.split(',').next().unwrap_or_default()).collect();
            let expected: Vec<String> = (1..=20).map(|id: i64| id.to_string()).collect();
            assert_eq!(ids, expected);
        }
        assert_eq!(body.piece().await, None);
    }
}
