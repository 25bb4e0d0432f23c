//! The pictures for link previews: one for each roll, and one for all other pages.

use std::time::Duration;

use rocket::http::ContentType;
use rocket::{Either, State, get};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::roll::RollId;
use crate::web::http::ahead::Ahead;
use crate::web::http::cached::{Cached, Unchanged};
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::http::etag::{self, Known};
use crate::web::pages::view::{DieRow, Site};
use crate::web::pages::{Pages, picture};

/// At most one picture is drawn at a time, so that drawing uses at most one core.
const MAX_DRAWN_AT_ONCE: usize = 1;
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Cached for only a day. A roll never changes, but after a restored backup the same ids have other
/// rolls.
pub const CACHE: &str = "public, max-age=86400";

/// Draws the pictures.
pub struct Artist(Semaphore);

impl Artist {
    pub fn new() -> Artist {
        Artist(Semaphore::new(MAX_DRAWN_AT_ONCE))
    }

    /// The picture of some dice with a title. A client that has it already waits for no permit, and
    /// nothing is drawn.
    async fn draw(
        &self,
        known: Known<'_>,
        dice: Vec<DieRow>,
        title: String,
    ) -> Result<Picture, HttpError> {
        let etag = etag::of(&(picture::DRAWING, &dice, &title));
        if known.has(&etag) {
            return Ok(Either::Left(Unchanged { etag, control: CACHE }));
        }
        let Ok(Ok(_permit)) = timeout(MAX_WAIT, self.0.acquire()).await else {
            let message = "Too many pictures are requested at the moment. Try again soon.";
            return Err(HttpError::later(ErrorCode::Busy, message.into(), 1));
        };
        let drawn = spawn_blocking(move || picture::of_dice(&dice, &title)).await;
        let file = drawn.expect("drawing does not panic");
        Ok(Either::Right(Cached::with_etag(etag, file, ContentType::PNG, CACHE)))
    }
}

type Picture = Either<Unchanged, Cached>;

/// The picture of a roll.
///
/// # Errors
///
/// As for the page of the roll; or too many pictures are requested.
#[get("/rolls/<id>/picture.png")]
pub async fn of_roll(
    id: &str,
    pages: &State<Pages>,
    ahead: &State<Ahead>,
    artist: &State<Artist>,
    known: Known<'_>,
) -> Result<Picture, HttpError> {
    let id = id.parse::<RollId>().map_err(|error| HttpError::invalid("roll", error))?;
    ahead.wait_for_any(id).await?;
    let (roll, kept) = pages.store.roll(id).await?;
    let roll = roll.ok_or_else(|| HttpError::no_roll(id, kept))?;
    artist.draw(known, roll.dice.0.iter().map(DieRow::from).collect(), format!("Roll {id}")).await
}

/// The picture of the site: its dice, blank.
///
/// # Errors
///
/// Too many pictures are requested.
#[get("/picture.png")]
pub async fn of_site(
    site: &State<Site>,
    artist: &State<Artist>,
    known: Known<'_>,
) -> Result<Picture, HttpError> {
    let dice = site.dice().map(|die| DieRow::new(die, None)).collect();
    artist.draw(known, dice, String::new()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    use rocket::http::HeaderMap;

    /// The entity tag in the answer of an artist to a client that knows `known`.
    async fn etag(artist: &Artist, known: &str, notation: &str, title: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.add_raw("If-None-Match", known.to_string());
        let die = DieRow::new(notation.parse().expect("a die"), Some(3));
        let answer = artist.draw(Known::of(&headers), vec![die], title.into()).await;
        answer.ok().map(|picture| match picture {
            Either::Left(unchanged) => unchanged.etag,
            Either::Right(drawn) => drawn.etag().to_string(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_revalidation_of_a_picture_needs_no_permit() {
        let drawn = etag(&Artist::new(), "", "1D8", "Roll 3").await.expect("a picture");
        let busy = Artist(Semaphore::new(0));
        assert_eq!(etag(&busy, &drawn, "1D8", "Roll 3").await.as_deref(), Some(&*drawn));
        // Controls: other dice and another title are another picture, which must be drawn.
        assert_eq!(etag(&busy, &drawn, "1D10", "Roll 3").await, None);
        assert_eq!(etag(&busy, &drawn, "1D8", "Roll 4").await, None);
    }
}
