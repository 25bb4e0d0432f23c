//! The live page, `/`: the newest rolls, and new ones as they are made.

use rocket::{State, get};
use serde::Serialize;

use crate::health::Audience;
use crate::roll::Roll;
use crate::store::Newest;
use crate::web::http::error::HttpError;
use crate::web::pages::templates::Page;
use crate::web::pages::view::{RollRow, Site, unreadable_notice};
use crate::web::pages::{Pages, links};

/// Rows that the script keeps on the page, unless a page has more.
const MAX_ROWS: usize = 300;

/// The template `index`.
#[derive(Serialize)]
struct LiveView {
    title: &'static str,
    /// The next page, unless the page reaches back to roll 1. It exists also where older rolls are
    /// no longer kept: it says so.
    older: Option<String>,
    rolls: Vec<RollRow>,
    unreadable: Option<String>,
    /// The cursor of the newest row, so that the stream continues exactly where the page ends.
    cursor: String,
    every_ms: u128,
    /// Why there are no new rolls. A script could not know that.
    trouble: Vec<String>,
    row_limit: usize,
    /// The row that the script clones.
    blank: RollRow,
}

/// The page of live rolls.
///
/// # Errors
///
/// The history cannot be read.
#[get("/")]
pub async fn page(
    audience: Audience,
    pages: &State<Pages>,
    site: &State<Site>,
) -> Result<Page, HttpError> {
    let newest = pages.store.newest(pages.page_size).await?;
    let trouble = pages.health.problems(audience);
    Ok(Page::render("index", LiveView::new(newest, trouble, pages.page_size, site)))
}

impl LiveView {
    fn new(newest: Newest, trouble: Vec<String>, page_size: usize, site: &Site) -> LiveView {
        let oldest = newest.oldest();
        let Newest { rolls, unreadable, head } = newest;
        LiveView {
            title: "Live rolls",
            older: oldest.filter(|id| id.0 > 1).map(links::before),
            cursor: rolls.first().map_or(head, Roll::cursor).to_string(),
            rolls: rolls.iter().map(RollRow::from).collect(),
            unreadable: unreadable_notice(&unreadable),
            every_ms: site.every().as_millis(),
            trouble,
            row_limit: MAX_ROWS.max(page_size),
            blank: site.blank_row(),
        }
    }
}
