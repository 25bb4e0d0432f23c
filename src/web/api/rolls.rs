//! `GET /api/rolls`: rolls page by page, all of them or those with a result.

use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::export_format::RollJson;
use crate::store::{FilteredPage, Page};
use crate::web::api::Api;
use crate::web::api::error::ApiError;
use crate::web::api::json::Json;
use crate::web::api::links::{self, Links};
use crate::web::api::parameters::ResultFilter;
use crate::web::api::query::{Limit, PageQuery, RangeQuery};
use crate::web::http::ahead::Ahead;
use crate::web::http::error::{ErrorJson, HttpError};

/// A page of rolls.
#[derive(Serialize, ToSchema)]
#[schema(as = Rolls)]
pub struct RollsJson {
    /// The rolls, in the order of the request.
    rolls: Vec<RollJson>,
    /// With `result`: the rolls that were searched for this page.
    #[serde(skip_serializing_if = "Option::is_none")]
    searched: Option<SearchedJson>,
}

/// A range of rolls by id, with both ends; empty if `newest` is less than `oldest`.
#[derive(Serialize, ToSchema)]
#[schema(as = Searched)]
pub struct SearchedJson {
    /// The oldest roll.
    oldest: i64,
    /// The newest roll.
    newest: i64,
}

/// Rolls page by page
///
/// With `after` or `since`, the page begins there and the oldest rolls come first. Otherwise the
/// newest come first. A roll never changes. If the server keeps all rolls, caches may keep a page
/// for a day once later rolls cannot change it. Pruned rolls are missing at the beginning of the
/// history: `Rollcast-Oldest` names the oldest roll that is kept. `Rollcast-Unreadable` names
/// damaged rolls that are left out.
///
/// With `die` and `result`, the page has only rolls with that result. One request searches at most
/// 5,000 rolls, so a page can be short or empty. `searched` is the range of rolls that it covers,
/// and `Link` names the next page.
#[utoipa::path(
    get,
    path = "/api/rolls",
    tag = "rolls",
    params(RangeQuery, Limit, ResultFilter),
    responses(
        (status = 200, description = "The rolls", body = RollsJson, headers(
            ("ETag" = String, description = "Names the response, for `If-None-Match`"),
            ("Rollcast-Oldest" = String, description = "The id of the oldest roll that is kept, or of the next roll if none is"),
            ("Rollcast-Unreadable" = String, description = "The ids of damaged rolls that were left out of this page, if there are any"),
            ("Link" = String, description = "The pages after (`next`) and before (`prev`) in the same order (RFC 8288); with `result` only `next`"),
        )),
        (status = 304, description = "Unchanged since the response that `If-None-Match` names"),
        (status = 409, description = "A cursor of another history", body = ErrorJson),
        (status = 422, description = "A parameter that cannot be used", body = ErrorJson),
        (status = 503, description = "The history cannot be read now, or this node of a fleet is behind; see `Retry-After`", body = ErrorJson),
    )
)]
#[get("/rolls")]
pub async fn rolls(
    query: Result<PageQuery, ApiError>,
    api: &State<Api>,
    ahead: &State<Ahead>,
) -> Result<Json, ApiError> {
    let query = query?;
    if let Some(after) = query.range.after {
        ahead.wait_for(after.id).await.map_err(HttpError::from)?;
    }
    match query.result {
        None => api.page(&query).await,
        Some(_) => api.filtered_page(&query).await,
    }
}

impl Api {
    async fn page(&self, query: &PageQuery) -> Result<Json, ApiError> {
        let page = self.store.page(query.range, query.order(), query.limit).await?;
        let links = self.links(query, &page).await?;
        let body =
            RollsJson { rolls: page.rolls.iter().map(RollJson::from).collect(), searched: None };
        let json = Json::of(&body).with_links(&links).with_oldest(page.kept.oldest);
        let json = json.with_unreadable(&page.unreadable);
        Ok(json.cached_if(links::is_final(query, &page), self.keep))
    }

    /// Reads the cursor that the link to the page before needs.
    async fn links(&self, query: &PageQuery, page: &Page) -> Result<Links, ApiError> {
        let bound = match links::bound_of_prev(query, page) {
            None => None,
            Some(id) => {
                let (cursor, _) = self.store.cursor(id).await?;
                Some(cursor.unwrap_or_else(|| id.into()))
            }
        };
        Ok(Links::of(query, page, bound))
    }

    async fn filtered_page(&self, query: &PageQuery) -> Result<Json, ApiError> {
        let Some(result) = query.result else { return self.page(query).await };
        let page = self.store.filtered(query.range, result, query.order(), query.limit).await?;
        let body = RollsJson {
            rolls: page.rolls.iter().map(RollJson::from).collect(),
            searched: Some(SearchedJson::of(&page)),
        };
        let links = Links::of_filtered(query, &page);
        let json = Json::of(&body).with_links(&links).with_oldest(page.kept.oldest);
        let json = json.with_unreadable(&page.unreadable);
        Ok(json.cached_if(links::is_filtered_final(query, &page), self.keep))
    }
}

impl SearchedJson {
    fn of(page: &FilteredPage) -> SearchedJson {
        SearchedJson {
            oldest: page.searched.after.next().0,
            newest: page.searched.before.previous().0,
        }
    }
}
