//! The log of verifiable rolls: checkpoints, tiles and proofs. All of it is read-only and public,
//! also for pages of other origins.

mod checkpoint;
mod tile;
mod proof;

use std::time::Duration;

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Header};
use rocket::response::{self, Responder};
use rocket::{Request, Response, routes};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::roll::RollId;
use crate::store::{Signed, Store};
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;

/// How long a request for a proof waits for a checkpoint that covers the roll. A checkpoint is
/// signed every second.
const SIGN_TIMEOUT: Duration = Duration::from_secs(5);

/// The state that the handlers share.
struct Log {
    store: Store,
    signed: watch::Receiver<Option<Signed>>,
}

/// Mounts the log.
pub fn stage(store: Store) -> AdHoc {
    let log = Log { signed: store.signed(), store };
    let routes = routes![checkpoint::checkpoint, tile::tile, proof::proof];
    AdHoc::on_ignite("the log", |rocket| async { rocket.manage(log).mount("/", routes) })
}

impl Log {
    /// The newest checkpoint; `None` before the first.
    fn newest(&self) -> Option<Signed> {
        self.signed.borrow().clone()
    }

    /// A checkpoint that covers a stored roll. Waits for it up to [`SIGN_TIMEOUT`].
    async fn covering(&self, id: RollId) -> Result<Signed, HttpError> {
        let mut signed = self.signed.clone();
        let covers = |signed: &Option<Signed>| {
            signed.as_ref().is_some_and(|signed| signed.checkpoint.size >= id.0 as u64)
        };
        // In a statement of its own: the borrow must end before the response is sent.
        let signed = match timeout(SIGN_TIMEOUT, signed.wait_for(covers)).await {
            Ok(Ok(signed)) => signed.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        signed.ok_or_else(|| {
            let message = format!("Roll {id} is not signed yet; try again soon.");
            HttpError::later(ErrorCode::Busy, message, 1)
        })
    }
}

/// A part of the log.
struct Part {
    body: Vec<u8>,
    content_type: ContentType,
    cache_control: &'static str,
}

impl Part {
    /// A text that caches must revalidate.
    fn text(body: String) -> Part {
        let content_type = ContentType::Plain.with_params(("charset", "utf-8"));
        Part { body: body.into_bytes(), content_type, cache_control: "no-cache" }
    }
}

impl<'r> Responder<'r, 'static> for Part {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Part { body, content_type, cache_control } = self;
        Response::build_from((content_type, body).respond_to(request)?)
            .header(Header::new("Cache-Control", cache_control))
            .ok()
    }
}
