//! The web: pages, the stream, the API and static files. Only this module knows HTTP and HTML.

pub(crate) mod http;
mod pages;
mod probes;
mod api;
pub(crate) mod stream;
mod log;
#[cfg(test)]
mod test_site;

use std::sync::Arc;

use rocket::{Build, Rocket};

use crate::config::{Config, WebConfig};
use crate::feed::Feed;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::store::Store;

use self::http::ahead::Ahead;
use self::http::client::Proxies;
use self::http::{access, client, headers, host, methods, public_url};
use self::pages::assets::Assets;
use self::pages::offline::Offline;
use self::pages::templates::Templates;
use self::pages::view::Site;
use self::pages::{error, static_file, stats};
use self::stream::opening::Streams;

pub use self::pages::source::SourceError;

/// The files that the pages are made of.
pub struct SiteFiles {
    templates: Templates,
    assets: Assets,
    offline: Offline,
}

impl SiteFiles {
    /// Reads templates and static files, from the configured folders or out of the program.
    ///
    /// # Errors
    ///
    /// A configured folder cannot be read; a file is missing that a template needs; a template has
    /// a mistake; the folder of static files holds a symbolic link.
    pub fn load(config: &WebConfig) -> Result<SiteFiles, SourceError> {
        let templates = Templates::load(config.template_dir.as_deref())?;
        let assets = Assets::load(config.static_dir.as_deref(), &templates)?;
        SiteFiles::of(templates, assets)
    }

    fn of(templates: Templates, assets: Assets) -> Result<SiteFiles, SourceError> {
        let offline = Offline::build(&templates, &assets)?;
        Ok(SiteFiles { templates, assets, offline })
    }

    /// Where the templates come from, for people.
    pub fn templates(&self) -> String {
        self.templates.source().name()
    }

    /// Where the static files come from, for people.
    pub fn static_files(&self) -> String {
        self.assets.source().name()
    }
}

/// The server: all routes over the rolls in `store`, with live rolls from `feed`.
pub fn rocket(
    files: SiteFiles,
    config: &Config,
    store: Store,
    feed: Feed,
    health: Health,
    metrics: Metrics,
) -> Rocket<Build> {
    let SiteFiles { templates, assets, offline } = files;
    let ahead = Ahead::new(feed.clone(), health.clone(), config.roller.every);
    let streams = Streams::new(&config.web, feed.clone(), ahead.clone(), metrics.clone());
    let proxies = Arc::new(Proxies::new(&config.web));
    rocket::custom(templates.configure(config.rocket.clone()))
        .manage(Site::new(config, assets, health.clone()))
        .manage(offline)
        .manage(ahead)
        .attach(host::stage())
        .attach(methods::stage())
        .attach(headers::stage(config))
        .attach(access::stage())
        .attach(client::stage(proxies))
        .attach(public_url::stage(&config.store))
        .attach(templates.stage())
        .attach(static_file::stage())
        .attach(error::stage())
        .attach(pages::stage(config, store.clone(), health.clone()))
        .attach(stats::stage(config, store.clone()))
        .attach(api::stage(config, store.clone()))
        .attach(log::stage(store.clone()))
        .attach(probes::stage(config, store, feed, health, metrics))
        .attach(stream::stage(streams))
}
