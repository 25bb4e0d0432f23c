//! Opens streams, for every server that has them: Rocket, and the fan-out door.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::info;

use crate::config::WebConfig;
use crate::feed::{Feed, Start};
use crate::metrics::Metrics;
use crate::web::http::ahead::Ahead;
use crate::web::http::client::Client;
use crate::web::http::permits::Permits;
use crate::web::stream::body::OpenStream;
use crate::web::stream::refusal::Refusal;
use crate::web::stream::start::StreamStart;

/// What a stream needs: the feed, and the limits that all streams share. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    feed: Feed,
    ahead: Ahead,
    permits: Arc<Permits>,
    metrics: Metrics,
}

impl Streams {
    pub fn new(config: &WebConfig, feed: Feed, ahead: Ahead, metrics: Metrics) -> Streams {
        let permits = Permits::new(config.max_streams, config.max_streams_per_address);
        Streams { feed, ahead, permits, metrics }
    }

    /// The same with a branch of the feed, for the streams of one thread: see [`Feed::branch`].
    pub fn branch(&self) -> (Streams, Feed) {
        let feed = self.feed.branch();
        (Streams { feed: feed.clone(), ..self.clone() }, feed)
    }

    /// The most streams that can be open.
    pub fn max_total(&self) -> usize {
        self.permits.max_total()
    }

    /// The counts of the server.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Ends all streams, also those that open later.
    pub fn close(&self) {
        self.feed.close();
    }

    /// Acquires a permit, waits until this node has the client's roll, and opens a stream.
    ///
    /// # Errors
    ///
    /// A limit is reached, the node does not have the roll yet, or the history cannot be read.
    pub async fn open(&self, client: Client, start: StreamStart) -> Result<OpenStream, Refusal> {
        let Streams { feed, ahead, permits, metrics } = self;
        let permit = permits.acquire(client).map_err(|busy| {
            metrics.rejected(busy.reason.word());
            info!(%client, ?busy, "stream refused ({}), client {client}", busy.reason);
            Refusal::Busy(busy)
        })?;
        let unreadable = |error| {
            metrics.rejected("unreadable");
            Refusal::Unreadable(error)
        };
        let start = match start {
            StreamStart::Since(since) => feed.since(since.moment(Timestamp::now())).await,
            StreamStart::At(start) => Ok(start),
        };
        let start = start.map_err(unreadable)?;
        if let Start::After(cursor) = start {
            ahead.wait_for(cursor.id).await.map_err(|behind| {
                metrics.rejected("behind");
                info!(%client, ?behind, "stream refused (behind the fleet), client {client}");
                Refusal::Behind(behind)
            })?;
        }
        let reader = feed.after(start).await.map_err(unreadable)?;
        info!(%client, ?start, "stream opened, client {client}");
        Ok(OpenStream::new(reader, client, metrics.stream(), permit))
    }
}
