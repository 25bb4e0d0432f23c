//! The description of the API for programs. The page for people is `/developers`.

use rocket::get;
use rocket::response::Redirect;
use utoipa::OpenApi;

use crate::export_format::RollJson;
use crate::web::api::error::ApiError;
use crate::web::api::json::Json;
use crate::web::api::proof::ProofJson;
use crate::web::api::query::NoQuery;
use crate::web::api::rolls::{RollsJson, SearchedJson};
use crate::web::api::{download, proof, roll, rolls, stats};
use crate::web::http::error::ErrorJson;
use crate::web::http::error::code::ErrorCode;
use crate::web::pages::links;

const ABOUT: &str = "Past rolls, as JSON and as files. Everything is read-only and public: no \
    key, no cookies, and pages of other origins may use it. New rolls come over `/stream/` as \
    server-sent events. An unknown parameter is an error, never ignored. Errors are JSON with a \
    `code` for programs and a `message` for people.";

#[derive(OpenApi)]
#[openapi(
    info(title = "rollcast", description = ABOUT, license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    paths(rolls::rolls, roll::roll, download::csv, download::ndjson, stats::stats, proof::proof, document),
    components(schemas(RollsJson, SearchedJson, RollJson, ProofJson, ErrorJson, ErrorCode)),
    tags(
        (name = "rolls", description = "Rolls as JSON"),
        (name = "files", description = "Any range of rolls as a file"),
        (name = "statistics", description = "Statistics of all rolls"),
        (name = "proofs", description = "The key that checks proofs of rolls"),
        (name = "about", description = "This description"),
    )
)]
pub struct Document;

/// This description, for programs
///
/// An OpenAPI 3.1 document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "about",
    responses(
        (status = 200, description = "The document", body = Object, example = json!({
            "openapi": "3.1.0", "info": { "title": "rollcast", "version": "0.2.0" }, "paths": {}
        })),
        (status = 304, description = "Unchanged since the response that `If-None-Match` names"),
        (status = 422, description = "A parameter that cannot be used", body = ErrorJson),
    )
)]
#[get("/openapi.json")]
pub fn document(query: Result<NoQuery, ApiError>) -> Result<Json, ApiError> {
    query.map(|_| Json::of(&Document::openapi()))
}

/// The same, for people.
#[get("/")]
pub fn redirect() -> Redirect {
    Redirect::permanent(links::REFERENCE)
}
