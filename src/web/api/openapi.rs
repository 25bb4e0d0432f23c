//! The API described by itself: a document for machines, a page for people, and which methods
//! there are.

use rocket::fairing::AdHoc;
use rocket::http::{Method, Status};
use rocket::route::{Handler, Outcome, Route};
use rocket::{Data, Request, Response, State, async_trait, get};
use rocket_dyn_templates::{Template, context};
use serde_json::Value;
use utoipa::OpenApi;

use crate::web::api::answer::Answer;
use crate::web::api::asked::NothingAsked;
use crate::web::assets::Assets;
use crate::web::error::{ApiError, ErrorJson, PageError};
use crate::web::view::Site;

const ABOUT: &str = "Past rolls, as JSON and as files. Everything is read-only and public: no \
    key, no cookies, and pages from elsewhere may ask. New rolls come over `/stream/` as \
    server-sent events.";
const METHODS: &str = "GET, HEAD, OPTIONS";

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
pub fn page(site: &State<Site>, assets: &State<Assets>) -> Template {
    let document = serde_json::to_value(Document::openapi()).unwrap_or(Value::Null);
    Template::render("api", context! { site: site.view(assets), title: "API", document })
}

/// Pages from elsewhere may read all of it, errors included.
pub fn public() -> AdHoc {
    AdHoc::on_response("the API is public", |request, response| {
        Box::pin(async move {
            if request.uri().path().starts_with("/api") {
                response.set_raw_header("Access-Control-Allow-Origin", "*");
                let exposed = "ETag, Link, Retry-After, Rollcast-Last, Rollcast-Oldest";
                response.set_raw_header("Access-Control-Expose-Headers", exposed);
            }
        })
    })
}

/// Routes that answer every method but GET and HEAD.
pub fn refusals() -> Vec<Route> {
    let others = [
        Method::Options,
        Method::Post,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Trace,
        Method::Connect,
    ];
    others.map(|method| Route::ranked(10, method, "/<path..>", Refusal)).into()
}

/// Says which methods there are, with or without reproach.
#[derive(Clone)]
struct Refusal;

#[async_trait]
impl Handler for Refusal {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        let path = request.uri().path();
        if !is_described(path.as_str()) {
            return Outcome::forward(data, Status::NotFound);
        }
        let mut response = Response::new();
        response.set_status(Status::NoContent);
        if request.method() != Method::Options {
            let error = PageError::no_method(METHODS);
            let Outcome::Success(refusal) = Outcome::from(request, ApiError(error)) else {
                return Outcome::Error(Status::InternalServerError);
            };
            response = refusal;
        }
        response.set_raw_header("Allow", METHODS);
        response.set_raw_header("Access-Control-Allow-Methods", METHODS);
        response.set_raw_header("Access-Control-Allow-Headers", "If-None-Match, Cache-Control");
        response.set_raw_header("Access-Control-Max-Age", "86400");
        Outcome::Success(response)
    }
}

/// Whether there is something at `path`: what the document describes, and its own page.
fn is_described(path: &str) -> bool {
    let fits = |pattern: &str| {
        let (pattern, path) = (pattern.split('/'), path.split('/'));
        pattern.clone().count() == path.clone().count()
            && pattern.zip(path).all(|(part, seen)| part == seen || part.starts_with('{'))
    };
    let path = path.trim_end_matches('/');
    path == "/api" || Document::openapi().paths.paths.keys().any(|pattern| fits(pattern))
}
