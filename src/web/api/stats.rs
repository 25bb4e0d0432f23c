//! `GET /api/stats`: the statistics of all rolls.

use rocket::{State, get};

use crate::statistics::Statistics;
use crate::web::api::error::ApiError;
use crate::web::api::json::Json;
use crate::web::api::query::NoQuery;
use crate::web::http::error::ErrorJson;
use crate::web::pages::stats::Stats;

/// Statistics of all rolls
///
/// The statistics of each die, over all rolls ever made, pruned ones included. Counts, mean,
/// streaks and droughts come with the range that holds 95 of 100 histories of a fair die. The
/// evidence against fairness is an e-value, which stays valid however often you look. Each complete
/// block is tested once and has a p-value.
#[utoipa::path(
    get,
    path = "/api/stats",
    tag = "statistics",
    responses(
        (status = 200, description = "The statistics", body = Statistics, headers(
            ("ETag" = String, description = "Names the response, for `If-None-Match`"),
        )),
        (status = 304, description = "Unchanged since the response that `If-None-Match` names"),
        (status = 422, description = "A parameter that cannot be used", body = ErrorJson),
        (status = 503, description = "The statistics cannot be computed now; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/stats")]
pub async fn stats(
    query: Result<NoQuery, ApiError>,
    stats: &State<Stats>,
) -> Result<Json, ApiError> {
    query?;
    Ok(Json::of(&*stats.newest().await?))
}
