//! The routes: open a stream, or show its headers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rocket::data::{Data, ToByteUnit};
use rocket::http::{MediaType, RawStr};
use rocket::request::{FromRequest, Outcome};
use rocket::tokio::time::timeout;
use rocket::{Request, Route, State, async_trait, get, head, options, post, routes};
use tracing::info;

use crate::feed::{Feed, Start};
use crate::metrics::Metrics;
use crate::web::http::accept::Accept;
use crate::web::http::ahead::Ahead;
use crate::web::http::client::Client;
use crate::web::http::error::HttpError;
use crate::web::http::permits::Permits;
use crate::web::stream::body::{Body, OpenStream};
use crate::web::stream::headers::{EventStream, Preflight, Public};
use crate::web::stream::refusal::Refusal;
use crate::web::stream::start::{StartParams, StreamStart};

/// A form of this many bytes holds any start.
const MAX_FORM_BYTES: usize = 4 << 10;
/// How long a client may take to send its form.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = Result<EventStream, Public<HttpError>>;

pub fn routes() -> Vec<Route> {
    routes![listen, listen_by_post, show_headers, preflight]
}

/// The rolls after the client's cursor, then new rolls as they are made.
#[get("/stream")]
async fn listen(
    caller: Caller<'_>,
    feed: &State<Feed>,
    ahead: &State<Ahead>,
    permits: &State<Arc<Permits>>,
    metrics: &State<Metrics>,
) -> Answer {
    let start = caller.params.start();
    caller.answer(open(caller.client, start, feed, ahead, permits, metrics).await)
}

/// The same by POST, as in the article. A form may name the start.
#[post("/stream", data = "<data>")]
async fn listen_by_post(
    mut caller: Caller<'_>,
    data: Data<'_>,
    feed: &State<Feed>,
    ahead: &State<Ahead>,
    permits: &State<Arc<Permits>>,
    metrics: &State<Metrics>,
) -> Answer {
    let form = read_form(data, caller.sends_form).await;
    match &form {
        Some(form) => caller.params.add_fields(RawStr::new(form)),
        None => caller.params.note_unreadable_body(),
    }
    let start = caller.params.start();
    caller.answer(open(caller.client, start, feed, ahead, permits, metrics).await)
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

/// Acquires a permit, waits until this node has the client's roll, and opens a reader.
async fn open(
    client: Client,
    start: StreamStart,
    feed: &Feed,
    ahead: &Ahead,
    permits: &Arc<Permits>,
    metrics: &Metrics,
) -> Result<OpenStream, Refusal> {
    let permit = permits.acquire(client).map_err(|busy| {
        metrics.rejected(busy.reason.word());
        info!(%client, ?busy, "stream refused ({}), client {client}", busy.reason);
        Refusal::Busy(busy)
    })?;
    let unreadable = |error| {
        metrics.rejected("unreadable");
        Refusal::Unreadable(error)
    };
    let start = match start {
        StreamStart::Since(since) => feed.since(since.moment(Timestamp::now())).await,
        StreamStart::At(start) => Ok(start),
    };
    let start = start.map_err(unreadable)?;
    if let Start::After(cursor) = start {
        ahead.wait_for(cursor.id).await.map_err(|behind| {
            metrics.rejected("behind");
            info!(%client, ?behind, "stream refused (behind the fleet), client {client}");
            Refusal::Behind(behind)
        })?;
    }
    let reader = feed.after(start).await.map_err(unreadable)?;
    info!(%client, ?start, "stream opened, client {client}");
    Ok(OpenStream::new(reader, client, metrics.stream(), permit))
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
            params: StartParams::of(request),
            reads_events: Accept::of(request).names(&MediaType::EventStream),
            sends_form: request.content_type().is_some_and(|content_type| content_type.is_form()),
        })
    }
}
