//! The `Accept` header: which media types a client takes, and which it prefers.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9110#name-accept>.

use std::cmp::Reverse;
use std::convert::Infallible;
use std::str::FromStr;

use rocket::http::MediaType;
use rocket::http::uncased::UncasedStr;
use rocket::request::{FromRequest, Outcome};
use rocket::{Request, async_trait};

/// The most ranges of a request that are read. Real clients send about ten.
const MAX_RANGES: usize = 64;
/// The most bytes of a range that is read. The longest of real clients have about a hundred.
const MAX_RANGE_BYTES: usize = 1_024;

/// Whether the client prefers JSON to a page or to text.
pub fn prefers_json(request: &Request<'_>) -> bool {
    let offered = [MediaType::HTML, MediaType::Plain, MediaType::JSON];
    *Accept::of(request).preferred(&offered) == MediaType::JSON
}

/// Whether the client prefers JSON, for handlers.
pub struct PrefersJson(pub bool);

#[async_trait]
impl<'r> FromRequest<'r> for PrefersJson {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<PrefersJson, Infallible> {
        Outcome::Success(PrefersJson(prefers_json(request)))
    }
}

/// The media ranges of a request.
pub struct Accept(Vec<MediaRange>);

/// A media type, perhaps with wildcards, and how much the client wants it.
struct MediaRange {
    media_type: MediaType,
    /// 0 (not acceptable) to 1,000.
    quality: u16,
}

impl Accept {
    /// The first 64 ranges of all `Accept` headers. A request head may have 400 KB, so later ranges
    /// are ignored. A range is left out that cannot be read or has more than 1,024 bytes.
    pub fn of(request: &Request<'_>) -> Accept {
        Accept::parse(request.headers().get("Accept"))
    }

    /// The same for the values of all `Accept` headers.
    pub fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Accept {
        let ranges = headers.flat_map(elements).take(MAX_RANGES);
        let ranges = ranges.filter(|range| range.len() <= MAX_RANGE_BYTES);
        Accept(ranges.filter_map(|range| range.parse().ok()).collect())
    }

    /// The offered media type with the highest quality. Where qualities are equal, the one that
    /// the client names most exactly, then first; then the first that is offered. A client that
    /// accepts none of them, or sends no `Accept`, gets the first.
    ///
    /// # Panics
    ///
    /// If nothing is offered.
    pub fn preferred<'a>(&self, offered: &'a [MediaType]) -> &'a MediaType {
        let rank = |media_type: &MediaType| {
            self.best_match(media_type)
                .map(|(index, range)| (range.quality, range.specificity(), Reverse(index)))
        };
        let best = offered.iter().enumerate().max_by_key(|(index, media_type)| {
            (rank(media_type).filter(|(quality, ..)| *quality > 0), Reverse(*index))
        });
        best.map(|(_, media_type)| media_type).expect("something is offered")
    }

    /// Whether the client names this media type itself, not just by a wildcard, and accepts it.
    pub fn names(&self, media_type: &MediaType) -> bool {
        let range = self.best_match(media_type);
        range.is_some_and(|(_, range)| range.quality > 0 && !range.has_wildcard())
    }

    /// The most exact range that matches, which decides about a media type; the first of several.
    fn best_match(&self, media_type: &MediaType) -> Option<(usize, &MediaRange)> {
        let matching = self.0.iter().enumerate().filter(|(_, range)| range.matches(media_type));
        matching.max_by_key(|(index, range)| (range.specificity(), Reverse(*index)))
    }
}

impl MediaRange {
    /// Types and names of parameters are compared without case, values of parameters as they are.
    fn matches(&self, media_type: &MediaType) -> bool {
        let part = |own: &UncasedStr, other: &UncasedStr| own == "*" || own == other;
        let has = |parameter| media_type.params().any(|own| own == parameter);
        part(self.media_type.top(), media_type.top())
            && part(self.media_type.sub(), media_type.sub())
            && self.parameters().all(has)
    }

    /// The parameters of the media type: those before `q`. All text here is UTF-8.
    fn parameters(&self) -> impl Iterator<Item = (&UncasedStr, &str)> {
        let parameters = self.media_type.params().take_while(|(name, _)| *name != "q");
        parameters.filter(|(name, _)| *name != "charset")
    }

    fn specificity(&self) -> usize {
        let exact = |part: &UncasedStr| usize::from(part != "*");
        exact(self.media_type.top()) + exact(self.media_type.sub()) + self.parameters().count()
    }

    fn has_wildcard(&self) -> bool {
        self.media_type.sub() == "*"
    }
}

impl FromStr for MediaRange {
    type Err = String;

    fn from_str(text: &str) -> Result<MediaRange, String> {
        let media_type: MediaType = text.trim().parse()?;
        let given = media_type.params().find(|(name, _)| *name == "q").map(|(_, value)| value);
        let quality = given.map_or(Some(1_000), quality);
        let quality = quality.ok_or_else(|| format!("expected a quality of 0 to 1 in `{text}`"))?;
        Ok(MediaRange { media_type, quality })
    }
}

/// `0.5` as 500: at most three decimals.
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !matches!(whole, "0" | "1") {
        return None;
    }
    let thousandths: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

/// The elements of a list: commas separate them, except within quotes.
fn elements(header: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    header.split(move |c| {
        let is_literal = std::mem::take(&mut is_escaped);
        match c {
            '\\' => is_escaped = is_quoted && !is_literal,
            '"' if !is_literal => is_quoted = !is_quoted,
            _ => {}
        }
        c == ',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(accept: &[&str], offered: &[&str]) -> String {
        let offered: Vec<MediaType> =
            offered.iter().map(|text| text.parse().expect("a media type")).collect();
        Accept::parse(accept.iter().copied()).preferred(&offered).to_string()
    }

    #[test]
    fn the_media_type_with_the_highest_quality_is_preferred() {
        let (html, json) = ("text/html", "application/json");
        let table: [(&[&str], &str); 22] = [
            (&[], html),
            (&["*/*"], html),
            (&["application/json"], json),
            (&["APPLICATION/Json"], json),
            (&["application/json; charset=utf-8"], json),
            (&["application/*"], json),
            (&["text/html;q=0.5, application/json;q=0.6"], json),
            (&["text/html;q=0.5,application/json;Q=0.501"], json),
            (&["text/html;q=0.5", "application/json"], json),
            (&["text/html, application/json;q=0.9"], html),
            (&["text/html;q=0, */*"], json),
            (&["*/*;q=0.1, application/json;q=0.05"], html),
            (&["application/json;q=0"], html),
            // Equal qualities: the exact name, then the order.
            (&["application/json, text/plain, */*"], json),
            (&["*/*, application/json"], json),
            (&["application/json, text/html"], json),
            (&["text/html, application/json"], html),
            // The exact range decides, whatever a wildcard says.
            (&["application/*;q=1, application/json;q=0.1, text/html;q=0.2"], html),
            // What cannot be read is left out.
            (&["nonsense, application/json"], json),
            (&["text/html;q=2, application/json;q=0.1"], json),
            (&["a/b;x=\"1,2\", application/json"], json),
            (&["image/png"], html),
        ];
        for (accept, expected) in table {
            assert_eq!(preferred(accept, &[html, json]), expected, "{accept:?}");
        }
    }

    #[test]
    fn ranges_after_the_first_64_and_ranges_of_more_than_1_024_bytes_are_ignored() {
        let json = "application/json";
        let after = |n_others: usize| format!("{}{json}", "image/png, ".repeat(n_others));
        assert_eq!(preferred(&[&after(63)], &["text/html", json]), json);
        assert_eq!(preferred(&[&after(64)], &["text/html", json]), "text/html");
        assert_eq!(preferred(&[&after(62), json], &["text/html", json]), json, "64 in two headers");
        let others = "image/png, ".repeat(64);
        assert_eq!(preferred(&[&others, json], &["text/html", json]), "text/html");
        let accept = Accept::parse(["image/png,".repeat(40_000).as_str()].into_iter());
        assert_eq!(accept.0.len(), 64);

        let start = format!("{json};charset=");
        let of_bytes = |n_bytes: usize| format!("{start}{}", "x".repeat(n_bytes - start.len()));
        assert_eq!(preferred(&[&of_bytes(1_024)], &["text/html", json]), json);
        assert_eq!(preferred(&[&of_bytes(1_025)], &["text/html", json]), "text/html");
    }

    #[test]
    fn parameters_of_a_media_type_must_be_those_of_the_range() {
        let text = "text/plain; version=0.0.4";
        let open = "application/openmetrics-text; version=1.0.0";
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(preferred(&[prometheus], &[text, open]), open);
        assert_eq!(preferred(&["text/plain;version=0.0.4"], &[open, text]), text);
        assert_eq!(preferred(&["text/plain;version=9, */*;q=0.1"], &[open, text]), open);
        assert_eq!(preferred(&["text/plain"], &[open, text]), text);
    }

    #[test]
    fn a_wildcard_does_not_name_a_media_type() {
        let names =
            |accept: &str| Accept::parse([accept].into_iter()).names(&MediaType::EventStream);
        for accept in ["text/event-stream", "Text/Event-Stream", "a/b, text/event-stream;q=0.1"] {
            assert!(names(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/*",
            "text/event-stream;q=0",
            "text/event-streams",
            "x-text/event-stream",
            "a/b;c=\"text/event-stream\"",
        ] {
            assert!(!names(accept), "{accept}");
        }
    }
}
