//! Where a request wants its stream to start: the header, the query and the form.
//!
//! A request to resume is never dropped silently. A name or value that cannot be read makes the
//! start [`Start::Malformed`], and the client is told so.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use rocket::http::RawStr;

use crate::cursor::Cursor;
use crate::feed::Start;
use crate::time_spec::TimeSpec;
use crate::web::http::request_headers::RequestHeaders;

/// A form of this many bytes holds any start.
pub const MAX_FORM_BYTES: usize = 4 << 10;
/// How long a client may take to send its form.
pub const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// Parameters that change nothing here. Clients add them to every request: npm
/// event-source-polyfill before 1.0 sends `r`, jQuery `_`, npm eventsource-polyfill the others.
const IGNORED: [&str; 4] = ["r", "_", "evs_preamble", "evs_buffer_size_limit"];

/// Where a stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// At a place in the history.
    At(Start),
    /// At a time, which the store turns into a place.
    Since(TimeSpec),
}

/// What a request contains that can name a start.
#[derive(Default)]
pub struct StartParams<'r> {
    last_event_ids: Vec<&'r str>,
    fields: Vec<(Cow<'r, str>, Cow<'r, str>)>,
    has_unreadable_body: bool,
}

/// What a parameter means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// The last event id, from a client that cannot send the header.
    LastEventId,
    After,
    Since,
}

impl<'r> StartParams<'r> {
    /// The header and the query of a request.
    pub fn of(headers: &'r impl RequestHeaders, query: Option<&'r str>) -> StartParams<'r> {
        let last_event_ids = headers.all("Last-Event-ID");
        let mut params = StartParams { last_event_ids, ..StartParams::default() };
        params.add_fields(query.unwrap_or_default());
        params
    }

    /// Adds the body of a request: `None` if it is neither empty nor a URL-encoded form of at most
    /// [`MAX_FORM_BYTES`].
    pub fn add_body(&mut self, form: Option<&'r str>) {
        match form {
            Some(form) => self.add_fields(form),
            None => self.has_unreadable_body = true,
        }
    }

    /// Adds the fields of a query or of a URL-encoded form.
    fn add_fields(&mut self, encoded: &'r str) {
        let fields = RawStr::new(encoded).split('&').filter(|field| !field.is_empty());
        self.fields.extend(fields.map(|field| {
            let (name, value) = field.split_at_byte(b'=');
            (name.url_decode_lossy(), value.url_decode_lossy())
        }));
    }

    /// Where the stream starts.
    ///
    /// The header overrides everything else: a browser that reconnects repeats the original
    /// address and adds the header, which is newer. For the same reason a last event id in the
    /// query overrides `after`. `since` comes last. An empty value counts as absent, because
    /// polyfills send `lastEventId=` with their first request.
    pub fn start(&self) -> StreamStart {
        const MALFORMED: StreamStart = StreamStart::At(Start::Malformed);
        match only(self.last_event_ids.iter().copied()) {
            Given::Value(cursor) => return after(cursor),
            Given::Contradiction => return MALFORMED,
            Given::Nothing => {}
        }
        let mut given = Vec::with_capacity(self.fields.len());
        for (name, value) in &self.fields {
            match meaning(name) {
                Ok(Some(name)) => given.push((name, value.as_ref())),
                Ok(None) => {}
                Err(UnknownName) => return MALFORMED,
            }
        }
        if self.has_unreadable_body {
            return MALFORMED;
        }
        for wanted in [Name::LastEventId, Name::After, Name::Since] {
            let values = given.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value);
            match only(values) {
                Given::Value(since) if wanted == Name::Since => {
                    return TimeSpec::from_str(since).map_or(MALFORMED, StreamStart::Since);
                }
                Given::Value(cursor) => return after(cursor),
                Given::Contradiction => return MALFORMED,
                Given::Nothing => {}
            }
        }
        StreamStart::At(Start::Live)
    }
}

struct UnknownName;

/// What a parameter of this name means; `None` if it means nothing here.
fn meaning(name: &str) -> Result<Option<Name>, UnknownName> {
    match name {
        "after" => Ok(Some(Name::After)),
        "since" => Ok(Some(Name::Since)),
        name if is_last_event_id(name) => Ok(Some(Name::LastEventId)),
        name if IGNORED.contains(&name) => Ok(None),
        _ => Err(UnknownName),
    }
}

/// Whether a name is one of the usual spellings: `lastEventId`, `last-event-id`, `last_event_id`,
/// in any case, and `evs_last_event_id` of npm eventsource-polyfill.
fn is_last_event_id(name: &str) -> bool {
    let name = name.strip_prefix("evs_").unwrap_or(name);
    let letters = name.chars().filter(|c| !matches!(c, '-' | '_'));
    letters.map(|c| c.to_ascii_lowercase()).eq("lasteventid".chars())
}

enum Given<'a> {
    Nothing,
    Value(&'a str),
    /// Two different values.
    Contradiction,
}

/// The only value; empty ones do not count, repeated ones count once.
fn only<'a>(values: impl Iterator<Item = &'a str>) -> Given<'a> {
    values.filter(|value| !value.is_empty()).fold(Given::Nothing, |given, value| match given {
        Given::Nothing => Given::Value(value),
        Given::Value(other) if other == value => Given::Value(value),
        _ => Given::Contradiction,
    })
}

fn after(text: &str) -> StreamStart {
    StreamStart::At(Cursor::clamped(text).map_or(Start::Malformed, Start::After))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `live`, `malformed`, `after <cursor>` or `since <time>`.
    fn start(headers: &[&str], query: &str, form: &str) -> String {
        let mut params = StartParams { last_event_ids: headers.to_vec(), ..StartParams::default() };
        params.add_fields(query);
        params.add_body(Some(form));
        match params.start() {
            StreamStart::At(Start::Live) => "live".into(),
            StreamStart::At(Start::Malformed) => "malformed".into(),
            StreamStart::At(Start::After(cursor)) => format!("after {cursor}"),
            StreamStart::Since(since) => format!("since {}", since.in_query()),
        }
    }

    #[test]
    fn every_usual_spelling_of_a_last_event_id_resumes() {
        for name in [
            "lastEventId",
            "lastEventID",
            "lasteventid",
            "LASTEVENTID",
            "last-event-id",
            "Last-Event-ID",
            "last_event_id",
            "Last_Event_Id",
            "evs_last_event_id",
            "last%45vent%49d",
        ] {
            assert_eq!(start(&[], &format!("{name}=41-17"), ""), "after 41-17", "{name}");
            assert_eq!(start(&[], "", &format!("{name}=41-17")), "after 41-17", "form: {name}");
        }
    }

    #[test]
    fn the_newer_of_two_places_overrides_the_other() {
        let table: [(&[&str], &str, &str, &str); 9] = [
            (&["41"], "after=5", "", "after 41"),
            (&["41"], "lastEventId=6&after=5&since=10m", "", "after 41"),
            (&["41"], "after=abc&x=1", "", "after 41"),
            (&[""], "after=5", "", "after 5"),
            (&["41", "", "41"], "", "", "after 41"),
            // What npm event-source-polyfill sends when it reconnects to `?after=5`.
            (&[], "after=5&lastEventId=6", "", "after 6"),
            (&[], "after=5", "lastEventId=6", "after 6"),
            (&[], "since=10m&after=5", "", "after 5"),
            (&[], "since=10m", "", "since 600s0ms"),
        ];
        for (headers, query, form, expected) in table {
            assert_eq!(start(headers, query, form), expected, "{headers:?} ?{query} {form}");
        }
    }

    #[test]
    fn empty_values_and_the_usual_additions_of_clients_are_ignored() {
        for query in [
            "",
            "&",
            "after=",
            "after",
            "since=",
            "lastEventId=",
            "lastEventId=&r=04214214",
            "_=1795392000123",
            "evs_preamble=2056&evs_buffer_size_limit=262144",
        ] {
            assert_eq!(start(&[], query, ""), "live", "?{query}");
            assert_eq!(start(&[], "", query), "live", "form: {query}");
        }
        assert_eq!(start(&[], "lastEventId=&r=1&after=5", ""), "after 5");
    }

    #[test]
    fn unknown_names_unreadable_values_and_contradictions_are_malformed() {
        let table: [(&[&str], &str, &str); 14] = [
            (&[], "atfer=5", ""),
            (&[], "After=5", ""),
            (&[], "after=5&x", ""),
            (&[], "x=", ""),
            (&[], "", "id=5"),
            (&[], "after=abc", ""),
            (&[], "after=%FF", ""),
            (&[], "after=5&after=6", ""),
            (&[], "after=5", "after=6"),
            (&[], "lastEventId=5&last-event-id=6", ""),
            (&[], "since=yesterday", ""),
            (&[], "since=10m&since=11m", ""),
            (&["41", "42"], "", ""),
            (&["\u{FFFD}"], "after=5", ""),
        ];
        for (headers, query, form) in table {
            let case = format!("{headers:?} ?{query} {form}");
            assert_eq!(start(headers, query, form), "malformed", "{case}");
        }
        assert_eq!(start(&[], "after=5&after=5", "after=5"), "after 5", "no contradiction");
    }

    #[test]
    fn a_body_that_cannot_be_read_is_malformed_unless_the_header_overrides_it() {
        let mut params = StartParams::default();
        params.add_body(None);
        assert_eq!(params.start(), StreamStart::At(Start::Malformed));
        params.last_event_ids.push("41");
        assert_eq!(params.start(), StreamStart::At(Start::After("41".parse().expect("a cursor"))));
    }
}
