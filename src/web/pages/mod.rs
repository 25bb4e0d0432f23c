//! The pages, one a file. All of them work without scripts.

pub mod source;
mod references;
pub mod templates;
pub mod assets;
pub mod links;
pub mod view;
pub mod static_file;
mod live;
pub mod error;
mod proof;
mod roll;
mod draw;
mod verify;
pub mod offline;
mod history;
pub mod stats;
#[cfg(test)]
mod tests;

use rocket::fairing::AdHoc;
use rocket::routes;

use crate::config::WebConfig;
use crate::health::Health;
use crate::store::Store;

/// What the handlers share.
struct Pages {
    store: Store,
    health: Health,
    /// Rolls on a page.
    page_size: usize,
}

/// Mounts the pages about rolls.
pub fn stage(config: &WebConfig, store: Store, health: Health) -> AdHoc {
    let pages = Pages { store, health, page_size: config.page_size };
    AdHoc::on_ignite("pages", |rocket| async {
        let routes =
            routes![live::page, history::page, roll::page, draw::page, verify::page, verify::file];
        rocket.manage(pages).mount("/", routes)
    })
}
