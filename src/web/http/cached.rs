//! Files in memory whose copies a client may keep, with an entity tag to ask whether a copy is still
//! current.

use std::borrow::Cow;
use std::io::Cursor;
use std::sync::Arc;

use rocket::Request;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Builder, Responder, Response};

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
        Cached::with_etag(etag, content, content_type, control)
    }

    /// A file with another entity tag, which must change with the content.
    pub fn with_etag(
        etag: String,
        content: impl Into<Cow<'static, [u8]>>,
        content_type: ContentType,
        control: &'static str,
    ) -> Cached {
        let content = content.into();
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
        if etag::is_known(request, &etag) {
            return Unchanged { etag, control }.respond_to(request);
        }
        headers(etag, control)
            .header(content_type)
            .sized_body(content.as_ref().len(), Cursor::new(content))
            .ok()
    }
}

/// The answer that the client has a current copy.
pub struct Unchanged {
    /// The entity tag of the copy, with its quotes.
    pub etag: String,
    /// The value of `Cache-Control`.
    pub control: &'static str,
}

impl<'r> Responder<'r, 'static> for Unchanged {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        headers(self.etag, self.control).status(Status::NotModified).ok()
    }
}

fn headers(etag: String, control: &'static str) -> Builder<'static> {
    let mut response = Response::build();
    response.raw_header("Cache-Control", control).raw_header("ETag", etag);
    response
}

#[derive(Clone)]
struct Content(Arc<Cow<'static, [u8]>>);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
