//! The page for a frame in another site's page, `/embed`.

use rocket::{State, get};

use crate::web::http::error::HttpError;
use crate::web::http::headers::Framed;
use crate::web::pages::Pages;
use crate::web::pages::show::{Show, ShowQuery, ShowView};
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;

/// The newest roll with links to this site. Pages of any site may frame it. It has no form and no
/// button that changes anything, so a page around it gains nothing from a visitor's click.
///
/// # Errors
///
/// A parameter cannot be used; the history cannot be read.
#[get("/embed?<query..>")]
pub async fn page(
    query: ShowQuery,
    pages: &State<Pages>,
    site: &State<Site>,
) -> Result<Framed<Page>, HttpError> {
    let show = Show::read(&query, site.dice())?;
    Ok(Framed(Page::render("embed", ShowView::read(&show, pages, site).await?)))
}
