//! The pictures for link previews: one for each roll, and one for all other pages.

use std::time::Duration;

use rocket::http::ContentType;
use rocket::{State, get};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::roll::RollId;
use crate::web::http::ahead::Ahead;
use crate::web::http::cached::Cached;
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
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

    async fn draw(&self, dice: Vec<DieRow>, title: String) -> Result<Cached, HttpError> {
        let Ok(Ok(_permit)) = timeout(MAX_WAIT, self.0.acquire()).await else {
            let message = "Too many pictures are requested at the moment. Try again soon.";
            return Err(HttpError::later(ErrorCode::Busy, message.into(), 1));
        };
        let drawn = spawn_blocking(move || picture::of_dice(&dice, &title)).await;
        Ok(Cached::new(drawn.expect("drawing does not panic"), ContentType::PNG, CACHE))
    }
}

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
) -> Result<Cached, HttpError> {
    let id = id.parse::<RollId>().map_err(|error| HttpError::invalid("roll", error))?;
    ahead.wait_for_any(id).await?;
    let (roll, kept) = pages.store.roll(id).await?;
    let roll = roll.ok_or_else(|| HttpError::no_roll(id, kept))?;
    artist.draw(roll.dice.0.iter().map(DieRow::from).collect(), format!("Roll {id}")).await
}

/// The picture of the site: its dice, blank.
///
/// # Errors
///
/// Too many pictures are requested.
#[get("/picture.png")]
pub async fn of_site(site: &State<Site>, artist: &State<Artist>) -> Result<Cached, HttpError> {
    let dice = site.dice().map(|die| DieRow::new(die, None)).collect();
    artist.draw(dice, String::new()).await
}
