//! The history, `/rolls`: page by page, of a day, with a die or a result, or from a time on. Every
//! page has an address of its own, which also names its time zone.

mod query;
mod view;
mod file;

use rocket::http::Status;
use rocket::response::{self, Redirect, Responder, Response};
use rocket::{Request, State, get};

use crate::roll::RolledAt;
use crate::web::http::accept::PrefersJson;
use crate::web::http::error::HttpError;
use crate::web::pages::links::Place;
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;
use crate::web::pages::{Pages, links};

use self::query::{Asked, Goal, HistoryQuery};
use self::view::HistoryPage;

pub use self::file::{csv, json};
pub use self::query::Filter;

/// The response to a request for a page.
pub enum Answer {
    Page(Page),
    /// The form with its errors.
    Unusable(Page),
    Redirect(Redirect),
}

impl<'r> Responder<'r, 'static> for Answer {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        match self {
            Answer::Page(page) => page.respond_to(request),
            Answer::Redirect(redirect) => redirect.respond_to(request),
            Answer::Unusable(page) => Response::build_from(page.respond_to(request)?)
                .status(Status::UnprocessableEntity)
                .raw_header("Vary", "Accept")
                .ok(),
        }
    }
}

/// A page of the history, or a redirect from a time to the page that has it.
///
/// # Errors
///
/// The history cannot be read. A field that cannot be used is shown with the form, with status 422;
/// to a client that prefers JSON it is an error.
#[get("/rolls?<query..>")]
pub async fn page(
    query: HistoryQuery<'_>,
    accepts: PrefersJson,
    pages: &State<Pages>,
    site: &State<Site>,
) -> Result<Answer, HttpError> {
    let (form, asked) = query.read();
    let dice = pages.store.dice_ever();
    let Some(Asked { filter, goal }) = asked else {
        if accepts.0 {
            return Err(form.first_error());
        }
        let page = HistoryPage::unusable(form, &dice, site);
        return Ok(Answer::Unusable(Page::render("rolls", page)));
    };
    let (after, before) = match goal {
        Goal::At(time) => return Ok(Answer::Redirect(pages.redirect_to(time, &filter).await?)),
        Goal::Between { after, before } => (after, before),
    };
    let search = filter.search(after, before).map_err(|error| HttpError::invalid("day", error))?;
    let found = pages.store.search(search, pages.page_size).await?;
    let page = HistoryPage::new(form, &dice, &filter, &found, pages.page_size, site);
    Ok(Answer::Page(Page::render("rolls", page)))
}

impl Pages {
    /// To the page that has the first roll at or after a time in its middle. With a die, to the page
    /// of the first such rolls from there on.
    async fn redirect_to(&self, time: RolledAt, filter: &Filter) -> Result<Redirect, HttpError> {
        Ok(Redirect::to(match self.store.at(time).await? {
            Some(id) if filter.die.is_some() => filter.link(Place::After(id.previous())),
            Some(id) => links::around(filter, id, self.page_size),
            None => filter.link(Place::Newest),
        }))
    }
}
