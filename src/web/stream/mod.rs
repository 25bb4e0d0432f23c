//! The stream: every roll as it is made, as Server-Sent Events. `docs/protocol.md` describes it.
//!
//! A browser's EventSource never reconnects after an answer other than 200 with an event stream.
//! So a client that accepts event streams gets even a refusal as an event.

mod start;
mod frames;
mod body;
mod headers;
mod refusal;
mod handlers;

use std::ops::RangeInclusive;

use rocket::fairing::AdHoc;

use crate::config::WebConfig;
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::web::http::permits::Permits;

/// When a client reconnects, in milliseconds: drawn for each client, so that after a restart they
/// do not all return in the same instant.
const RETRY_MS: RangeInclusive<u64> = 1_000..=5_000;
/// The same for a client that was refused.
const BUSY_RETRY_MS: RangeInclusive<u64> = 15_000..=45_000;

/// The routes of `/stream/`, and the end of all streams when the server stops.
pub fn stage(config: &WebConfig, feed: Feed, metrics: Metrics) -> AdHoc {
    let permits = Permits::new(config.max_streams, config.max_streams_per_address);
    let closing = feed.clone();
    AdHoc::on_ignite("the stream", |rocket| async {
        rocket.manage(feed).manage(permits).manage(metrics).mount("/", handlers::routes()).attach(
            AdHoc::on_shutdown("end of streams", move |_| Box::pin(async move { closing.close() })),
        )
    })
}
