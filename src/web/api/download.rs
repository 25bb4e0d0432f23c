//! `GET /api/rolls.csv` and `/api/rolls.ndjson`: a range of rolls as a file.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rocket::{State, get};
use tracing::info;

use crate::export_format::Format;
use crate::web::api::Api;
use crate::web::api::error::ApiError;
use crate::web::api::file::RollFile;
use crate::web::api::query::RangeQuery;
use crate::web::http::client::Client;
use crate::web::http::error::code::ErrorCode;
use crate::web::http::error::{ErrorJson, HttpError};
use crate::web::http::permits::{Busy, BusyReason, Permit, Permits};

/// The most downloads at the same time: each holds a descriptor and some buffers for as long as its
/// client takes to read.
pub const MAX_DOWNLOADS: usize = 64;
pub const MAX_DOWNLOADS_PER_ADDRESS: usize = 8;
/// When a rejected client may retry: a random value for each.
const RETRY_SECONDS: RangeInclusive<u64> = 15..=45;

/// Permits for downloads.
pub fn permits() -> Arc<Permits> {
    Permits::new(MAX_DOWNLOADS, MAX_DOWNLOADS_PER_ADDRESS)
}

/// Any range as CSV
///
/// The oldest roll comes first. The file ends with the newest roll at the time of the request. It
/// has one row per roll and one column per die (RFC 4180). It holds only numbers and timestamps,
/// which no spreadsheet takes for a formula. An id that is missing within a file is a damaged roll.
/// The header `Rollcast-Unreadable` lists damaged rolls before the first and after the last roll of
/// the file. If a file ends before the id in its `Rollcast-Last` header, the download was
/// truncated. Resume with `after=` the last id received. If rolls are missing between the two
/// files, they were pruned meanwhile, or `Rollcast-Unreadable` lists them.
#[utoipa::path(
    get,
    path = "/api/rolls.csv",
    tag = "files",
    params(RangeQuery),
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/csv",
         headers(
             ("Rollcast-Last" = String, description = "The id of the file's last roll; 0 if it has none"),
             ("Rollcast-Unreadable" = String, description = "The ids of damaged rolls before the file's first and after its last roll, if there are any; at most 100"),
         ), example = "id,rolled_at,1D6,1D20\r\n41,2026-11-23T01:37:40.123Z,4,17\r\n"),
        (status = 409, description = "A cursor of another history", body = ErrorJson),
        (status = 422, description = "A parameter that cannot be used", body = ErrorJson),
        (status = 503, description = "The history cannot be read now, or there are too many downloads; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/rolls.csv")]
pub async fn csv(
    query: Result<RangeQuery, ApiError>,
    client: Client,
    api: &State<Api>,
) -> Result<RollFile, ApiError> {
    api.download(Format::Csv, query?, client).await
}

/// Any range as NDJSON
///
/// The oldest roll comes first. The file ends with the newest roll at the time of the request. It
/// has one JSON object per line. An id that is missing within a file is a damaged roll. The header
/// `Rollcast-Unreadable` lists damaged rolls before the first and after the last roll of the file.
/// If a file ends before the id in its `Rollcast-Last` header, the download was truncated. Resume
/// with `after=` the last id received. If rolls are missing between the two files, they were pruned
/// meanwhile, or `Rollcast-Unreadable` lists them.
#[utoipa::path(
    get,
    path = "/api/rolls.ndjson",
    tag = "files",
    params(RangeQuery),
    responses(
        (status = 200, description = "The file", body = String, content_type = "application/x-ndjson",
         headers(
             ("Rollcast-Last" = String, description = "The id of the file's last roll; 0 if it has none"),
             ("Rollcast-Unreadable" = String, description = "The ids of damaged rolls before the file's first and after its last roll, if there are any; at most 100"),
         ), example = "{\"id\":41,\"rolled_at\":\"2026-11-23T01:37:40.123Z\",\"dice\":{\"1D6\":4,\"1D20\":17}}\n"),
        (status = 409, description = "A cursor of another history", body = ErrorJson),
        (status = 422, description = "A parameter that cannot be used", body = ErrorJson),
        (status = 503, description = "The history cannot be read now, or there are too many downloads; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/rolls.ndjson")]
pub async fn ndjson(
    query: Result<RangeQuery, ApiError>,
    client: Client,
    api: &State<Api>,
) -> Result<RollFile, ApiError> {
    api.download(Format::Ndjson, query?, client).await
}

impl Api {
    async fn download(
        &self,
        format: Format,
        RangeQuery(range): RangeQuery,
        client: Client,
    ) -> Result<RollFile, ApiError> {
        let permit = permit(&self.downloads, client)?;
        let extent = self.store.extent(range).await?;
        Ok(RollFile::new(format, extent, self.store.clone(), permit))
    }
}

fn permit(permits: &Arc<Permits>, client: Client) -> Result<Permit, HttpError> {
    permits.acquire(client).map_err(|Busy { reason, limit }| {
        info!(%client, limit, "rejected download ({}), client {client}", reason.word());
        let message = match reason {
            BusyReason::Total => {
                format!("All {limit} downloads are in use. Try again soon, or use /api/rolls.")
            }
            BusyReason::Address => format!(
                "All {limit} downloads of your address are in use. Try again when one has ended."
            ),
        };
        let retry_seconds = rand::random_range(RETRY_SECONDS);
        HttpError::later(ErrorCode::TooManyDownloads, message, retry_seconds)
    })
}
