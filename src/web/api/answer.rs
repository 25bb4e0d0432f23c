//! An answer in JSON, and how long it may be kept.

use std::io::Cursor;

use rocket::Request;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use serde::Serialize;

use crate::config::Keep;
use crate::roll::RollId;
use crate::store::{Order, Page, Unreadable};
use crate::web::api::asked::AskedPage;
use crate::web::http::etag;

/// A day and not a year: a roll never changes, but a database that is restored from a backup
/// goes on with the same ids and other rolls.
const CLOSED: &str = "public, max-age=86400, immutable";

/// An answer in JSON.
pub struct Answer {
    body: String,
    links: String,
    oldest: Option<RollId>,
    unreadable: Vec<RollId>,
    cache: Option<&'static str>,
}

impl Answer {
    pub fn json(body: &impl Serialize) -> Answer {
        let body = serde_json::to_string(body).expect("plain structs become JSON");
        Answer { body, links: String::new(), oldest: None, unreadable: Vec::new(), cache: None }
    }

    pub fn with_links(self, links: String) -> Answer {
        Answer { links, ..self }
    }

    /// The same, with a header that tells what is no longer kept.
    pub fn with_oldest(self, oldest: RollId) -> Answer {
        Answer { oldest: Some(oldest), ..self }
    }

    /// The same, with a header that names the rows that cannot be read.
    pub fn with_unreadable(self, unreadable: &[Unreadable]) -> Answer {
        let unreadable = unreadable.iter().map(|unreadable| unreadable.id).collect();
        Answer { unreadable, ..self }
    }

    /// The same, which no later roll changes. Where rolls are pruned, that may still do so: then it
    /// is asked for again each time, and mostly found unchanged.
    pub fn closed(self, keep: Keep) -> Answer {
        Answer { cache: (keep == Keep::Forever).then_some(CLOSED), ..self }
    }
}

impl<'r> Responder<'r, 'static> for Answer {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Answer { body, links, oldest, unreadable, cache } = self;
        let name = etag::of(&(&body, &links));
        let mut response = Response::build();
        response.raw_header("ETag", name.clone());
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
        if etag::is_known(request, &name) {
            return response.status(Status::NotModified).ok();
        }
        response.header(ContentType::JSON).sized_body(body.len(), Cursor::new(body)).ok()
    }
}

/// The pages before and after in the same order, as a `Link` header.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc8288>.
pub fn links(asked: &AskedPage, page: &Page) -> String {
    let Some((oldest, newest)) = page.edges() else { return String::new() };
    let limit = asked.limit;
    let (prev, next) = match asked.order() {
        Order::OldestFirst => {
            let from = RollId((oldest.id.0 - 1 - limit as i64).max(RollId::BEFORE_FIRST.0));
            let prev = format!("after={from}&before={oldest}&limit={limit}");
            let mut next = format!("after={newest}&limit={limit}");
            let mut more = page.n_rows() == limit;
            if let Some(before) = asked.part.before {
                next = format!("{next}&before={before}");
                more &= newest.id.next() < before.id;
            }
            ((oldest.id > page.kept.oldest).then_some(prev), more.then_some(next))
        }
        Order::NewestFirst => {
            let newer = asked.newer(newest.id);
            let prev = if newer > page.kept.head.id {
                format!("limit={limit}")
            } else {
                format!("before={newer}&limit={limit}")
            };
            let next = format!("before={oldest}&limit={limit}");
            (
                asked.part.before.is_some().then_some(prev),
                (oldest.id > page.kept.oldest).then_some(next),
            )
        }
    };
    let link = |rel: &str, query: String| format!("</api/rolls?{query}>; rel=\"{rel}\"");
    let links = [prev.map(|query| link("prev", query)), next.map(|query| link("next", query))];
    links.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
