//! The page for developers, `/developers`: how to listen, resume and look back, and the reference.

use rocket::form::FromForm;
use rocket::http::RawStr;
use rocket::{State, get};
use serde::Serialize;

use crate::config::Config;
use crate::roll::RollId;
use crate::store::MAX_READ;
use crate::web::api::{Limit, MAX_DOWNLOADS, MAX_DOWNLOADS_PER_ADDRESS, Reference};
use crate::web::http::address::address;
use crate::web::http::error::HttpError;
use crate::web::pages::Pages;
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;

/// The form that builds an address. Empty fields mean the same as none.
#[derive(FromForm)]
pub struct LookBackQuery<'r> {
    since: Option<&'r str>,
    die: Option<&'r str>,
    result: Option<&'r str>,
    limit: Option<&'r str>,
}

/// The template `developers`.
#[derive(Serialize)]
struct DevelopersView<'r> {
    title: &'static str,
    description: &'static str,
    canonical: &'static str,
    /// The cursor of the newest roll.
    cursor: String,
    every_ms: u128,
    look_back: LookBackView,
    limits: &'r Limits,
    reference: &'r Reference,
    /// For the examples of the reference.
    example_id: String,
    /// The address of a lab for clients.
    lab_url: Option<&'r str>,
}

/// The form as sent.
#[derive(Serialize)]
struct LookBackView {
    since: String,
    die: String,
    result: String,
    limit: String,
    /// The dice to choose from.
    dice: Vec<String>,
    /// The path and query that the fields make.
    address: String,
}

/// The facts that are equal in all responses.
pub struct Facts {
    lab_url: Option<String>,
    limits: Limits,
    reference: Reference,
}

/// What this server accepts.
#[derive(Serialize)]
struct Limits {
    streams: usize,
    streams_per_address: usize,
    downloads: usize,
    downloads_per_address: usize,
    rolls_per_page: usize,
    rolls_per_search: usize,
    heartbeat_seconds: u64,
}

/// The page for developers.
///
/// # Errors
///
/// The history cannot be read.
#[get("/developers?<query..>")]
pub async fn page(
    query: LookBackQuery<'_>,
    pages: &State<Pages>,
    facts: &State<Facts>,
    site: &State<Site>,
) -> Result<Page, HttpError> {
    let head = pages.store.kept().await?.head;
    let view = DevelopersView {
        title: "Developers",
        description: "The same rolls in your own program: a live event stream that resumes without \
                      a gap, JSON, and files. No key and no sign-up.",
        canonical: "/developers",
        cursor: head.to_string(),
        every_ms: site.every().as_millis(),
        look_back: LookBackView::new(&query, site),
        limits: &facts.limits,
        reference: &facts.reference,
        example_id: head.id.max(RollId(1)).to_string(),
        lab_url: facts.lab_url.as_deref(),
    };
    Ok(Page::render("developers", view))
}

impl Facts {
    pub fn of(config: &Config) -> Facts {
        let lab_url = config.web.lab_url.clone();
        Facts { lab_url, limits: Limits::of(config), reference: Reference::new() }
    }
}

impl Limits {
    fn of(config: &Config) -> Limits {
        Limits {
            streams: config.web.max_streams,
            streams_per_address: config.web.max_streams_per_address,
            downloads: MAX_DOWNLOADS,
            downloads_per_address: MAX_DOWNLOADS_PER_ADDRESS,
            rolls_per_page: Limit::MAX,
            rolls_per_search: MAX_READ,
            heartbeat_seconds: config.feed.heartbeat.as_secs(),
        }
    }
}

impl LookBackView {
    fn new(query: &LookBackQuery<'_>, site: &Site) -> LookBackView {
        // At first, the rolls of the last minute.
        let is_first =
            [query.since, query.die, query.result, query.limit].iter().all(Option::is_none);
        let since = if is_first { Some("1m") } else { query.since };
        let result = query.result.filter(|result| !result.is_empty());
        let fields = [
            ("since", since),
            // Without a result, a die means nothing.
            ("die", query.die.filter(|_| result.is_some())),
            ("result", result),
            ("limit", query.limit),
        ];
        let field = |(name, value): (&str, Option<&str>)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some(format!("{name}={}", RawStr::new(value).percent_encode()))
        };
        let text = |value: Option<&str>| value.unwrap_or_default().to_string();
        LookBackView {
            since: text(since),
            die: text(query.die),
            result: text(query.result),
            limit: text(query.limit),
            dice: site.dice().map(|die| die.to_string()).collect(),
            address: address("/api/rolls", fields.map(field)),
        }
    }
}
