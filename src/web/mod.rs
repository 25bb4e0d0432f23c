//! The web: pages, the stream and static files. The only place that knows HTTP and HTML.

mod http;
mod pages;
mod probes;
mod api;
mod stream;

use rocket::fairing::Fairing;
use rocket::{Build, Rocket};
use rocket_dyn_templates::Template;

use crate::config::Config;
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::store::Store;

use self::http::{access, client, error, headers, methods};
use self::pages::assets::{self, Assets};
use self::pages::stats;
use self::pages::view::Site;

pub use self::pages::assets::AssetsError;

/// Templates, in which a slash stays a slash: Tera's own escape turns it into `&#x2F;`, which
/// makes every address in a page's source unreadable and protects from nothing here (all
/// attributes are quoted).
fn templates() -> impl Fairing {
    Template::custom(|engines| {
        engines.tera.set_escape_fn(|text| {
            let mut escaped = String::with_capacity(text.len());
            for c in text.chars() {
                match c {
                    '&' => escaped.push_str("&amp;"),
                    '<' => escaped.push_str("&lt;"),
                    '>' => escaped.push_str("&gt;"),
                    '"' => escaped.push_str("&quot;"),
                    '\'' => escaped.push_str("&#x27;"),
                    c => escaped.push(c),
                }
            }
            escaped
        });
    })
}

/// All routes over the rolls in `store`, with the live ones from `feed`.
///
/// # Errors
///
/// The folder of static files cannot be read.
pub fn rocket(
    config: &Config,
    store: Store,
    feed: Feed,
    metrics: Metrics,
) -> Result<Rocket<Build>, AssetsError> {
    let assets = Assets::load(&config.web.static_dir)?;
    let rocket = rocket::custom(&config.rocket)
        .manage(Site::new(config))
        .attach(methods::stage())
        .attach(headers::shield())
        .attach(headers::stage())
        .attach(access::stage())
        .attach(client::stage(&config.web))
        .attach(templates())
        .attach(assets::stage(assets))
        .attach(error::stage())
        .attach(pages::stage(&config.web, store.clone(), feed.clone(), metrics.clone()))
        .attach(stats::stage(config, store.clone()))
        .attach(api::stage(config, store.clone()))
        .attach(probes::stage(config, store, feed.clone(), metrics.clone()))
        .attach(stream::stage(&config.web, feed, metrics));
    Ok(rocket)
}
