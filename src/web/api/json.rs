//! A response in JSON, and how long a cache may keep it.

use std::io::Cursor;

use rocket::Request;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use serde::Serialize;

use crate::config::Keep;
use crate::roll::RollId;
use crate::store::Unreadable;
use crate::web::api::links::Links;
use crate::web::http::etag;

/// One day rather than one year: a roll never changes, but a database that is restored from a
/// backup continues with the same ids and other rolls.
const FINAL: &str = "public, max-age=86400, immutable";

/// A response in JSON.
pub struct Json {
    body: String,
    links: String,
    oldest: Option<RollId>,
    unreadable: Vec<RollId>,
    cache: Option<&'static str>,
}

impl Json {
    pub fn of(body: &impl Serialize) -> Json {
        let body = serde_json::to_string(body).expect("plain structs become JSON");
        Json { body, links: String::new(), oldest: None, unreadable: Vec::new(), cache: None }
    }

    pub fn with_links(self, links: &Links) -> Json {
        Json { links: links.header(), ..self }
    }

    /// Names the oldest roll that is kept.
    pub fn with_oldest(self, oldest: RollId) -> Json {
        Json { oldest: Some(oldest), ..self }
    }

    /// Names the rows that cannot be read.
    pub fn with_unreadable(self, unreadable: &[Unreadable]) -> Json {
        let unreadable = unreadable.iter().map(|unreadable| unreadable.id).collect();
        Json { unreadable, ..self }
    }

    /// Lets caches keep a response that no later roll can change. Where rolls are pruned, pruning
    /// can change it, so caches must revalidate it each time.
    pub fn cached_if(self, is_final: bool, keep: Keep) -> Json {
        Json { cache: (is_final && keep == Keep::Forever).then_some(FINAL), ..self }
    }
}

impl<'r> Responder<'r, 'static> for Json {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Json { body, links, oldest, unreadable, cache } = self;
        let etag = etag::of(&(&body, &links));
        let mut response = Response::build();
        response.raw_header("ETag", etag.clone());
        if let Some(cache) = cache {
            response.raw_header("Cache-Control", cache);
        }
        if let Some(oldest) = oldest {
            response.raw_header("Rollcast-Oldest", oldest.to_string());
        }
        if !unreadable.is_empty() {
            let ids: Vec<String> = unreadable.iter().map(RollId::to_string).collect();
            response.raw_header("Rollcast-Unreadable", ids.join(", "));
        }
        if !links.is_empty() {
            response.raw_header("Link", links);
        }
        if etag::is_known(request, &etag) {
            return response.status(Status::NotModified).ok();
        }
        response.header(ContentType::JSON).sized_body(body.len(), Cursor::new(body)).ok()
    }
}
