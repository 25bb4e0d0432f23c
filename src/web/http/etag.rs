//! Entity tags: short names of contents, by which a browser asks whether it still has the newest.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9110#field.etag>.

use std::hash::{DefaultHasher, Hash, Hasher};

use rocket::Request;

/// The tag of some content, in its quotes.
pub fn of(content: &impl Hash) -> String {
    format!("\"{}\"", name(content))
}

/// A short name of some content, the same at every start of the same build.
pub fn name(content: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Whether the client has the content with this tag already.
pub fn is_known(request: &Request<'_>, etag: &str) -> bool {
    let known = request.headers().get("If-None-Match").flat_map(|tags| tags.split(','));
    known.map(str::trim).any(|tag| tag.trim_start_matches("W/") == etag || tag == "*")
}
