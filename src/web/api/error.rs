//! Errors of the API: JSON, whatever the client prefers.

use rocket::http::Status;
use rocket::response::{self, Responder};
use rocket::{Request, catch};

use crate::store::StoreError;
use crate::web::http::error::HttpError;

/// An error as JSON.
#[derive(Debug)]
pub struct ApiError(HttpError);

impl From<HttpError> for ApiError {
    fn from(error: HttpError) -> ApiError {
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
        self.0.respond_in_json(request)
    }
}

#[catch(default)]
pub fn uncaught(status: Status, request: &Request<'_>) -> ApiError {
    ApiError(HttpError::uncaught(status, request))
}
