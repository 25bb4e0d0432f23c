//! The texts that contain the rules.

use std::fmt;

use serde::{Serialize, Serializer};

/// A place in a public specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    name: &'static str,
    url: &'static str,
}

impl Rule {
    /// The address of the place.
    pub fn url(self) -> &'static str {
        self.url
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.url)
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $url:literal;)*) => {
        $($(#[$doc])* pub const $constant: Rule = Rule { name: $name, url: $url };)*
    };
}

rules! {
    /// What event streams are for: they are long, and may be quiet.
    INTRODUCTION = "html#server-sent-events-intro",
        "https://html.spec.whatwg.org/multipage/server-sent-events.html#server-sent-events-intro";
    /// The first request.
    INTERFACE = "html#the-eventsource-interface",
        "https://html.spec.whatwg.org/multipage/server-sent-events.html#the-eventsource-interface";
    /// Responses, the end of a connection, and reconnecting.
    PROCESSING = "html#sse-processing-model",
        "https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model";
    /// The header of a reconnect.
    LAST_EVENT_ID = "html#the-last-event-id-header",
        "https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header";
    /// Lines and their ends, and the encoding.
    PARSING = "html#parsing-an-event-stream",
        "https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream";
    /// Fields and events.
    INTERPRETATION = "html#event-stream-interpretation",
        "https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation";
    /// Redirects, and how many of them.
    REDIRECTS = "fetch#http-redirect-fetch",
        "https://fetch.spec.whatwg.org/#http-redirect-fetch";
    /// A content coding that the client asked for.
    CODINGS = "rfc9110#section-8.4", "https://www.rfc-editor.org/rfc/rfc9110#section-8.4";
    /// Interim responses.
    INTERIM = "rfc9110#section-15.2", "https://www.rfc-editor.org/rfc/rfc9110#section-15.2";
    /// Header fields on the wire.
    FIELDS = "rfc9112#section-5", "https://www.rfc-editor.org/rfc/rfc9112#section-5";
    /// Where a body ends.
    BODY_LENGTH = "rfc9112#section-6.3", "https://www.rfc-editor.org/rfc/rfc9112#section-6.3";
    /// The chunked coding.
    CHUNKS = "rfc9112#section-7.1", "https://www.rfc-editor.org/rfc/rfc9112#section-7.1";
}
