//! The rolls of one page of the history as a file, `/rolls.csv` and `/rolls.json`: the same query, and
//! the same rolls in the same order.

use rocket::http::ContentType;
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get};

use crate::export_format::{Encoder, Format};
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::pages::Pages;
use crate::web::pages::history::query::{Asked, Goal, HistoryQuery};
use crate::web::pages::history::view::dice_of;

/// A file of at most a page of rolls.
pub struct PageFile {
    content_type: ContentType,
    file_name: String,
    text: Vec<u8>,
}

/// A page of the history as CSV.
///
/// # Errors
///
/// A field cannot be used, or the history cannot be read.
#[get("/rolls.csv?<query..>")]
pub async fn csv(query: HistoryQuery<'_>, pages: &State<Pages>) -> Result<PageFile, HttpError> {
    file(Format::Csv, ContentType::CSV, &query, pages).await
}

/// A page of the history as JSON.
///
/// # Errors
///
/// A field cannot be used, or the history cannot be read.
#[get("/rolls.json?<query..>")]
pub async fn json(query: HistoryQuery<'_>, pages: &State<Pages>) -> Result<PageFile, HttpError> {
    file(Format::Json, ContentType::JSON, &query, pages).await
}

async fn file(
    format: Format,
    content_type: ContentType,
    query: &HistoryQuery<'_>,
    pages: &Pages,
) -> Result<PageFile, HttpError> {
    let (form, asked) = query.read();
    let Some(Asked { filter, goal }) = asked else { return Err(form.first_error()) };
    let Goal::Between { after, before } = goal else {
        let message = "expected a page of rolls by `before` or `after`, got a time";
        return Err(HttpError::new(ErrorCode::InvalidParameter, message));
    };
    let search = filter.search(after, before).map_err(|error| HttpError::invalid("day", error))?;
    let found = pages.store.search(search, pages.page_size).await?;
    let mut encoder = Encoder::new(format, dice_of([], &found.rolls));
    let mut text = encoder.head();
    text.extend(encoder.rolls(&found.rolls).expect("every die has a column"));
    text.extend(encoder.foot());
    Ok(PageFile { content_type, file_name: format!("rolls.{format}"), text })
}

impl<'r> Responder<'r, 'static> for PageFile {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let PageFile { content_type, file_name, text } = self;
        let disposition = format!("attachment; filename=\"{file_name}\"");
        Response::build_from((content_type, text).respond_to(request)?)
            .raw_header("Content-Disposition", disposition)
            .ok()
    }
}
