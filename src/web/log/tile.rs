//! `GET /tile/…`: hashes of the tree, and its leaves. <https://c2sp.org/tlog-tiles>

use rocket::http::ContentType;
use rocket::http::uri::Origin;
use rocket::{State, get};

use crate::log::{TILE_LEN, Tile};
use crate::text::shortened;
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::log::{Log, Part};

/// A tile.
///
/// # Errors
///
/// 404 if the path is not canonical, or if the newest checkpoint does not cover the tile; 410 if
/// the rolls of the tile are pruned; 500 if a row was changed.
#[get("/tile/<_..>")]
pub async fn tile(uri: &Origin<'_>, log: &State<Log>) -> Result<Part, HttpError> {
    // The path as the client sent it, so each tile has exactly one address.
    let path = uri.path().as_str();
    let not_found = || {
        let message = format!("There is no tile at `{}`.", shortened(path));
        HttpError::new(ErrorCode::NotFound, message)
    };
    let tile: Option<Tile> = path.strip_prefix('/').and_then(|path| path.parse().ok());
    let tile = tile.filter(|_| uri.query().is_none()).ok_or_else(not_found)?;
    let covers = |size: u64| tile.min_size().is_some_and(|min| min <= size);
    let signed = log.newest().filter(|signed| covers(signed.checkpoint.size));
    let signed = signed.ok_or_else(not_found)?;
    let (bytes, kept) = log.store.tile(tile, signed.checkpoint).await?;
    let body = bytes.ok_or_else(|| HttpError::pruned(&format!("Tile `{path}`"), kept))?;
    let is_full = tile.width == TILE_LEN;
    let cache_control =
        if is_full { "public, max-age=31536000, immutable" } else { "public, max-age=60" };
    Ok(Part { body, content_type: ContentType::Binary, cache_control })
}
