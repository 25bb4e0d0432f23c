//! `GET /api/rolls/{id}`: one roll.

use rocket::{State, get};

use crate::export_format::RollJson;
use crate::roll::RollId;
use crate::web::api::Api;
use crate::web::api::error::ApiError;
use crate::web::api::json::Json;
use crate::web::api::query::NoQuery;
use crate::web::http::ahead::Ahead;
use crate::web::http::error::{ErrorJson, HttpError};

/// One roll
#[utoipa::path(
    get,
    path = "/api/rolls/{id}",
    tag = "rolls",
    params(("id" = String, Path, description = "Its place in the history: 1, 2, 3, …",
            pattern = "^(0|[1-9][0-9]{0,17})$", example = "41")),
    responses(
        (status = 200, description = "The roll", body = RollJson, headers(
            ("ETag" = String, description = "Names the response, for `If-None-Match`"),
        )),
        (status = 304, description = "Unchanged since the response that `If-None-Match` names"),
        (status = 404, description = "Not rolled yet", body = ErrorJson),
        (status = 410, description = "Pruned", body = ErrorJson),
        (status = 422, description = "Not the id of a roll", body = ErrorJson),
        (status = 500, description = "The roll is damaged and cannot be read", body = ErrorJson),
        (status = 503, description = "The history cannot be read now, or this node of a fleet is behind; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/rolls/<id>")]
pub async fn roll(
    id: &str,
    query: Result<NoQuery, ApiError>,
    api: &State<Api>,
    ahead: &State<Ahead>,
) -> Result<Json, ApiError> {
    query?;
    let id = id.parse::<RollId>().map_err(|error| HttpError::invalid("id", error))?;
    ahead.wait_for_any(id).await.map_err(HttpError::from)?;
    let (roll, kept) = api.store.roll(id).await?;
    let roll = roll.ok_or_else(|| HttpError::no_roll(id, kept))?;
    Ok(Json::of(&RollJson::from(&roll)).cached_if(true, api.keep))
}
