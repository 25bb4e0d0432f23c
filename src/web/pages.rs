//! The pages: the newest rolls, the history, one roll. All work without scripts.

use rocket::fairing::AdHoc;
use rocket::response::Redirect;
use rocket::{Either, State, get, routes, uri};
use rocket_dyn_templates::{Template, context};

use crate::config::WebConfig;
use crate::roll::{Cursor, Roll, RollId};
use crate::since::moment;
use crate::store::{Page, Store};
use crate::web::assets::Assets;
use crate::web::error::PageError;
use crate::web::view::{RollRow, Site};

/// Rows that a live page keeps at most.
const ROW_LIMIT: usize = 300;

/// What the pages read.
struct Pages {
    store: Store,
    page_size: usize,
}

pub fn stage(config: &WebConfig, store: Store) -> AdHoc {
    let pages = Pages { store, page_size: config.page_size };
    AdHoc::on_ignite("pages", |rocket| async {
        rocket.manage(pages).mount("/", routes![newest, history, roll])
    })
}

/// The newest rolls, and new ones as they are made.
#[get("/")]
async fn newest(
    pages: &State<Pages>,
    site: &State<Site>,
    assets: &State<Assets>,
) -> Result<Template, PageError> {
    let Page { rolls, kept } = pages.store.page(None, pages.page_size).await?;
    // Of the newest row, so that the stream goes on exactly where the page ends.
    let cursor = rolls.first().map_or(kept.head, Roll::cursor);
    Ok(Template::render(
        "index",
        context! {
            site: site.view(assets),
            title: "Live rolls",
            older: pages.older(&rolls, kept.oldest),
            rolls: rows(&rolls),
            cursor: cursor.to_string(),
            every_ms: site.every().as_millis(),
            row_limit: ROW_LIMIT.max(pages.page_size),
            blank: site.blank_row(),
        },
    ))
}

/// A page of the history: by key, or by a moment, which leads to a key.
#[get("/rolls?<before>&<at>")]
async fn history(
    before: Option<&str>,
    at: Option<&str>,
    pages: &State<Pages>,
    site: &State<Site>,
    assets: &State<Assets>,
) -> Result<Either<Template, Redirect>, PageError> {
    if let Some(at) = at.filter(|at| !at.is_empty()) {
        return Ok(Either::Right(pages.jump(at).await?));
    }
    let before = before.filter(|before| !before.is_empty()).map(str::parse).transpose();
    let before = before.map_err(|error| PageError::invalid("before", error))?;
    let Page { rolls, kept } = pages.store.page(before, pages.page_size).await?;
    Ok(Either::Left(Template::render(
        "rolls",
        context! {
            site: site.view(assets),
            title: "Past rolls",
            newer: pages.newer(&rolls, before, kept.head),
            older: pages.older(&rolls, kept.oldest),
            rolls: rows(&rolls),
            at: "",
        },
    )))
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
        },
    ))
}

impl Pages {
    /// To the page that has the first roll at or after a moment in its middle.
    async fn jump(&self, at: &str) -> Result<Redirect, PageError> {
        let moment = moment(at).map_err(|error| PageError::invalid("at", error))?;
        let Some(id) = self.store.at(moment).await? else {
            return Ok(Redirect::to(uri!(history(None::<&str>, None::<&str>))));
        };
        let page = page_before(RollId(id.0 + self.page_size as i64 / 2 + 1));
        Ok(Redirect::to(format!("{page}#roll-{id}")))
    }

    /// The page before this one in time, if anything older is kept.
    fn older(&self, rolls: &[Roll], oldest: RollId) -> Option<String> {
        let last = rolls.last().filter(|roll| roll.id > oldest)?;
        Some(page_before(last.id))
    }

    /// The page after this one in time, if there is anything newer. Ids have no gaps, so its
    /// key can be computed.
    fn newer(&self, rolls: &[Roll], before: Option<RollId>, head: Cursor) -> Option<String> {
        let newest = rolls.first().map(|roll| roll.id).or(before.map(RollId::previous))?;
        if newest >= head.id {
            return None;
        }
        let before = RollId(newest.0.saturating_add(self.page_size as i64 + 1));
        let newest_page = uri!(history(None::<&str>, None::<&str>)).to_string();
        Some(if before > head.id { newest_page } else { page_before(before) })
    }
}

fn page_before(id: RollId) -> String {
    uri!(history(Some(id.to_string()), None::<&str>)).to_string()
}

fn rows(rolls: &[Roll]) -> Vec<RollRow> {
    rolls.iter().map(RollRow::from).collect()
}
