//! The pictures for link previews: one for each roll, and one for all other pages.

use std::io;
use std::time::Duration;

use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::roll::RollId;
use crate::web::http::ahead::Ahead;
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::http::etag;
use crate::web::pages::view::{DieRow, Site};
use crate::web::pages::{Pages, picture};

/// At most one picture is drawn at a time, so that drawing uses at most one core.
const MAX_DRAWN_AT_ONCE: usize = 1;
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Cached for only a day. A roll never changes, but after a restored backup the same ids have other
/// rolls.
const CACHE: &str = "public, max-age=86400";

/// Draws the pictures.
pub struct Artist(Semaphore);

impl Artist {
    pub fn new() -> Artist {
        Artist(Semaphore::new(MAX_DRAWN_AT_ONCE))
    }

    async fn draw(&self, dice: Vec<DieRow>, title: String) -> Result<Image, HttpError> {
        let Ok(Ok(_permit)) = timeout(MAX_WAIT, self.0.acquire()).await else {
            let message = "Too many pictures are requested at the moment. Try again soon.";
            return Err(HttpError::later(ErrorCode::Busy, message.into(), 1));
        };
        let drawn = spawn_blocking(move || picture::of_dice(&dice, &title)).await;
        Ok(Image::new(drawn.expect("drawing does not panic"), ContentType::PNG))
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
) -> Result<Image, HttpError> {
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
pub async fn of_site(site: &State<Site>, artist: &State<Artist>) -> Result<Image, HttpError> {
    let dice = site.dice().map(|die| DieRow::new(die, None)).collect();
    artist.draw(dice, String::new()).await
}

/// An image that a browser may keep for a day.
pub struct Image {
    file: Vec<u8>,
    content_type: ContentType,
}

impl Image {
    pub fn new(file: Vec<u8>, content_type: ContentType) -> Image {
        Image { file, content_type }
    }
}

impl<'r> Responder<'r, 'static> for Image {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Image { file, content_type } = self;
        let etag = etag::of(&file);
        let mut response = Response::build();
        response.raw_header("Cache-Control", CACHE).raw_header("ETag", etag.clone());
        if etag::is_known(request, &etag) {
            return response.status(Status::NotModified).ok();
        }
        response.header(content_type).sized_body(file.len(), io::Cursor::new(file)).ok()
    }
}
