//! `GET /checkpoint`: the newest checkpoint. <https://c2sp.org/tlog-checkpoint>

use rocket::http::uri::Origin;
use rocket::{State, get};

use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::http::require_path;
use crate::web::log::{Log, Part};

/// The newest checkpoint.
///
/// # Errors
///
/// 404 before the first roll, and for another spelling of the path.
#[get("/checkpoint")]
pub fn checkpoint(uri: &Origin<'_>, log: &State<Log>) -> Result<Part, HttpError> {
    require_path(uri, "/checkpoint")?;
    let signed = log.newest().ok_or_else(|| {
        HttpError::new(ErrorCode::NotFound, "No roll is signed yet; try again soon.")
    })?;
    Ok(Part::text(signed.note.to_string()))
}
