//! The headers of a stream: they take it through proxies, and let pages of other origins read it.

use rocket::Request;
use rocket::http::Status;
use rocket::response::{self, Responder, Response};

use crate::web::http::client::Client;
use crate::web::stream::body::{Body, CHUNK_BYTES, OpenStream};

/// The methods of the stream's address.
pub const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// The headers of an event stream that do not depend on its client.
pub const OF_STREAMS: [(&str, &str); 4] = [
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),
    PUBLIC,
];
/// Shows an operator from outside whether the proxy forwards client addresses (`rollcast doctor`
/// reads it). Browsers hide it from pages of other origins.
pub const CLIENT: &str = "Rollcast-Client";
/// Belongs to a refusal, which is an event stream for clients that accept one, and an error for all
/// others. An open stream does without this header: hyper keeps the map of headers while the stream
/// is open, and one more doubles it (0.8 KiB per client).
pub const OF_REFUSALS: (&str, &str) = ("Vary", "Accept");
/// Pages of other origins may read the answer.
pub const PUBLIC: (&str, &str) = ("Access-Control-Allow-Origin", "*");
/// The methods and headers that pages of other origins may use.
pub const OF_PREFLIGHTS: [(&str, &str); 5] = [
    ("Allow", METHODS),
    PUBLIC,
    ("Access-Control-Allow-Methods", METHODS),
    ("Access-Control-Allow-Headers", "Last-Event-ID, Cache-Control, Content-Type"),
    ("Access-Control-Max-Age", "86400"),
];

/// An event stream.
pub struct EventStream {
    /// Its bytes.
    pub body: Body<OpenStream>,
    /// Whether it is refused, and the body only says why.
    pub is_refused: bool,
}

impl<'r> Responder<'r, 'static> for EventStream {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        if self.is_refused {
            response.raw_header(OF_REFUSALS.0, OF_REFUSALS.1);
        }
        for (name, value) in OF_STREAMS {
            response.raw_header(name, value);
        }
        response
            .raw_header(CLIENT, Client::of(request).to_string())
            .streamed_body(self.body)
            .max_chunk_size(CHUNK_BYTES)
            .ok()
    }
}

/// An answer that pages of other origins may read.
pub struct Public<R>(pub R);

impl<'r, 'o: 'r, R: Responder<'r, 'o>> Responder<'r, 'o> for Public<R> {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'o> {
        let mut response = self.0.respond_to(request)?;
        response.set_raw_header(PUBLIC.0, PUBLIC.1);
        Ok(response)
    }
}

/// The answer to a preflight.
pub struct Preflight;

impl<'r> Responder<'r, 'static> for Preflight {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        response.status(Status::NoContent);
        for (name, value) in OF_PREFLIGHTS {
            response.raw_header(name, value);
        }
        response.ok()
    }
}
