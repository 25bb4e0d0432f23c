//! An error as a response: status, code, message and headers. Endpoints under `/api` write it as
//! JSON, all others as a page, or as JSON for clients that prefer it.

pub mod code;

use rocket::Request;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use serde::Serialize;
use tracing::{error, warn};
use utoipa::ToSchema;

use crate::roll::RollId;
use crate::store::{Kept, StoreError, Unreadable};
use crate::text::{ValueError, shortened};
use crate::web::http::{access, headers, host, methods};

use self::code::ErrorCode;

/// A response other than the requested one.
#[derive(Debug)]
pub struct HttpError {
    pub status: Status,
    code: ErrorCode,
    /// What was expected, what came instead, and what to do.
    pub message: String,
    retry_after_seconds: Option<u64>,
    /// The `Allow` header: the methods of the address.
    allow: Option<String>,
    /// For the log; clients do not see it.
    cause: Option<Box<StoreError>>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorJson {
    error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// For programs: what went wrong.
    code: ErrorCode,
    /// For people: what was expected, what came instead, and what to do.
    message: String,
}

impl HttpError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> HttpError {
        HttpError {
            status: code.status(),
            code,
            message: message.into(),
            retry_after_seconds: None,
            allow: None,
            cause: None,
        }
    }

    /// A parameter whose value cannot be used.
    pub fn invalid(name: &str, error: ValueError) -> HttpError {
        HttpError::new(ErrorCode::InvalidParameter, format!("{name}: {error}"))
    }

    /// A roll that is not stored: pruned, not rolled yet, or never to be rolled.
    pub fn no_roll(id: RollId, kept: Kept) -> HttpError {
        let newest = kept.head.id;
        if id == RollId::BEFORE_FIRST {
            HttpError::new(ErrorCode::RollNotFound, "Rolls are counted from 1.")
        } else if id > newest {
            let message = format!("Roll {id} has not been rolled yet; the newest is {newest}.");
            HttpError::new(ErrorCode::RollNotFound, message)
        } else if id < kept.oldest {
            let oldest = kept.oldest;
            let message =
                format!("Roll {id} is no longer kept; the oldest that is kept is {oldest}.");
            HttpError::new(ErrorCode::RollPruned, message)
        } else {
            HttpError::new(ErrorCode::RollNotFound, format!("Roll {id} is not in the history."))
        }
    }

    /// A part of the log whose rolls are pruned.
    pub fn pruned(what: &str, kept: Kept) -> HttpError {
        let oldest = kept.oldest;
        let message =
            format!("{what} is no longer kept; the oldest roll that is kept is {oldest}.");
        HttpError::new(ErrorCode::RollPruned, message)
    }

    /// An answer that asks the client to come back: too many open streams or downloads, or a roll that
    /// is not signed yet.
    pub fn later(code: ErrorCode, message: String, retry_after_seconds: u64) -> HttpError {
        HttpError {
            retry_after_seconds: Some(retry_after_seconds),
            ..HttpError::new(code, message)
        }
    }

    /// A response that no handler made, by its status.
    pub fn uncaught(status: Status, request: &Request<'_>) -> HttpError {
        match status.code {
            400 => HttpError::bad_request(request),
            404 => {
                let path = shortened(request.uri().path().as_str());
                HttpError::new(ErrorCode::NotFound, format!("There is nothing at `{path}`."))
            }
            405 => HttpError::wrong_method(&methods::allowed(request)),
            500 => HttpError::new(
                ErrorCode::InternalError,
                "Something went wrong here; the log has the details. Try again.",
            ),
            _ => {
                let reason = status.reason_lossy();
                let message = format!("The request could not be answered ({reason}).");
                HttpError { status, ..HttpError::new(ErrorCode::of_status(status), message) }
            }
        }
    }

    fn bad_request(request: &Request<'_>) -> HttpError {
        match host::check(request) {
            Err(fault) => HttpError::new(ErrorCode::InvalidHost, fault.to_string()),
            Ok(()) => HttpError::new(
                ErrorCode::InvalidRequest,
                "The request could not be answered (Bad Request).",
            ),
        }
    }

    /// The address has no such method, only those in the list `allowed`, such as `GET, HEAD`.
    pub fn wrong_method(allowed: &str) -> HttpError {
        let message = format!("Expected one of the methods {allowed}.");
        HttpError {
            allow: Some(allowed.into()),
            ..HttpError::new(ErrorCode::MethodNotAllowed, message)
        }
    }

    /// The response as JSON. Logs the cause, if there is one.
    ///
    /// # Errors
    ///
    /// Never: Rocket makes a response of any text.
    pub fn respond_in_json(self, request: &Request<'_>) -> response::Result<'static> {
        let body = (ContentType::JSON, self.json()).respond_to(request)?;
        Ok(self.respond_with(request, body))
    }

    /// The error as JSON.
    pub fn json(&self) -> String {
        let detail = ErrorDetail { code: self.code, message: self.message.clone() };
        serde_json::to_string(&ErrorJson { error: detail }).expect("plain structs become JSON")
    }

    /// The headers beside those of the body: when to come back, and the methods of the address.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let retry_after = self.retry_after_seconds.map(|seconds| seconds.to_string());
        let headers = [("Retry-After", retry_after), ("Allow", self.allow.clone())];
        headers.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// Logs the cause, if there is one.
    pub fn log_cause(self) {
        if let Some(cause) = self.cause {
            log(*cause);
        }
    }

    /// The response with this body. Logs the cause, if there is one.
    pub fn respond_with(self, request: &Request<'_>, body: Response<'static>) -> Response<'static> {
        let mut response = Response::build_from(body);
        response.status(self.status);
        for (name, value) in self.headers() {
            response.raw_header(name, value);
        }
        let status = self.status;
        self.log_cause();
        let mut response = response.finalize();
        if access::log_if_unread(request, status) {
            headers::protection(request.rocket()).into_iter().for_each(|header| {
                response.set_header(header);
            });
        }
        response
    }
}

impl From<StoreError> for HttpError {
    /// The visitor learns that the history cannot be read now. The log gets the cause.
    fn from(error: StoreError) -> HttpError {
        if matches!(error, StoreError::OtherHistory(_)) {
            return HttpError::new(ErrorCode::CursorOfAnotherHistory, error.to_string());
        }
        if let StoreError::Unreadable(Unreadable { id, reason }) = &error {
            // The store logged it.
            let message = format!("Roll {id} cannot be read: {reason}.");
            return HttpError::new(ErrorCode::RollUnreadable, message);
        }
        if let StoreError::Changed { .. } = &error {
            let message = format!("The server cannot prove this: {error}.");
            let cause = Some(Box::new(error));
            return HttpError { cause, ..HttpError::new(ErrorCode::RollChanged, message) };
        }
        let code = if error.is_load() { ErrorCode::Busy } else { ErrorCode::HistoryUnreadable };
        let message =
            "The history cannot be read at the moment. Live rolls continue; try again soon.";
        HttpError {
            retry_after_seconds: Some(1),
            cause: Some(Box::new(error)),
            ..HttpError::new(code, message)
        }
    }
}

fn log(cause: StoreError) {
    let is_load = cause.is_load();
    let cause = anyhow::Error::new(cause);
    if is_load {
        warn!("cannot read the history: {cause:#}");
    } else {
        error!("cannot read the history: {cause:#}");
    }
}
