//! The pages, one a file. All of them work without scripts.

pub mod source;
mod references;
mod joined;
pub mod templates;
pub mod assets;
pub mod links;
pub mod words;
mod zone;
mod form;
mod status;
pub mod view;
pub mod static_file;
mod live;
pub mod error;
mod proof;
mod meaning;
mod roll;
mod draw;
mod verify;
pub mod offline;
mod history;
pub mod stats;
mod show;
mod fleet;
mod about;
mod developers;
mod picture;
mod preview;
mod fixed;
mod events;
#[cfg(test)]
mod tests;

use rocket::fairing::AdHoc;
use rocket::routes;

use crate::config::Config;
use crate::health::Health;
use crate::store::Store;

use self::developers::Facts;
use self::fixed::Icons;
use self::preview::Artist;

/// What the handlers share.
struct Pages {
    store: Store,
    health: Health,
    /// Rolls on a page.
    page_size: usize,
}

/// Mounts the pages, and the files that belong to them.
pub fn stage(config: &Config, store: Store, health: Health) -> AdHoc {
    let pages = Pages { store, health, page_size: config.web.page_size };
    let (facts, about) = (Facts::of(config), config.about.clone());
    let is_in_fleet = config.fleet.is_some();
    AdHoc::on_ignite("pages", move |rocket| async move {
        let routes = routes![
            live::page,
            history::page,
            history::csv,
            history::json,
            roll::page,
            draw::page,
            verify::page,
            verify::file,
            show::screen::page,
            show::embed::page,
            show::oembed::frame,
            developers::page,
            about::page,
            events::feed,
            preview::of_roll,
            preview::of_site,
            fixed::robots,
            fixed::security,
            fixed::favicon,
            fixed::apple_touch_icon,
            fixed::icon_192,
            fixed::icon_512,
            fixed::manifest,
        ];
        let rocket = rocket.manage(pages).manage(facts).manage(about);
        let rocket = rocket.manage(Artist::new()).manage(Icons::new());
        let rocket = rocket.mount("/", routes);
        if is_in_fleet { rocket.mount("/", routes![fleet::page]) } else { rocket }
    })
}
