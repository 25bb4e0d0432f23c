//! Entity tags: a browser sends one to ask whether its copy is still current.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9110#field.etag>.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};

use rocket::http::HeaderMap;
use rocket::request::{FromRequest, Outcome};
use rocket::{Request, async_trait};

/// The entity tag of some content, with its quotes.
pub fn of(content: &impl Hash) -> String {
    format!("\"{}\"", content_hash(content))
}

/// A hash of some content in hexadecimal, the same at every start of the same build.
pub fn content_hash(content: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The entity tags of the copies that a client has.
pub struct Known<'r>(&'r HeaderMap<'r>);

impl<'r> Known<'r> {
    pub fn of(headers: &'r HeaderMap<'r>) -> Known<'r> {
        Known(headers)
    }

    /// Whether the client has the content with this entity tag.
    pub fn has(&self, etag: &str) -> bool {
        let known = self.0.get("If-None-Match").flat_map(|tags| tags.split(','));
        known.map(str::trim).any(|tag| tag.trim_start_matches("W/") == etag || tag == "*")
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for Known<'r> {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Known<'r>, Infallible> {
        Outcome::Success(Known::of(request.headers()))
    }
}

/// Whether the client of a request already has the content with this entity tag.
pub fn is_known(request: &Request<'_>, etag: &str) -> bool {
    Known::of(request.headers()).has(etag)
}
