//! Errors as pages, or as JSON for clients that prefer it.

use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::response::{self, Responder};
use rocket::{Request, catch, catchers};

use crate::web::http::accept::prefers_json;
use crate::web::http::error::HttpError;
use crate::web::pages::templates::Page;
use crate::web::pages::view::ErrorView;

/// Shows errors that no handler made.
pub fn stage() -> AdHoc {
    AdHoc::on_ignite("error pages", |rocket| async { rocket.register("/", catchers![uncaught]) })
}

#[catch(default)]
fn uncaught(status: Status, request: &Request<'_>) -> HttpError {
    HttpError::uncaught(status, request)
}

impl<'r> Responder<'r, 'static> for HttpError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = if prefers_json(request) {
            self.respond_in_json(request)?
        } else {
            let view = ErrorView::new(self.status, self.message.clone());
            let page = Page::render("error", view).respond_to(request)?;
            self.respond_with(request, page)
        };
        response.set_raw_header("Vary", "Accept");
        Ok(response)
    }
}
