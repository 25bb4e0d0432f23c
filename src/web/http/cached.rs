//! Files in memory whose copies a client may keep, with an entity tag to ask whether a copy is still
//! current.

use std::borrow::Cow;
use std::io::Cursor;
use std::sync::Arc;

use rocket::Request;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};

use crate::web::http::etag;

/// A file, which is shared by all its responses.
#[derive(Clone)]
pub struct Cached {
    content: Content,
    content_type: ContentType,
    etag: String,
    control: &'static str,
}

impl Cached {
    /// A file with a hash of its content as the entity tag. `control` is the value of
    /// `Cache-Control`.
    pub fn new(
        content: impl Into<Cow<'static, [u8]>>,
        content_type: ContentType,
        control: &'static str,
    ) -> Cached {
        let content = content.into();
        let etag = etag::of(&content);
        Cached { content: Content(Arc::new(content)), content_type, etag, control }
    }

    /// The same file with another value of `Cache-Control`.
    pub fn with_control(self, control: &'static str) -> Cached {
        Cached { control, ..self }
    }

    pub fn content(&self) -> &[u8] {
        self.content.as_ref()
    }

    /// The entity tag, with its quotes.
    pub fn etag(&self) -> &str {
        &self.etag
    }
}

impl<'r> Responder<'r, 'static> for Cached {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Cached { content, content_type, etag, control } = self;
        let is_known = etag::is_known(request, &etag);
        let mut response = Response::build();
        response.raw_header("Cache-Control", control).raw_header("ETag", etag);
        if is_known {
            return response.status(Status::NotModified).ok();
        }
        let length = content.as_ref().len();
        response.header(content_type).sized_body(length, Cursor::new(content)).ok()
    }
}

#[derive(Clone)]
struct Content(Arc<Cow<'static, [u8]>>);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
