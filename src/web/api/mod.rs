//! The API: the history as JSON, and as files of any size. Read-only and for everybody, also for
//! pages from elsewhere.

mod asked;
mod answer;
mod download;
mod openapi;

use std::sync::Arc;

use rocket::fairing::AdHoc;
use rocket::{State, catch, catchers, get, routes};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Config, Keep};
use crate::record::{Format, RollJson};
use crate::roll::RollId;
use crate::statistics::Statistics;
use crate::store::Store;
use crate::web::api::answer::{Answer, links};
use crate::web::api::asked::{Asked, AskedPage, Limit, NothingAsked};
use crate::web::api::download::Download;
use crate::web::http::client::Client;
use crate::web::http::error::{ApiError, ErrorJson, PageError};
use crate::web::http::slots::Slots;
use crate::web::pages::stats::Stats;

/// What the API reads.
struct Api {
    store: Store,
    downloads: Arc<Slots>,
    /// Whether rolls are pruned, which changes answers that no later roll changes.
    keep: Keep,
}

impl Api {
    async fn download(
        &self,
        format: Format,
        asked: &Asked,
        client: Client,
    ) -> Result<Download, ApiError> {
        let slot = download::place(&self.downloads, client)?;
        let extent = self.store.extent(asked.part()).await?;
        Ok(Download::new(format, extent, self.store.clone(), slot))
    }
}

pub fn stage(config: &Config, store: Store) -> AdHoc {
    let api = Api { store, downloads: download::places(), keep: config.store.keep };
    AdHoc::on_ignite("the API", |rocket| async {
        rocket
            .manage(api)
            .mount("/api", routes![rolls, roll, csv, ndjson, stats])
            .mount("/api", routes![openapi::document, openapi::page])
            .register("/api", catchers![uncaught])
            .attach(openapi::public())
    })
}

/// Some rolls.
#[derive(Serialize, ToSchema)]
#[schema(as = Rolls)]
struct RollsJson {
    /// In the order asked for.
    rolls: Vec<RollJson>,
}

/// Rolls by the page
///
/// With `after` or `since`, oldest first from there on; otherwise newest first. Once made, a roll
/// never changes. Where all rolls are kept, a page that later ones cannot change may be cached for a
/// day. Those that are no longer kept are missing at the beginning, and ids show it, since they have
/// no gaps; `Rollcast-Oldest` names the oldest that is kept.
#[utoipa::path(
    get,
    path = "/api/rolls",
    tag = "rolls",
    params(Asked, Limit),
    responses(
        (status = 200, description = "The rolls", body = RollsJson, headers(
            ("ETag" = String, description = "Names the answer, for `If-None-Match`"),
            ("Rollcast-Oldest" = String, description = "The id of the oldest roll that is kept, or the next one if none is"),
            ("Rollcast-Unreadable" = String, description = "The ids of damaged rolls that were left out of this page, if there are any"),
            ("Link" = String, description = "The pages after (`next`) and before (`prev`) in the same order (RFC 8288)"),
        )),
        (status = 304, description = "Unchanged since the answer that `If-None-Match` names"),
        (status = 409, description = "A cursor of another history", body = ErrorJson),
        (status = 422, description = "A value that cannot be used", body = ErrorJson),
        (status = 503, description = "The history cannot be read now; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/rolls")]
async fn rolls(asked: Result<AskedPage, ApiError>, api: &State<Api>) -> Result<Answer, ApiError> {
    let asked = asked?;
    let page = api.store.page(asked.part, asked.order(), asked.limit).await?;
    let body = RollsJson { rolls: page.rolls.iter().map(RollJson::from).collect() };
    let answer = Answer::json(&body).with_links(links(&asked, &page)).with_oldest(page.kept.oldest);
    let answer = answer.with_unreadable(&page.unreadable);
    Ok(if asked.is_closed(&page) { answer.closed(api.keep) } else { answer })
}

/// One roll
#[utoipa::path(
    get,
    path = "/api/rolls/{id}",
    tag = "rolls",
    params(("id" = String, Path, description = "Its place in the history: 1, 2, 3, …",
            pattern = "^(0|[1-9][0-9]{0,17})$", example = "41")),
    responses(
        (status = 200, description = "The roll", body = RollJson, headers(
            ("ETag" = String, description = "Names the answer, for `If-None-Match`"),
        )),
        (status = 304, description = "Unchanged since the answer that `If-None-Match` names"),
        (status = 404, description = "Not rolled yet", body = ErrorJson),
        (status = 410, description = "No longer kept", body = ErrorJson),
        (status = 422, description = "Not a roll's id", body = ErrorJson),
        (status = 500, description = "The roll is damaged and cannot be read", body = ErrorJson),
        (status = 503, description = "The history cannot be read now; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/rolls/<id>")]
async fn roll(
    id: &str,
    asked: Result<NothingAsked, ApiError>,
    api: &State<Api>,
) -> Result<Answer, ApiError> {
    asked?;
    let id = id.parse::<RollId>().map_err(|error| PageError::invalid("id", error))?;
    let (roll, kept) = api.store.roll(id).await?;
    let roll = roll.ok_or_else(|| PageError::no_roll(id, kept))?;
    Ok(Answer::json(&RollJson::from(&roll)).closed(api.keep))
}

/// Any range as CSV
///
/// Oldest first, up to the newest roll of that moment: the file ends. One row a roll (RFC 4180),
/// one column a die; only numbers and times, which no spreadsheet takes for a formula. An id that
/// is missing within a file is a damaged roll. A file that ends before the roll that `Rollcast-Last` names was cut: go on with
/// `after=` its last id; if other ids follow, the rolls in between were no longer kept.
#[utoipa::path(
    get,
    path = "/api/rolls.csv",
    tag = "files",
    params(Asked),
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/csv",
         headers(("Rollcast-Last" = String, description = "The id of the file's last roll; 0 if it has none"))),
        (status = 409, description = "A cursor of another history", body = ErrorJson),
        (status = 422, description = "A value that cannot be used", body = ErrorJson),
        (status = 503, description = "The history cannot be read now, or too many files are being downloaded; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/rolls.csv")]
async fn csv(
    asked: Result<Asked, ApiError>,
    client: Client,
    api: &State<Api>,
) -> Result<Download, ApiError> {
    api.download(Format::Csv, &asked?, client).await
}

/// Any range as JSON lines
///
/// Oldest first, up to the newest roll of that moment: the file ends. One object a line. An id
/// that is missing within a file is a damaged roll. A file that ends before the roll that `Rollcast-Last` names was cut: go on with
/// `after=` its last id; if other ids follow, the rolls in between were no longer kept.
#[utoipa::path(
    get,
    path = "/api/rolls.ndjson",
    tag = "files",
    params(Asked),
    responses(
        (status = 200, description = "The file", body = String, content_type = "application/x-ndjson",
         headers(("Rollcast-Last" = String, description = "The id of the file's last roll; 0 if it has none"))),
        (status = 409, description = "A cursor of another history", body = ErrorJson),
        (status = 422, description = "A value that cannot be used", body = ErrorJson),
        (status = 503, description = "The history cannot be read now, or too many files are being downloaded; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/rolls.ndjson")]
async fn ndjson(
    asked: Result<Asked, ApiError>,
    client: Client,
    api: &State<Api>,
) -> Result<Download, ApiError> {
    api.download(Format::Ndjson, &asked?, client).await
}

/// All statistics
///
/// Of each die that was ever rolled, over all rolls ever made, also those that are no longer kept:
/// counts, mean, streaks and droughts beside what fair dice show in 95 of 100 histories of this size;
/// an e-value that may be watched live; p-values of complete blocks.
#[utoipa::path(
    get,
    path = "/api/stats",
    tag = "statistics",
    responses(
        (status = 200, description = "The figures", body = Statistics, headers(
            ("ETag" = String, description = "Names the answer, for `If-None-Match`"),
        )),
        (status = 304, description = "Unchanged since the answer that `If-None-Match` names"),
        (status = 422, description = "A value that cannot be used", body = ErrorJson),
    )
)]
#[get("/stats")]
async fn stats(
    asked: Result<NothingAsked, ApiError>,
    stats: &State<Stats>,
) -> Result<Answer, ApiError> {
    asked?;
    Ok(Answer::json(&*stats.newest().await))
}

/// What is not there is told in JSON here, whatever the client prefers.
#[catch(default)]
fn uncaught(status: rocket::http::Status, request: &rocket::Request<'_>) -> ApiError {
    ApiError(PageError::uncaught(status, request))
}
