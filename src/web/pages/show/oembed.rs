//! `/oembed`: turns a link to this site into a frame, for programs such as WordPress or Discourse.
//!
//! Source: <https://oembed.com/>.

use rocket::form::{Form, FromForm};
use rocket::http::{ContentType, RawStr, Status};
use rocket::{State, get};
use serde::Serialize;

use crate::text::{ValueError, canonical_number};
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::http::public_url::PublicUrl;
use crate::web::pages::show::{Show, ShowQuery};
use crate::web::pages::view::Site;
use crate::web::pages::words;

/// The size of a frame for which the consumer names no bound, in CSS pixels.
const WIDTH: i64 = 480;
const HEIGHT: i64 = 270;

/// The pages whose links become a frame.
const PATHS: [&str; 3] = ["/", "/screen", "/embed"];

/// The query as it was sent.
#[derive(FromForm)]
pub struct OembedQuery<'r> {
    url: &'r str,
    maxwidth: Option<&'r str>,
    maxheight: Option<&'r str>,
    format: Option<&'r str>,
}

/// A frame, by the names of the specification.
#[derive(Serialize)]
struct Rich {
    version: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    title: String,
    provider_name: &'static str,
    provider_url: String,
    html: String,
    width: i64,
    height: i64,
}

/// The frame for a link.
///
/// # Errors
///
/// 404 for a link to another site or to another page, 501 for another format than JSON, as the
/// specification says. A bound or a parameter of the link cannot be used.
#[get("/oembed?<query..>")]
pub fn frame(
    query: OembedQuery<'_>,
    url: PublicUrl,
    site: &State<Site>,
) -> Result<(ContentType, String), HttpError> {
    if query.format.is_some_and(|format| format != "json") {
        let message = "format: only `json` is available.";
        let mut error = HttpError::new(ErrorCode::InvalidParameter, message);
        error.status = Status::NotImplemented;
        return Err(error);
    }
    let url = url.to_string();
    let show = linked(query.url, &url, site)?;
    let width = bounded("maxwidth", query.maxwidth, WIDTH)?;
    let height = bounded("maxheight", query.maxheight, HEIGHT)?;
    let title = words::headline(site.dice(), site.every());
    let address = format!("{url}/embed{}", show.query()).replace('&', "&amp;");
    let rich = Rich {
        version: "1.0",
        kind: "rich",
        html: format!(
            "<iframe src=\"{address}\" width=\"{width}\" height=\"{height}\" title=\"{title}\" \
             frameborder=\"0\" loading=\"lazy\"></iframe>"
        ),
        title,
        provider_name: "rollcast",
        provider_url: format!("{url}/"),
        width,
        height,
    };
    let json = serde_json::to_string(&rich).expect("plain structs become JSON");
    Ok((ContentType::JSON, json))
}

/// What a link to a page of this site shows. `url` is the address of this site.
fn linked(link: &str, url: &str, site: &Site) -> Result<Show, HttpError> {
    let other = || {
        let message = format!("url: expected a link to `{url}/` or to `{url}/screen`.");
        HttpError::new(ErrorCode::NotFound, message)
    };
    let without_fragment = link.split('#').next().unwrap_or_default();
    let rest = without_scheme(without_fragment).strip_prefix(without_scheme(url));
    let rest = rest.ok_or_else(other)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A link to a whole site often has no slash at its end.
    let is_shown = path.is_empty() || PATHS.contains(&path);
    if !is_shown {
        return Err(other());
    }
    let query = Form::<ShowQuery>::parse_encoded(RawStr::new(query)).map_err(|_| other())?;
    Show::read(&query, site.dice())
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// The usual size, or the bound of the consumer if that is smaller.
fn bounded(name: &str, bound: Option<&str>, usual: i64) -> Result<i64, HttpError> {
    let Some(text) = bound else { return Ok(usual) };
    let bound = canonical_number(text).filter(|bound| *bound > 0);
    let error = || HttpError::invalid(name, ValueError::new("a number of pixels", text));
    Ok(bound.ok_or_else(error)?.min(usual))
}
