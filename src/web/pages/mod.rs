//! The pages, one a file. All of them work without scripts.

pub mod source;
pub mod templates;
pub mod assets;
pub mod links;
pub mod view;
mod live;
mod roll;
mod history;
pub mod stats;
#[cfg(test)]
mod tests;

use rocket::fairing::AdHoc;
use rocket::routes;

use crate::config::WebConfig;
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::store::Store;

/// What the handlers share.
struct Pages {
    store: Store,
    feed: Feed,
    metrics: Metrics,
    /// Rolls on a page.
    page_size: usize,
}

/// Mounts the pages about rolls.
pub fn stage(config: &WebConfig, store: Store, feed: Feed, metrics: Metrics) -> AdHoc {
    let pages = Pages { store, feed, metrics, page_size: config.page_size };
    AdHoc::on_ignite("pages", |rocket| async {
        rocket.manage(pages).mount("/", routes![live::page, history::page, roll::page])
    })
}
