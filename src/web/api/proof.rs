//! `GET /api/proof`: the key that checks proofs.

use rocket::http::uri::Origin;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::web::api::Api;
use crate::web::api::error::ApiError;
use crate::web::api::json::Json;
use crate::web::api::query::NoQuery;
use crate::web::http::error::ErrorJson;
use crate::web::http::require_path;

/// The key of the log, and the first roll that can be proven.
#[derive(Serialize, ToSchema)]
pub struct ProofJson {
    /// The public key of the log. Compare it with a copy from another source.
    #[schema(example = "dice.example.org+eb3fa449+AS5LSGKZ8vqI+Qqsd+to5WZQHSW05Et1/joXu0PafNSv")]
    key: String,
    /// The first roll of the oldest tile that is kept.
    #[schema(example = 1)]
    oldest: i64,
}

/// The key that checks proofs
///
/// `/checkpoint`, `/tile/…` and `/rolls/{id}/proof` serve the log and its proofs, in the formats of
/// [C2SP](https://c2sp.org/tlog-tiles).
#[utoipa::path(
    get,
    path = "/api/proof",
    tag = "proofs",
    responses(
        (status = 200, description = "The key", body = ProofJson, headers(
            ("ETag" = String, description = "Names the response, for `If-None-Match`"),
        )),
        (status = 304, description = "Unchanged since the response that `If-None-Match` names"),
        (status = 422, description = "A parameter that cannot be used", body = ErrorJson),
        (status = 503, description = "The history cannot be read now; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/proof")]
pub async fn proof(
    query: Result<NoQuery, ApiError>,
    uri: &Origin<'_>,
    api: &State<Api>,
) -> Result<Json, ApiError> {
    require_path(uri, "/api/proof")?;
    query?;
    let oldest = api.store.first_of_log().await?;
    Ok(Json::of(&ProofJson { key: api.store.key().to_string(), oldest: oldest.0 }))
}
