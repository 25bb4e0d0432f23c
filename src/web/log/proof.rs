//! `GET /rolls/<id>/proof`: all that a verifier needs to check a roll, except the key.
//! <https://c2sp.org/tlog-proof>

use rocket::http::uri::Origin;
use rocket::{State, get};

use crate::log::Proof;
use crate::roll::RollId;
use crate::web::http::error::HttpError;
use crate::web::http::require_path;
use crate::web::log::{Log, Part};
use crate::web::pages::links;

/// The proof file of a roll. Waits for the checkpoint that covers a new roll.
///
/// # Errors
///
/// `id` is not the id of a roll, the path has another spelling, the roll is not stored, or its row
/// was changed.
#[get("/rolls/<id>/proof")]
pub async fn proof(id: &str, uri: &Origin<'_>, log: &State<Log>) -> Result<Part, HttpError> {
    let id = id.parse::<RollId>().map_err(|error| HttpError::invalid("roll", error))?;
    require_path(uri, &links::proof(id))?;
    let kept = log.store.kept().await?;
    if id == RollId::BEFORE_FIRST || id > kept.head.id {
        return Err(HttpError::no_roll(id, kept));
    }
    let signed = log.covering(id).await?;
    let (proof, kept) = log.store.proof(id, signed.checkpoint).await?;
    let (leaf, hashes) = proof.ok_or_else(|| HttpError::pruned(&format!("Roll {id}"), kept))?;
    let (leaf, index) = (leaf.text(), (id.0 - 1) as u64);
    let proof = Proof { leaf, index, hashes, checkpoint: signed.note.to_string() };
    Ok(Part::text(proof.to_string()))
}
