//! The stream: every roll as it is made, as Server-Sent Events. `docs/protocol.md` describes it.
//!
//! A browser's EventSource never reconnects after an answer other than 200 with an event stream.
//! So a client that accepts event streams gets even a refusal as an event.

pub mod start;
mod frames;
pub mod body;
pub mod headers;
pub mod refusal;
pub mod opening;
mod handlers;

use std::ops::RangeInclusive;

use rocket::fairing::AdHoc;

use self::opening::Streams;

/// When a client reconnects, in milliseconds: drawn for each client, so that after a restart they
/// do not all return in the same instant.
const RETRY_MS: RangeInclusive<u64> = 1_000..=5_000;
/// The same for a client that was refused.
const BUSY_RETRY_MS: RangeInclusive<u64> = 15_000..=45_000;

/// The routes of `/stream/`, and the end of all streams when the server stops.
pub fn stage(streams: Streams) -> AdHoc {
    let closing = streams.clone();
    AdHoc::on_ignite("the stream", |rocket| async {
        rocket
            .manage(streams)
            .mount("/", handlers::routes())
            .attach(AdHoc::on_shutdown("end of streams", move |_| {
                Box::pin(async move { closing.close() })
            }))
    })
}
