//! Files that browsers and crawlers ask for at fixed addresses.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use rocket::http::ContentType;
use rocket::{State, get};
use serde_json::json;

use crate::config::AboutConfig;
use crate::web::http::cached::Cached;
use crate::web::http::public_url::PublicUrl;
use crate::web::pages::picture;
use crate::web::pages::preview::CACHE;

/// What crawlers should leave alone: addresses without end, and those that are not pages.
const ROBOTS: &str = "\
User-agent: *
Disallow: /api/
Disallow: /checkpoint
Disallow: /draw?
Disallow: /rolls?
Disallow: /rolls.
Disallow: /rolls/*/proof
Disallow: /stream
Disallow: /tile/
";

/// How long a copy of security.txt is valid.
const SECURITY_EXPIRES: SignedDuration = SignedDuration::from_hours(30 * 24);

#[get("/robots.txt")]
pub fn robots() -> &'static str {
    ROBOTS
}

/// Where to report vulnerabilities, if the operator has configured a contact.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9116>.
#[get("/.well-known/security.txt")]
pub fn security(about: &State<AboutConfig>, url: PublicUrl) -> Option<String> {
    let contact = about.contact.as_ref()?;
    let expires = (Timestamp::now() + SECURITY_EXPIRES).strftime("%Y-%m-%dT00:00:00Z");
    Some(format!(
        "Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\n\
         Canonical: {url}/.well-known/security.txt\nPolicy: {url}/about#security\n"
    ))
}

/// The icons. Each is drawn at its first request, and then kept.
pub struct Icons {
    favicon: LazyLock<Cached>,
    of_180: LazyLock<Cached>,
    of_192: LazyLock<Cached>,
    of_512: LazyLock<Cached>,
}

impl Icons {
    pub fn new() -> Icons {
        Icons {
            favicon: LazyLock::new(|| Cached::new(picture::favicon(), ContentType::Icon, CACHE)),
            of_180: LazyLock::new(|| icon(180)),
            of_192: LazyLock::new(|| icon(192)),
            of_512: LazyLock::new(|| icon(512)),
        }
    }
}

/// An icon that is `side` pixels wide.
fn icon(side: u32) -> Cached {
    Cached::new(picture::icon(side), ContentType::PNG, CACHE)
}

#[get("/favicon.ico")]
pub fn favicon(icons: &State<Icons>) -> Cached {
    icons.favicon.clone()
}

#[get("/apple-touch-icon.png")]
pub fn apple_touch_icon(icons: &State<Icons>) -> Cached {
    icons.of_180.clone()
}

#[get("/icon-192.png")]
pub fn icon_192(icons: &State<Icons>) -> Cached {
    icons.of_192.clone()
}

#[get("/icon-512.png")]
pub fn icon_512(icons: &State<Icons>) -> Cached {
    icons.of_512.clone()
}

/// How a phone shows the site on its home screen.
///
/// Source: <https://www.w3.org/TR/appmanifest/>.
#[get("/manifest.webmanifest")]
pub fn manifest() -> (ContentType, String) {
    let icon = |side: u16| {
        let size = format!("{side}x{side}");
        let src = format!("/icon-{side}.png");
        json!({ "src": src, "sizes": size, "type": "image/png", "purpose": "any maskable" })
    };
    let manifest = json!({
        "name": "rollcast",
        "description": "Dice rolled at a fixed interval, live",
        "id": "/",
        "start_url": "/",
        "display": "minimal-ui",
        "background_color": "#f5f0e4",
        "theme_color": "#1d5b45",
        "icons": [icon(192), icon(512)],
    });
    (ContentType::new("application", "manifest+json"), manifest.to_string())
}
