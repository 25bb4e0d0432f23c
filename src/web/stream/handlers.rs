//! The routes: open a stream, or show its headers.

use std::convert::Infallible;

use rocket::data::{Data, ToByteUnit};
use rocket::http::MediaType;
use rocket::request::{FromRequest, Outcome};
use rocket::tokio::time::timeout;
use rocket::{Request, Route, State, async_trait, get, head, options, post, routes};

use crate::web::http::accept::Accept;
use crate::web::http::client::Client;
use crate::web::http::error::HttpError;
use crate::web::stream::body::{Body, OpenStream};
use crate::web::stream::headers::{EventStream, Preflight, Public};
use crate::web::stream::opening::Streams;
use crate::web::stream::refusal::Refusal;
use crate::web::stream::start::{FORM_TIMEOUT, MAX_FORM_BYTES, StartParams};

type Answer = Result<EventStream, Public<HttpError>>;

pub fn routes() -> Vec<Route> {
    routes![listen, listen_by_post, show_headers, preflight]
}

/// The rolls after the client's cursor, then new rolls as they are made.
#[get("/stream")]
async fn listen(caller: Caller<'_>, streams: &State<Streams>) -> Answer {
    let start = caller.params.start();
    caller.answer(streams.open(caller.client, start).await)
}

/// The same by POST, as in the article. A form may name the start.
#[post("/stream", data = "<data>")]
async fn listen_by_post(
    mut caller: Caller<'_>,
    data: Data<'_>,
    streams: &State<Streams>,
) -> Answer {
    let form = read_form(data, caller.sends_form).await;
    caller.params.add_body(form.as_deref());
    let start = caller.params.start();
    caller.answer(streams.open(caller.client, start).await)
}

/// The headers without a stream.
#[head("/stream")]
fn show_headers() -> EventStream {
    EventStream { body: Body::closed(Vec::new()), is_refused: false }
}

/// Lets pages of other origins send a last event id.
#[options("/stream")]
fn preflight() -> Preflight {
    Preflight
}

/// The body if it is a form or empty.
async fn read_form(data: Data<'_>, is_form: bool) -> Option<String> {
    let body = data.open(MAX_FORM_BYTES.bytes()).into_string();
    let body = timeout(FORM_TIMEOUT, body).await.ok()?.ok()?;
    let is_readable = body.is_complete() && (is_form || body.is_empty());
    is_readable.then(|| body.into_inner())
}

/// Who opens a stream, and with which parameters.
struct Caller<'r> {
    client: Client,
    params: StartParams<'r>,
    /// Whether the client can read a refusal as an event.
    reads_events: bool,
    /// Whether the body of a POST says that it is a URL-encoded form.
    sends_form: bool,
}

impl Caller<'_> {
    /// The stream, or the refusal in a form that this client understands.
    fn answer(&self, opened: Result<OpenStream, Refusal>) -> Answer {
        match opened {
            Ok(open) => Ok(EventStream { body: Body::open(open), is_refused: false }),
            Err(refusal) if self.reads_events => {
                Ok(EventStream { body: Body::closed(refusal.frame()), is_refused: true })
            }
            Err(refusal) => Err(Public(refusal.into())),
        }
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for Caller<'r> {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Caller<'r>, Infallible> {
        let client = Client::of(request);
        client.warn_if_not_known(request);
        Outcome::Success(Caller {
            client,
            params: StartParams::of(
                request.headers(),
                request.uri().query().map(|query| query.as_str()),
            ),
            reads_events: Accept::of(request).names(&MediaType::EventStream),
            sends_form: request.content_type().is_some_and(|content_type| content_type.is_form()),
        })
    }
}
