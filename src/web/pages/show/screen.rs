//! The page for a projector, a second screen or a video stream, `/screen`.

use rocket::{State, get};

use crate::web::http::error::HttpError;
use crate::web::pages::Pages;
use crate::web::pages::show::{Show, ShowQuery, ShowView};
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;

/// The newest roll, as large as it fits.
///
/// # Errors
///
/// A parameter cannot be used; the history cannot be read.
#[get("/screen?<query..>")]
pub async fn page(
    query: ShowQuery,
    pages: &State<Pages>,
    site: &State<Site>,
) -> Result<Page, HttpError> {
    let show = Show::read(&query, site.dice())?;
    Ok(Page::render("screen", ShowView::read(&show, pages, site).await?))
}
