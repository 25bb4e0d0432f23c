//! A server without a network, for tests of handlers.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use rocket::figment::providers::{Format, Toml};
use rocket::figment::{Figment, Profile};
use rocket::http::{Header, HeaderMap, Method, Status};
use rocket::local::asynchronous::Client;
use tempfile::TempDir;

use crate::config::Config;
use crate::dice::{Die, DieResult, Results};
use crate::feed::{Feed, N_RECENT};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::Store;
use crate::web::pages::assets::Assets;
use crate::web::pages::source::Source;
use crate::web::pages::templates::Templates;
use crate::web::{SiteFiles, rocket};

/// A server over a database of its own.
pub struct TestSite {
    client: Client,
    /// The database is in here.
    _folder: TempDir,
}

/// The response to a request.
#[derive(Debug)]
pub struct TestResponse {
    pub status: u16,
    pub content_type: String,
    pub location: String,
    pub headers: HeaderMap<'static>,
    pub body: String,
}

impl TestResponse {
    /// The value of a header; empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get_one(name).unwrap_or_default()
    }
}

impl SiteFiles {
    /// The files of a release build.
    pub fn built_in() -> SiteFiles {
        let templates = Templates::read(Source::templates(None)).expect("built-in templates");
        let assets = Assets::read(Source::static_files(None), &templates).expect("built-in files");
        SiteFiles::of(templates, assets).expect("the offline page")
    }
}

impl TestSite {
    /// A server with rolls `1..=n_rolls`, one a second since 2026-11-23T00:00:01.123Z. Roll `n` has
    /// `1 + n % 6` on its 1D6. `toml` holds lines of the table `[default.rollcast]`.
    pub async fn new(n_rolls: i64, toml: &str, files: SiteFiles) -> TestSite {
        let folder = tempfile::tempdir().expect("a folder");
        // One secret for all sites, because a roll has a seed if its dice happen to follow from it.
        let secret = format!("{}\n", "5".repeat(64));
        fs::write(folder.path().join("secret"), secret).expect("a secret");
        let toml =
            format!("[default.rollcast]\ndice = ['1D6']\nevery = '1h'\nsecret = 'secret'\n{toml}");
        let set = Figment::from(Toml::string(&toml).nested());
        let file: PathBuf = folder.path().join("Rocket.toml");
        let config = Config::read(file, set, Profile::new("release")).expect("a configuration");
        let store = Store::open(&config.store).await.expect("a store");
        store.apply((1..=n_rolls).map(roll).collect()).await.expect("rolls");
        let feed = Feed::open(store.clone(), N_RECENT, config.feed.heartbeat);
        let feed = feed.await.expect("a feed");
        let health = Health::new(config.roller.every);
        let rocket = rocket(files, &config, store, feed, health, Metrics::default());
        let client = Client::untracked(rocket).await.expect("a server");
        TestSite { client, _folder: folder }
    }

    /// The response to a browser.
    pub async fn get(&self, path: &str) -> TestResponse {
        self.request(Method::Get, path, &[("Accept", "text/html")]).await
    }

    /// The response to a request with these headers.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> TestResponse {
        let mut request = self.client.req(method, path.to_string());
        for (name, value) in headers {
            request.add_header(Header::new(*name, value.to_string()));
        }
        let response = request.dispatch().await;
        let headers = response.headers().clone().into_iter();
        let owned = headers
            .map(|Header { name, value }| Header::new(name.into_string(), value.into_owned()));
        let headers = owned.fold(HeaderMap::new(), |mut headers, header| {
            headers.add(header);
            headers
        });
        let header = |name: &str| headers.get_one(name).unwrap_or_default().to_string();
        let Status { code: status, .. } = response.status();
        let (content_type, location) = (header("Content-Type"), header("Location"));
        let body = response.into_string().await.unwrap_or_default();
        TestResponse { status, content_type, location, headers, body }
    }
}

fn roll(id: i64) -> Roll {
    let die: Die = "1D6".parse().expect("a die");
    let dice = Results(vec![DieResult { die, result: (1 + id % 6) as u32 }]);
    let moment = Timestamp::from_millisecond(1_795_392_000_123 + 1_000 * id).expect("a moment");
    Roll { id: RollId(id), rolled_at: RolledAt::truncate(moment), dice }
}
