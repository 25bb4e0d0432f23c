//! Entity tags: a browser sends one to ask whether its copy is still current.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9110#field.etag>.

use std::hash::{DefaultHasher, Hash, Hasher};

use rocket::Request;

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

/// Whether the client already has the content with this entity tag.
pub fn is_known(request: &Request<'_>, etag: &str) -> bool {
    let known = request.headers().get("If-None-Match").flat_map(|tags| tags.split(','));
    known.map(str::trim).any(|tag| tag.trim_start_matches("W/") == etag || tag == "*")
}
