//! Errors as pages, or as JSON for clients that ask for JSON.

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use rocket::{Request, catch, catchers};
use rocket_dyn_templates::Template;
use serde_json::json;
use tracing::{error, warn};

use crate::roll::{RollId, ValueError};
use crate::store::{Kept, StoreError};
use crate::web::view::ErrorView;

/// An answer other than the one asked for.
#[derive(Debug)]
pub struct PageError {
    status: Status,
    /// What was expected and seen, and what to do.
    message: String,
    /// When to come back.
    retry_after_seconds: Option<u64>,
}

pub fn stage() -> AdHoc {
    AdHoc::on_ignite("error pages", |rocket| async { rocket.register("/", catchers![uncaught]) })
}

impl PageError {
    /// A value in the address that cannot be used.
    pub fn invalid(name: &str, error: ValueError) -> PageError {
        PageError::new(Status::UnprocessableEntity, format!("{name}: {error}"))
    }

    /// A roll that is not kept, or not made yet.
    pub fn no_roll(id: RollId, kept: Kept) -> PageError {
        let message = if id == RollId::BEFORE_FIRST {
            "Rolls are counted from 1.".into()
        } else if id > kept.head.id {
            format!("Roll {id} has not been rolled yet; the newest is {}.", kept.head.id)
        } else if id < kept.oldest {
            format!("Roll {id} is no longer kept; the oldest that is kept is {}.", kept.oldest)
        } else {
            format!("Roll {id} is not in the history.")
        };
        PageError::new(Status::NotFound, message)
    }

    /// Too many open streams, for a client that cannot be told inside a stream.
    pub fn too_many_streams(message: String, retry_after_seconds: u64) -> PageError {
        PageError {
            retry_after_seconds: Some(retry_after_seconds),
            ..PageError::new(Status::ServiceUnavailable, message)
        }
    }

    fn new(status: Status, message: String) -> PageError {
        PageError { status, message, retry_after_seconds: None }
    }
}

impl From<StoreError> for PageError {
    /// The visitor learns that the history cannot be read now, the log learns why.
    fn from(error: StoreError) -> PageError {
        let is_load = matches!(error, StoreError::Busy);
        let cause = anyhow::Error::new(error);
        if is_load {
            warn!("cannot read the history: {cause:#}");
        } else {
            error!("cannot read the history: {cause:#}");
        }
        PageError {
            retry_after_seconds: Some(1),
            ..PageError::new(
                Status::ServiceUnavailable,
                "The history cannot be read at the moment. Live rolls go on; try again soon."
                    .into(),
            )
        }
    }
}

impl<'r> Responder<'r, 'static> for PageError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let PageError { status, message, retry_after_seconds } = self;
        let body = if wants_json(request) {
            let code = status.reason_lossy().to_lowercase().replace([' ', '-'], "_");
            let body = json!({ "error": { "code": code, "message": message } });
            (ContentType::JSON, body.to_string()).respond_to(request)?
        } else {
            let view = ErrorView::new(request, status, message);
            Template::render("error", view).respond_to(request)?
        };
        let mut response = Response::build_from(body);
        response.status(status);
        if let Some(seconds) = retry_after_seconds {
            response.raw_header("Retry-After", seconds.to_string());
        }
        response.ok()
    }
}

/// Whether JSON is the media type that the client prefers.
pub fn wants_json(request: &Request<'_>) -> bool {
    request.accept().is_some_and(|accept| accept.preferred().media_type().is_json())
}

#[catch(default)]
fn uncaught(status: Status, request: &Request<'_>) -> PageError {
    let message = match status.code {
        404 => format!("There is nothing at `{}`.", request.uri().path()),
        500 => "Something went wrong here; the log has the details. Try again.".into(),
        _ => format!("The request could not be answered ({}).", status.reason_lossy()),
    };
    PageError::new(status, message)
}
