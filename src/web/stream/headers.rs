//! The headers of a stream: they take it through proxies, and let pages of other origins read it.

use rocket::Request;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};

use crate::web::http::client::Client;
use crate::web::stream::body::{Body, CHUNK_BYTES, OpenStream};

const METHODS: &str = "GET, HEAD, POST, OPTIONS";

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
            // It would be an error for a client that does not accept event streams. An open stream
            // does without this header: hyper keeps the map of headers while the stream is open,
            // and one more doubles it (0.8 KiB per client).
            response.raw_header("Vary", "Accept");
        }
        response
            .header(ContentType::EventStream)
            .raw_header("Cache-Control", "no-cache, no-transform")
            .raw_header("X-Accel-Buffering", "no")
            .raw_header("Access-Control-Allow-Origin", "*")
            // Shows an operator from outside whether the proxy forwards client addresses
            // (`rollcast doctor` reads it). Browsers hide it from pages of other origins.
            .raw_header("Rollcast-Client", Client::of(request).to_string())
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
        response.set_raw_header("Access-Control-Allow-Origin", "*");
        Ok(response)
    }
}

/// The methods and headers that pages of other origins may use.
pub struct Preflight;

impl<'r> Responder<'r, 'static> for Preflight {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Response::build()
            .status(Status::NoContent)
            .raw_header("Allow", METHODS)
            .raw_header("Access-Control-Allow-Origin", "*")
            .raw_header("Access-Control-Allow-Methods", METHODS)
            .raw_header(
                "Access-Control-Allow-Headers",
                "Last-Event-ID, Cache-Control, Content-Type",
            )
            .raw_header("Access-Control-Max-Age", "86400")
            .ok()
    }
}
