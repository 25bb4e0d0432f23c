//! Errors as pages, or as JSON for clients that ask for JSON.

use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use rocket::{Request, catch, catchers};
use serde::Serialize;
use tracing::{error, warn};
use utoipa::ToSchema;

use crate::roll::RollId;
use crate::store::{Kept, StoreError, Unreadable};
use crate::text::{ValueError, shortened};
use crate::web::pages::templates::Page;
use crate::web::pages::view::ErrorView;
use crate::web::{access, headers, methods};

/// An answer other than the one asked for.
#[derive(Debug)]
pub struct PageError {
    status: Status,
    /// What was expected and seen, and what to do.
    message: String,
    /// When to come back.
    retry_after_seconds: Option<u64>,
    /// Which methods there are.
    allow: Option<String>,
}

pub fn stage() -> AdHoc {
    AdHoc::on_ignite("error pages", |rocket| async { rocket.register("/", catchers![uncaught]) })
}

impl PageError {
    /// A value in the address that cannot be used.
    pub fn invalid(name: &str, error: ValueError) -> PageError {
        PageError::new(Status::UnprocessableEntity, format!("{name}: {error}"))
    }

    /// A roll that is no longer kept, for which there never will be another: 410; or one that is not
    /// made yet.
    pub fn no_roll(id: RollId, kept: Kept) -> PageError {
        let status = match id {
            id if id > RollId::BEFORE_FIRST && id < kept.oldest && id <= kept.head.id => {
                Status::Gone
            }
            _ => Status::NotFound,
        };
        let message = if id == RollId::BEFORE_FIRST {
            "Rolls are counted from 1.".into()
        } else if id > kept.head.id {
            format!("Roll {id} has not been rolled yet; the newest is {}.", kept.head.id)
        } else if id < kept.oldest {
            format!("Roll {id} is no longer kept; the oldest that is kept is {}.", kept.oldest)
        } else {
            format!("Roll {id} is not in the history.")
        };
        PageError::new(status, message)
    }

    /// Too many open streams, for a client that cannot be told inside a stream, or downloads.
    pub fn too_many(message: String, retry_after_seconds: u64) -> PageError {
        PageError {
            retry_after_seconds: Some(retry_after_seconds),
            ..PageError::new(Status::ServiceUnavailable, message)
        }
    }

    /// A method other than these.
    pub fn no_method(methods: &str) -> PageError {
        let message = format!("Expected one of the methods {methods}.");
        PageError {
            allow: Some(methods.into()),
            ..PageError::new(Status::MethodNotAllowed, message)
        }
    }

    /// What no handler answered.
    pub fn uncaught(status: Status, request: &Request<'_>) -> PageError {
        let message = match status.code {
            405 => return PageError::no_method(&methods::allowed(request)),
            404 => format!("There is nothing at `{}`.", shortened(request.uri().path().as_str())),
            500 => "Something went wrong here; the log has the details. Try again.".into(),
            _ => format!("The request could not be answered ({}).", status.reason_lossy()),
        };
        PageError::new(status, message)
    }

    fn new(status: Status, message: String) -> PageError {
        PageError { status, message, retry_after_seconds: None, allow: None }
    }
}

impl From<StoreError> for PageError {
    /// The visitor learns that the history cannot be read now, the log learns why.
    fn from(error: StoreError) -> PageError {
        if matches!(error, StoreError::OtherHistory(_)) {
            return PageError::new(Status::Conflict, error.to_string());
        }
        if let StoreError::Unreadable(Unreadable { id, reason }) = &error {
            // The store logged it.
            let message = format!("Roll {id} cannot be read: {reason}.");
            return PageError::new(Status::InternalServerError, message);
        }
        let is_load = error.is_load();
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
        if wants_json(request) {
            return ApiError(self).respond_to(request);
        }
        let view = ErrorView::new(request, self.status, self.message.clone());
        let body = Page::render("error", view).respond_to(request)?;
        self.head(request, body)
    }
}

impl PageError {
    /// Status and headers around a body.
    fn head(&self, request: &Request<'_>, body: Response<'static>) -> response::Result<'static> {
        let mut response = Response::build_from(body);
        response.status(self.status);
        if let Some(seconds) = self.retry_after_seconds {
            response.raw_header("Retry-After", seconds.to_string());
        }
        if let Some(methods) = &self.allow {
            response.raw_header("Allow", methods.clone());
        }
        let mut response = response.finalize();
        if access::is_unread(request, self.status) {
            headers::protect(request, &mut response);
        }
        Ok(response)
    }
}

/// The same in JSON, whatever the client prefers.
#[derive(Debug)]
pub struct ApiError(pub PageError);

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorJson {
    error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// For machines: the status by its name, such as `not_found`.
    code: String,
    /// For people: what was expected and seen, and what to do.
    message: String,
}

impl From<PageError> for ApiError {
    fn from(error: PageError) -> ApiError {
        ApiError(error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        ApiError(error.into())
    }
}

impl<'r> Responder<'r, 'static> for ApiError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let ApiError(error) = self;
        let code = error.status.reason_lossy().to_lowercase().replace([' ', '-'], "_");
        let detail = ErrorDetail { code, message: error.message.clone() };
        let body = serde_json::to_string(&ErrorJson { error: detail });
        let body = body.expect("plain structs become JSON");
        let body = (ContentType::JSON, body).respond_to(request)?;
        error.head(request, body)
    }
}

/// Whether JSON is the media type that the client prefers.
pub fn wants_json(request: &Request<'_>) -> bool {
    request.accept().is_some_and(|accept| accept.preferred().media_type().is_json())
}

#[catch(default)]
fn uncaught(status: Status, request: &Request<'_>) -> PageError {
    PageError::uncaught(status, request)
}
