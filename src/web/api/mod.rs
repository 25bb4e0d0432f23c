//! The API: the history as JSON, and as files of any size. It is read-only and public, also for
//! pages of other origins.

mod error;
mod query;
mod parameters;
mod links;
mod json;
mod rolls;
mod roll;
mod file;
mod download;
mod stats;
mod proof;
mod openapi;
mod reference;
mod cors;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rocket::fairing::AdHoc;
use rocket::{catchers, routes};

use crate::config::{Config, Keep};
use crate::store::Store;
use crate::web::http::permits::Permits;

pub use self::download::{MAX_DOWNLOADS, MAX_DOWNLOADS_PER_ADDRESS};
pub use self::query::Limit;
pub use self::reference::Reference;

/// What the handlers share.
struct Api {
    store: Store,
    downloads: Arc<Permits>,
    /// Whether rolls are pruned, which changes responses that no later roll changes.
    keep: Keep,
}

/// Mounts the API.
pub fn stage(config: &Config, store: Store) -> AdHoc {
    let api = Api { store, downloads: download::permits(), keep: config.store.keep };
    let routes = routes![
        rolls::rolls,
        roll::roll,
        download::csv,
        download::ndjson,
        stats::stats,
        proof::proof,
        openapi::document,
        openapi::redirect
    ];
    AdHoc::on_ignite("the API", |rocket| async {
        rocket
            .manage(api)
            .mount("/api", routes)
            .register("/api", catchers![error::uncaught])
            .attach(cors::stage())
    })
}
