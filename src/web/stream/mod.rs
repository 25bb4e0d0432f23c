//! The stream: rolls as they are made, as server-sent events.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>. A browser's
//! EventSource gives up for good on any answer but 200 with an event stream, so a client that
//! asks for one is told even "too busy" inside a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::future::Either;
use futures::stream::{self, Stream};
use jiff::Timestamp;
use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::response::stream::{Event, EventStream};
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, async_trait, get, head, options, post, routes};
use serde::Serialize;
use tracing::{info, warn};

use crate::config::WebConfig;
use crate::feed::{Asked, Feed, Item, Mode, Reader, Reason, Sync};
use crate::metrics::{Metrics, StreamCount};
use crate::store::StoreError;
use crate::time_spec::TimeSpec;
use crate::web::http::client::Client;
use crate::web::http::coalesce::coalesce;
use crate::web::http::error::PageError;
use crate::web::http::slots::{Busy, BusyReason, Slot, Slots};

/// When a client comes back, in milliseconds: drawn anew for each, so that a restart does not
/// bring all of them back in the same instant.
const RETRY_MS: std::ops::RangeInclusive<u64> = 1_000..=5_000;
/// The same after being turned away.
const BUSY_RETRY_MS: std::ops::RangeInclusive<u64> = 15_000..=45_000;

const METHODS: &str = "GET, HEAD, POST, OPTIONS";

pub fn stage(config: &WebConfig, feed: Feed, metrics: Metrics) -> AdHoc {
    let slots = Slots::new(config.max_streams, config.max_streams_per_address);
    let closing = feed.clone();
    AdHoc::on_ignite("the stream", |rocket| async {
        rocket
            .manage(feed)
            .manage(slots)
            .manage(metrics)
            .mount("/", routes![listen, listen_by_post, headers, preflight])
            .attach(AdHoc::on_shutdown("end of streams", move |_| {
                Box::pin(async move { closing.close() })
            }))
    })
}

/// The rolls after the client's cursor, then rolls as they are made.
#[get("/stream")]
async fn listen(
    caller: Caller,
    feed: &State<Feed>,
    slots: &State<Arc<Slots>>,
    metrics: &State<Metrics>,
) -> Result<Unbuffered<EventStream<impl Stream<Item = Event>>>, Public<PageError>> {
    match open(&caller, feed, slots, metrics).await {
        Err(refusal) if !caller.reads_events => Err(Public(refusal.into())),
        opened => Ok(Unbuffered(events(opened))),
    }
}

/// The same by POST, as in the article.
#[post("/stream")]
async fn listen_by_post(
    caller: Caller,
    feed: &State<Feed>,
    slots: &State<Arc<Slots>>,
    metrics: &State<Metrics>,
) -> Result<Unbuffered<EventStream<impl Stream<Item = Event>>>, Public<PageError>> {
    listen(caller, feed, slots, metrics).await
}

/// The headers alone.
#[head("/stream")]
fn headers() -> Unbuffered<EventStream<impl Stream<Item = Event>>> {
    Unbuffered(EventStream::from(rocket::futures::stream::empty()))
}

/// May a page from elsewhere listen? Yes, and send its last event id.
#[options("/stream")]
fn preflight() -> Allowed {
    Allowed
}

/// A place and a reader for the caller, or why there is none.
async fn open(
    caller: &Caller,
    feed: &Feed,
    slots: &Arc<Slots>,
    metrics: &Metrics,
) -> Result<Open, Refusal> {
    let Caller { client, start, .. } = *caller;
    let slot = slots.take(client.address).map_err(|busy| {
        metrics.rejected(busy.reason.word());
        info!(%client, ?busy, "stream refused ({}), client {client}", busy.reason);
        Refusal::Busy(busy)
    })?;
    let unreadable = |error| {
        metrics.rejected("unreadable");
        Refusal::Unreadable(error)
    };
    let asked = match start {
        Start::Since(since) => feed.since(since.moment(Timestamp::now())).await,
        Start::Asked(asked) => Ok(asked),
    };
    let asked = asked.map_err(unreadable)?;
    let reader = feed.after(asked).await.map_err(unreadable)?;
    info!(%client, ?asked, "stream opened, client {client}");
    let opened = Instant::now();
    let count = metrics.stream();
    Ok(Open { reader, part: Part::Start, client, count, opened, _slot: slot })
}

/// What the client gets: an answer that is one way or the other a stream of events.
fn events(opened: Result<Open, Refusal>) -> EventStream<impl Stream<Item = Event>> {
    let events = match opened {
        Ok(open) => Either::Left(open),
        Err(refusal) => Either::Right(stream::iter(refusal.events())),
    };
    // The feed's own heartbeat needs no timer a client.
    EventStream::from(events).heartbeat(None)
}

/// A stream that is open.
struct Open {
    reader: Reader,
    part: Part,
    client: Client,
    count: StreamCount,
    opened: Instant,
    _slot: Slot,
}

/// How far a stream is.
enum Part {
    Start,
    Rolls,
    Over,
}

impl Stream for Open {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.part {
            Part::Start => {
                self.part = Part::Rolls;
                Poll::Ready(Some(retry(RETRY_MS)))
            }
            Part::Rolls => {
                let item = ready!(self.reader.poll_next(cx));
                Poll::Ready(Some(self.event(item)))
            }
            Part::Over => Poll::Ready(None),
        }
    }
}

impl Open {
    /// An item as it is sent. The last one is a time to come back after: at the server's end, or
    /// when the history cannot be read.
    fn event(&mut self, item: Result<Option<Item>, StoreError>) -> Event {
        match item {
            Ok(Some(Item::Roll(sent))) => {
                self.count.delivered(sent.cursor.id, sent.committed);
                return Event::data(sent.dice.clone()).id(sent.id.clone());
            }
            Ok(Some(Item::Sync(sync))) => {
                let json = SyncJson::from(sync);
                // The reason, where there is one, says more than `reset`.
                let verdict = json.reason.unwrap_or(json.mode);
                self.count.sync(verdict, sync.start, sync.head.id);
                return json_event("sync", &json);
            }
            Ok(Some(Item::Heartbeat)) => return Event::comment(""),
            Ok(None) => {}
            Err(error) => {
                let cause = anyhow::Error::new(error);
                warn!(client = %self.client, "a stream ends, its rolls cannot be read: {cause:#}");
            }
        }
        self.part = Part::Over;
        retry(RETRY_MS)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Open { client, count, opened, .. } = self;
        let n_rolls = count.n_deliveries();
        let seconds = opened.elapsed().as_secs_f64();
        info!(
            %client, n_rolls, seconds,
            "stream closed after {seconds:.1} s and {n_rolls} rolls, client {client}"
        );
    }
}

fn retry(spread: std::ops::RangeInclusive<u64>) -> Event {
    Event::retry(Duration::from_millis(rand::random_range(spread)))
}

fn json_event(name: &'static str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("plain structs become JSON");
    Event::data(data).event(name)
}

#[derive(Serialize)]
struct SyncJson {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    head: String,
    missed: Option<u64>,
}

impl From<Sync> for SyncJson {
    fn from(sync: Sync) -> SyncJson {
        let (mode, reason) = match sync.mode {
            Mode::Live => ("live", None),
            Mode::Resumed => ("resumed", None),
            Mode::Reset(Reason::Pruned) => ("reset", Some("pruned")),
            Mode::Reset(Reason::Unknown) => ("reset", Some("unknown")),
            Mode::Reset(Reason::Malformed) => ("reset", Some("malformed")),
        };
        SyncJson { mode, reason, head: sync.head.to_string(), missed: sync.n_missed }
    }
}

/// Who opens a stream, and where it shall start.
struct Caller {
    client: Client,
    start: Start,
    /// Whether a refusal can be told inside an event stream.
    reads_events: bool,
}

/// Where a stream shall start.
#[derive(Clone, Copy)]
enum Start {
    Asked(Asked),
    Since(TimeSpec),
}

#[async_trait]
impl<'r> FromRequest<'r> for Caller {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Caller, Self::Error> {
        let names_events = |accept: &str| accept.contains("text/event-stream");
        let client = Client::of(request);
        client.warn_if_unknown(request);
        Outcome::Success(Caller {
            client,
            start: start(request),
            reads_events: request.headers().get("Accept").any(names_events),
        })
    }
}

/// `Last-Event-ID` beats `?after=`: a browser that comes back sends the address it was first
/// given, and the header that is newer. Both beat `?since=`. An empty one asks for nothing.
fn start(request: &Request<'_>) -> Start {
    let header = request.headers().get_one("Last-Event-ID");
    let query = |name| request.query_value::<&str>(name).and_then(Result::ok);
    let given = |text: &&str| !text.is_empty();
    if let Some(cursor) = header.filter(given).or_else(|| query("after").filter(given)) {
        return Start::Asked(cursor.parse().map_or(Asked::Malformed, Asked::After));
    }
    match query("since").filter(given).map(str::parse) {
        None => Start::Asked(Asked::Live),
        Some(Ok(since)) => Start::Since(since),
        Some(Err(_)) => Start::Asked(Asked::Malformed),
    }
}

/// An event stream with headers that let it through proxies, and to pages from elsewhere.
struct Unbuffered<R>(R);

impl<'r, 'o: 'r, R: Responder<'r, 'o>> Responder<'r, 'o> for Unbuffered<R> {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'o> {
        let mut response = Public(self.0).respond_to(request)?;
        response.remove_header("Expires");
        response.set_raw_header("Cache-Control", "no-cache, no-transform");
        response.set_raw_header("X-Accel-Buffering", "no");
        // Its own address and nobody else's: what shows an operator from outside whether the proxy
        // forwards it. (`rollcast doctor` reads it; browsers keep it from pages of other origins.)
        response.set_raw_header("Rollcast-Client", Client::of(request).to_string());
        coalesce(&mut response);
        Ok(response)
    }
}

/// An answer that pages from elsewhere may read.
struct Public<R>(R);

impl<'r, 'o: 'r, R: Responder<'r, 'o>> Responder<'r, 'o> for Public<R> {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'o> {
        let mut response = self.0.respond_to(request)?;
        response.set_raw_header("Access-Control-Allow-Origin", "*");
        Ok(response)
    }
}

/// Which methods and headers there are, for a page from elsewhere.
struct Allowed;

impl<'r> Responder<'r, 'static> for Allowed {
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

/// Why a stream is not opened.
enum Refusal {
    Busy(Busy),
    Unreadable(StoreError),
}

impl Refusal {
    /// The same inside an event stream, for a client that would not come back from a 503.
    fn events(self) -> Vec<Event> {
        match self {
            Refusal::Busy(busy) => vec![retry(BUSY_RETRY_MS), json_event("busy", &busy)],
            Refusal::Unreadable(error) => {
                // The client comes back soon, with the cursor that it has.
                let cause = anyhow::Error::new(error);
                warn!("a stream is put off, its start cannot be read: {cause:#}");
                vec![retry(RETRY_MS)]
            }
        }
    }
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> PageError {
        let Busy { reason, limit } = match refusal {
            Refusal::Busy(busy) => busy,
            Refusal::Unreadable(error) => return error.into(),
        };
        let message = match reason {
            BusyReason::Total => format!("All {limit} streams are in use; try again soon."),
            BusyReason::Address => format!("Your address has all of its {limit} streams open."),
        };
        PageError::too_many(message, rand::random_range(BUSY_RETRY_MS) / 1_000)
    }
}
