//! The history, `/rolls`: page by page, of a day, with a result, or from a moment on. Every page
//! has an address of its own.

mod query;
mod view;

use rocket::response::Redirect;
use rocket::{Either, State, get};

use crate::time_spec::moment;
use crate::web::http::error::HttpError;
use crate::web::pages::links::Place;
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;
use crate::web::pages::{Pages, links};

use self::query::HistoryQuery;
use self::view::HistoryPage;

/// A page of the history, or a redirect from a moment to the page that has it.
///
/// # Errors
///
/// A parameter cannot be used, or the history cannot be read.
#[get("/rolls?<query..>")]
pub async fn page(
    query: HistoryQuery<'_>,
    pages: &State<Pages>,
    site: &State<Site>,
) -> Result<Either<Page, Redirect>, HttpError> {
    if let Some(at) = query.at() {
        return Ok(Either::Right(pages.redirect_to(at).await?));
    }
    let filter = query.filter()?;
    let found = pages.store.search(query.search(filter)?, pages.page_size).await?;
    let page = HistoryPage::new(filter, &found, pages.page_size, site);
    Ok(Either::Left(Page::render("rolls", page)))
}

impl Pages {
    /// To the page that has the first roll at or after a moment in its middle.
    async fn redirect_to(&self, at: &str) -> Result<Redirect, HttpError> {
        let moment = moment(at).map_err(|error| HttpError::invalid("at", error))?;
        Ok(Redirect::to(match self.store.at(moment).await? {
            Some(id) => links::around(id, self.page_size),
            None => links::history(None, None, Place::Newest),
        }))
    }
}
