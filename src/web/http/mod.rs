//! HTTP middleware that all endpoints share.

pub mod request_headers;
pub mod forwarded;
pub mod client;
pub mod access;
pub mod headers;
pub mod methods;
pub mod host;
pub mod accept;
pub mod public_url;
pub mod address;
pub mod etag;
pub mod cached;
pub mod error;
pub mod permits;
pub mod ahead;

use rocket::http::uri::Origin;

use crate::text::shortened;

use self::error::HttpError;
use self::error::code::ErrorCode;

/// Refuses every spelling of a path but this one, so that a resource has one address. Rocket drops
/// empty segments and decodes the others, so more spellings lead to a handler.
///
/// # Errors
///
/// 404 for another spelling.
pub fn require_path(uri: &Origin<'_>, path: &str) -> Result<(), HttpError> {
    let sent = uri.path().as_str();
    if sent == path {
        return Ok(());
    }
    let message = format!("There is nothing at `{}`.", shortened(sent));
    Err(HttpError::new(ErrorCode::NotFound, message))
}
