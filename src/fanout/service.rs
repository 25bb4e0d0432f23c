//! Answers requests as Rocket's `/stream/` does, byte for byte. Errors are JSON.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use rocket::http::{ContentType, MediaType, RawStr};
use rocket::{Ignite, Rocket};
use tokio::time::timeout;

use crate::fanout::body::OnePiece;
use crate::fanout::delivery;
use crate::text::shortened;
use crate::web::http::accept::Accept;
use crate::web::http::access;
use crate::web::http::client::{Client, Proxies};
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::http::headers::protection;
use crate::web::http::host;
use crate::web::http::request_headers::RequestHeaders;
use crate::web::stream::body::OpenStream;
use crate::web::stream::headers::{
    CLIENT, METHODS, OF_PREFLIGHTS, OF_REFUSALS, OF_STREAMS, PUBLIC,
};
use crate::web::stream::opening::Streams;
use crate::web::stream::start::{FORM_TIMEOUT, MAX_FORM_BYTES, StartParams};

/// The answer to a request.
pub enum Answer {
    /// A response that hyper sends.
    Whole(Response<OnePiece>),
    /// A stream, which is delivered without hyper.
    Stream(Opened),
}

/// An open stream.
pub struct Opened {
    /// The version of HTTP in which the client asked.
    pub version: Version,
    /// The head of the response.
    pub head: Vec<u8>,
    pub stream: OpenStream,
}

/// What all answers share.
pub struct Service {
    proxies: Arc<Proxies>,
    /// The headers of every answer.
    common: Vec<(HeaderName, HeaderValue)>,
}

impl Service {
    /// A service that believes these proxies, and sends the same headers as `rocket`.
    pub fn new(proxies: Arc<Proxies>, rocket: &Rocket<Ignite>) -> Service {
        let ident = rocket.config().ident.as_str().map(|ident| ("Server", ident));
        let protection = protection(rocket);
        let protection = protection.iter().map(|header| (header.name.as_str(), header.value()));
        let common = ident.into_iter().chain(protection);
        let common = common.filter_map(|(name, value)| parsed(name, value)).collect();
        Service { proxies, common }
    }

    /// Whether this is the address of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.trusts(address)
    }

    /// The answer to a request from `peer`, and its line in the access log.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        streams: &Streams,
    ) -> Answer {
        let arrived = Instant::now();
        let client = self.proxies.client(peer, request.headers());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (version, persistence) = (request.version(), persistence(&request));
        let answered = match checked(&request) {
            Err(error) => Err(refused(error)),
            Ok(()) => match method {
                Method::GET | Method::POST => self.stream(request, client, peer, streams).await,
                Method::HEAD => Err(event_stream(client, OnePiece::stream(""))),
                Method::OPTIONS => {
                    let mut response = Response::new(OnePiece::none());
                    *response.status_mut() = StatusCode::NO_CONTENT;
                    add(response.headers_mut(), OF_PREFLIGHTS);
                    Err(response)
                }
                _ => Err(refused(HttpError::wrong_method(METHODS))),
            },
        };
        let (mut response, stream) = match answered {
            Ok(stream) => (event_stream(client, OnePiece::none()), Some(stream)),
            Err(response) => (response, None),
        };
        let headers = response.headers_mut();
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        headers.extend(self.common.iter().cloned());
        let path = uri.path_and_query().map_or("/", |uri| uri.as_str());
        access::log(method.as_str(), path, response.status().as_u16(), arrived, client);
        match stream {
            None => Answer::Whole(response),
            Some(stream) => {
                let head = delivery::head(version, response.headers(), persistence);
                Answer::Stream(Opened { version, head, stream })
            }
        }
    }

    /// Opens a stream, or says why not.
    async fn stream(
        &self,
        request: Request<Incoming>,
        client: Client,
        peer: IpAddr,
        streams: &Streams,
    ) -> Result<OpenStream, Response<OnePiece>> {
        let (head, body) = request.into_parts();
        self.proxies.warn_if_not_known(client, peer, &head.headers);
        let form = match head.method {
            Method::POST => Some(read_form(&head.headers, body).await),
            _ => None,
        };
        let start = {
            let mut params = StartParams::of(&head.headers, head.uri.query());
            if let Some(form) = &form {
                params.add_body(form.as_deref());
            }
            params.start()
        };
        streams.open(client, start).await.map_err(|refusal| {
            let accept = head.headers.all("Accept").into_iter();
            let (mut response, header) = match Accept::parse(accept).names(&MediaType::EventStream)
            {
                true => (event_stream(client, OnePiece::stream(refusal.frame())), OF_REFUSALS),
                false => (refused(refusal.into()), PUBLIC),
            };
            add(response.headers_mut(), [header]);
            response
        })
    }
}

/// Refuses requests to other addresses, and requests whose `Host` header is not valid.
fn checked(request: &Request<Incoming>) -> Result<(), HttpError> {
    let hosts = request.headers().all("Host");
    host::check_values(&hosts)
        .map_err(|fault| HttpError::new(ErrorCode::InvalidHost, fault.to_string()))?;
    let path = request.uri().path();
    if is_stream(path) {
        return Ok(());
    }
    let path = shortened(path);
    let message = format!("There is nothing at `{path}`. This address serves only `/stream/`.");
    Err(HttpError::new(ErrorCode::NotFound, message))
}

/// Whether a path leads to the stream. As for Rocket, slashes may be missing or repeated.
fn is_stream(path: &str) -> bool {
    let parts = RawStr::new(path).split('/').filter(|part| !part.is_empty());
    parts.map(RawStr::percent_decode_lossy).eq(["stream"])
}

/// The body if it is a form or empty.
async fn read_form(headers: &HeaderMap, body: Incoming) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.and_then(|text| ContentType::from_str(text).ok());
    let is_form = content_type.is_some_and(|content_type| content_type.is_form());
    let body = Limited::new(body, MAX_FORM_BYTES).collect();
    let body = timeout(FORM_TIMEOUT, body).await.ok()?.ok()?.to_bytes();
    let body = String::from_utf8(body.into()).ok()?;
    (is_form || body.is_empty()).then_some(body)
}

/// What the `Connection` header of a stream's response says, as hyper writes it for Rocket: that the
/// server does what the client asks for, where that is not the default of the version of HTTP.
fn persistence(request: &Request<Incoming>) -> Option<&'static str> {
    let values = request.headers().all("Connection");
    let asks_for = |option: &str| {
        let mut options = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        options.any(|asked| asked.eq_ignore_ascii_case(option))
    };
    match request.version() {
        Version::HTTP_11 if asks_for("close") => Some("close"),
        Version::HTTP_10 if asks_for("keep-alive") => Some("keep-alive"),
        _ => None,
    }
}

fn event_stream(client: Client, body: OnePiece) -> Response<OnePiece> {
    let mut response = Response::new(body);
    add(response.headers_mut(), OF_STREAMS);
    add(response.headers_mut(), [(CLIENT, client.to_string().as_str())]);
    response
}

/// An error as JSON. Logs its cause.
fn refused(error: HttpError) -> Response<OnePiece> {
    let mut response = Response::new(OnePiece::sized(error.json()));
    let status = StatusCode::from_u16(error.status.code);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    add(headers, [("Content-Type", "application/json"), OF_REFUSALS]);
    for (name, value) in error.headers() {
        add(headers, [(name, value.as_str())]);
    }
    error.log_cause();
    response
}

fn add<'a>(headers: &mut HeaderMap, added: impl IntoIterator<Item = (&'static str, &'a str)>) {
    headers.extend(added.into_iter().filter_map(|(name, value)| parsed(name, value)));
}

/// A header; `None` if its value cannot be one.
fn parsed(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_str(name).ok()?, HeaderValue::from_str(value).ok()?))
}
