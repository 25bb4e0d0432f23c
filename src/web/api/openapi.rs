//! The API described by itself: a document for machines, a page for people, and what pages from
//! elsewhere may ask.

use rocket::fairing::AdHoc;
use rocket::http::Method;
use rocket::{State, get};
use rocket_dyn_templates::context;
use serde_json::Value;
use utoipa::OpenApi;

use crate::web::api::answer::Answer;
use crate::web::api::asked::NothingAsked;
use crate::web::http::error::{ApiError, ErrorJson};
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;

const ABOUT: &str = "Past rolls, as JSON and as files. Everything is read-only and public: no \
    key, no cookies, and pages from elsewhere may ask. New rolls come over `/stream/` as \
    server-sent events.";

#[derive(OpenApi)]
#[openapi(
    info(title = "rollcast", description = ABOUT, license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    paths(super::rolls, super::roll, super::csv, super::ndjson, super::stats, document),
    components(schemas(super::RollsJson, crate::record::RollJson, ErrorJson)),
    tags(
        (name = "rolls", description = "Rolls as JSON"),
        (name = "files", description = "Any range of rolls as a file"),
        (name = "statistics", description = "What all rolls together show"),
        (name = "about", description = "This description"),
    )
)]
struct Document;

/// This description, for machines
///
/// An OpenAPI 3.1 document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "about",
    responses(
        (status = 200, description = "The document", body = Object),
        (status = 304, description = "Unchanged since the answer that `If-None-Match` names"),
        (status = 422, description = "A value that cannot be used", body = ErrorJson),
    )
)]
#[get("/openapi.json")]
pub fn document(asked: Result<NothingAsked, ApiError>) -> Result<Answer, ApiError> {
    asked.map(|_| Answer::json(&Document::openapi()))
}

/// The same, for people.
#[get("/")]
pub fn page(site: &State<Site>) -> Page {
    let document = serde_json::to_value(Document::openapi()).unwrap_or(Value::Null);
    Page::render("api", context! { site: site.view(), title: "API", document })
}

/// Pages from elsewhere may read all of it, errors included, and ask whether they may.
pub fn public() -> AdHoc {
    AdHoc::on_response("the API is public", |request, response| {
        Box::pin(async move {
            if !request.uri().path().starts_with("/api") {
                return;
            }
            response.set_raw_header("Access-Control-Allow-Origin", "*");
            let exposed = "ETag, Link, Retry-After, Rollcast-Last, Rollcast-Oldest";
            response.set_raw_header("Access-Control-Expose-Headers", exposed);
            if request.method() == Method::Options {
                response.set_raw_header("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS");
                response
                    .set_raw_header("Access-Control-Allow-Headers", "If-None-Match, Cache-Control");
                response.set_raw_header("Access-Control-Max-Age", "86400");
            }
        })
    })
}
