//! The pages: the newest rolls and one roll. Both work without scripts.

pub mod assets;
pub mod view;
pub mod history;
pub mod stats;

use rocket::fairing::AdHoc;
use rocket::{State, get, routes, uri};
use rocket_dyn_templates::{Template, context};

use crate::config::WebConfig;
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::roll::{Roll, RollId};
use crate::store::{Newest, Store};
use crate::web::http::error::PageError;
use crate::web::pages::assets::Assets;
use crate::web::pages::view::{RollRow, Site};
use crate::web::probes;

/// Rows that a live page keeps at most.
const ROW_LIMIT: usize = 300;

/// What the pages read.
pub struct Pages {
    pub store: Store,
    pub page_size: usize,
    feed: Feed,
    metrics: Metrics,
}

pub fn stage(config: &WebConfig, store: Store, feed: Feed, metrics: Metrics) -> AdHoc {
    let pages = Pages { store, page_size: config.page_size, feed, metrics };
    AdHoc::on_ignite("pages", |rocket| async {
        rocket.manage(pages).mount("/", routes![newest, history::history, roll])
    })
}

/// The newest rolls, and new ones as they are made.
#[get("/")]
async fn newest(
    pages: &State<Pages>,
    site: &State<Site>,
    assets: &State<Assets>,
) -> Result<Template, PageError> {
    let Newest { rolls, head } = pages.store.newest(pages.page_size).await?;
    // Of the newest row, so that the stream goes on exactly where the page ends.
    let cursor = rolls.first().map_or(head, Roll::cursor);
    Ok(Template::render(
        "index",
        context! {
            site: site.view(assets),
            title: "Live rolls",
            // Also where they are no longer kept, which is what is told there.
            older: rolls.last().filter(|roll| roll.id.0 > 1).map(|roll| history::before(roll.id)),
            rolls: rows(&rolls),
            cursor: cursor.to_string(),
            every_ms: site.every().as_millis(),
            // Also said without scripts; a script alone could not know why.
            trouble: probes::standstill(&pages.metrics, &pages.feed, site.every()),
            row_limit: ROW_LIMIT.max(pages.page_size),
            blank: site.blank_row(),
        },
    ))
}

/// One roll.
#[get("/rolls/<id>")]
async fn roll(
    id: &str,
    pages: &State<Pages>,
    site: &State<Site>,
    assets: &State<Assets>,
) -> Result<Template, PageError> {
    let id = id.parse::<RollId>().map_err(|error| PageError::invalid("roll", error))?;
    let (roll, kept) = pages.store.roll(id).await?;
    let roll = roll.ok_or_else(|| PageError::no_roll(id, kept))?;
    let neighbour = |id: RollId| {
        let is_kept = kept.oldest <= id && id <= kept.head.id;
        is_kept.then(|| uri!(self::roll(id.to_string())).to_string())
    };
    Ok(Template::render(
        "roll",
        context! {
            site: site.view(assets),
            title: format!("Roll {id}"),
            roll: RollRow::from(&roll),
            previous: neighbour(id.previous()),
            next: neighbour(id.next()),
            day: history::of_day(history::date(roll.rolled_at)),
        },
    ))
}

fn rows(rolls: &[Roll]) -> Vec<RollRow> {
    rolls.iter().map(RollRow::from).collect()
}
