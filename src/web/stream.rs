//! The stream: rolls as they are made, as server-sent events.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>. A browser's
//! EventSource gives up for good on any answer but 200 with an event stream, so a client that
//! asks for one is told even "too busy" inside a stream.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::response::stream::{Event, EventStream};
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, async_trait, delete, get, head, options, patch, post, put, routes};
use serde::Serialize;
use tracing::{info, warn};

use crate::config::WebConfig;
use crate::feed::{Asked, Feed, Item, Mode, Reader, Reason, Sync};
use crate::web::client::Client;
use crate::web::error::PageError;

/// When a client comes back, in milliseconds: drawn anew for each, so that a restart does not
/// bring all of them back in the same instant.
const RETRY_MS: std::ops::RangeInclusive<u64> = 1_000..=5_000;
/// The same after being turned away.
const BUSY_RETRY_MS: std::ops::RangeInclusive<u64> = 15_000..=45_000;

const METHODS: &str = "GET, HEAD, POST, OPTIONS";

pub fn stage(config: &WebConfig, feed: Feed) -> AdHoc {
    let slots = Arc::new(Slots {
        max_streams: config.max_streams,
        max_streams_per_address: config.max_streams_per_address,
        open: Mutex::default(),
    });
    let closing = feed.clone();
    AdHoc::on_ignite("the stream", |rocket| async {
        rocket
            .manage(feed)
            .manage(slots)
            .mount("/", routes![listen, listen_by_post, headers, preflight])
            .mount("/", routes![refuse_put, refuse_patch, refuse_delete])
            .attach(AdHoc::on_shutdown("end of streams", move |_| {
                Box::pin(async move { closing.close() })
            }))
    })
}

/// The rolls after the client's cursor, then rolls as they are made.
#[get("/stream")]
async fn listen(
    client: Client,
    accept: Accept,
    asked: Asked,
    feed: &State<Feed>,
    slots: &State<Arc<Slots>>,
) -> Result<Unbuffered<EventStream![]>, PageError> {
    let opened = open(client, asked, feed, slots).await;
    match (opened, accept) {
        (Err(busy), Accept::Anything) => Err(busy.into()),
        (opened, _) => Ok(Unbuffered(events(opened))),
    }
}

/// The same by POST, as in the article.
#[post("/stream")]
async fn listen_by_post(
    client: Client,
    accept: Accept,
    asked: Asked,
    feed: &State<Feed>,
    slots: &State<Arc<Slots>>,
) -> Result<Unbuffered<EventStream![]>, PageError> {
    listen(client, accept, asked, feed, slots).await
}

/// The headers alone.
#[head("/stream")]
fn headers() -> Unbuffered<EventStream![]> {
    Unbuffered(EventStream::from(rocket::futures::stream::empty()))
}

/// May a page from elsewhere listen? Yes, and send its last event id.
#[options("/stream")]
fn preflight() -> Allowed {
    Allowed(Status::NoContent)
}

#[put("/stream")]
fn refuse_put() -> Allowed {
    Allowed(Status::MethodNotAllowed)
}

#[patch("/stream")]
fn refuse_patch() -> Allowed {
    Allowed(Status::MethodNotAllowed)
}

#[delete("/stream")]
fn refuse_delete() -> Allowed {
    Allowed(Status::MethodNotAllowed)
}

/// A place and a reader for the client, or why it gets none.
async fn open(client: Client, asked: Asked, feed: &Feed, slots: &Arc<Slots>) -> Result<Open, Busy> {
    let slot = slots.take(client.address)?;
    let reader = feed.after(asked).await.map_err(|error| {
        let cause = anyhow::Error::new(error);
        warn!(%client, "cannot look up a stream's start: {cause:#}");
        Busy { reason: BusyReason::History, limit: None }
    })?;
    info!(%client, ?asked, "stream opened, client {client}");
    let opened = Instant::now();
    Ok(Open { reader, client, n_rolls: 0, opened, _slot: slot })
}

fn events(opened: Result<Open, Busy>) -> EventStream![] {
    let events = EventStream! {
        match opened {
            Ok(mut open) => {
                yield retry(RETRY_MS);
                while let Some(event) = open.next().await {
                    yield event;
                }
                yield retry(RETRY_MS);
            }
            Err(busy) => {
                yield retry(BUSY_RETRY_MS);
                yield json_event("busy", &busy);
            }
        }
    };
    // The feed's own heartbeat needs no timer a client.
    events.heartbeat(None)
}

/// A stream that is open.
struct Open {
    reader: Reader,
    client: Client,
    n_rolls: u64,
    opened: Instant,
    _slot: Slot,
}

impl Open {
    /// The next event; `None` at the server's end, or when the history cannot be read: then the
    /// client comes back by itself, with its cursor.
    async fn next(&mut self) -> Option<Event> {
        match self.reader.next().await {
            Ok(Some(Item::Roll(sent))) => {
                self.n_rolls += 1;
                Some(Event::data(sent.dice.clone()).id(sent.id.clone()))
            }
            Ok(Some(Item::Sync(sync))) => Some(json_event("sync", &SyncJson::from(sync))),
            Ok(Some(Item::Heartbeat)) => Some(Event::comment("")),
            Ok(None) => None,
            Err(error) => {
                let cause = anyhow::Error::new(error);
                warn!(client = %self.client, "a stream ends, its rolls cannot be read: {cause:#}");
                None
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Open { client, n_rolls, opened, .. } = self;
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

#[async_trait]
impl<'r> FromRequest<'r> for Asked {
    type Error = std::convert::Infallible;

    /// `Last-Event-ID` beats `?after=`: a browser that comes back sends the address it was first
    /// given, and the header that is newer. An empty one asks for nothing.
    async fn from_request(request: &'r Request<'_>) -> Outcome<Asked, Self::Error> {
        let header = request.headers().get_one("Last-Event-ID");
        let query = || request.query_value::<&str>("after").and_then(Result::ok);
        let given = |text: &&str| !text.is_empty();
        let cursor = header.filter(given).or_else(|| query().filter(given));
        Outcome::Success(match cursor.map(str::parse) {
            None => Asked::Live,
            Some(Ok(cursor)) => Asked::After(cursor),
            Some(Err(_)) => Asked::Malformed,
        })
    }
}

/// Whether the client understands an event stream when it gets a refusal.
enum Accept {
    Events,
    Anything,
}

#[async_trait]
impl<'r> FromRequest<'r> for Accept {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Accept, Self::Error> {
        let names_it = |header: &str| header.contains("text/event-stream");
        let events = request.headers().get("Accept").any(names_it);
        Outcome::Success(if events { Accept::Events } else { Accept::Anything })
    }
}

/// An event stream with headers that let it through proxies, and to pages from elsewhere.
struct Unbuffered<R>(R);

impl<'r, 'o: 'r, R: Responder<'r, 'o>> Responder<'r, 'o> for Unbuffered<R> {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'o> {
        let mut response = self.0.respond_to(request)?;
        response.remove_header("Expires");
        response.set_raw_header("Cache-Control", "no-cache, no-transform");
        response.set_raw_header("X-Accel-Buffering", "no");
        response.set_raw_header("Access-Control-Allow-Origin", "*");
        Ok(response)
    }
}

/// Which methods there are, with or without reproach.
struct Allowed(Status);

impl<'r> Responder<'r, 'static> for Allowed {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Response::build()
            .status(self.0)
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

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Busy {
    reason: BusyReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum BusyReason {
    /// As many streams are open as the server takes.
    Total,
    /// As many streams are open as one address gets.
    Address,
    /// The rolls after the cursor cannot be read now.
    History,
}

impl From<Busy> for PageError {
    fn from(busy: Busy) -> PageError {
        let limit = busy.limit.unwrap_or_default();
        let message = match busy.reason {
            BusyReason::Total => format!("All {limit} streams are in use; try again soon."),
            BusyReason::Address => format!("Your address has all of its {limit} streams open."),
            BusyReason::History => "The history cannot be read now; try again soon.".into(),
        };
        PageError::too_many_streams(message, BUSY_RETRY_MS.end() / 1_000)
    }
}

/// Places for streams, in all and for each address.
struct Slots {
    max_streams: usize,
    max_streams_per_address: usize,
    open: Mutex<OpenSlots>,
}

#[derive(Default)]
struct OpenSlots {
    n_streams: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One place, given back when dropped.
struct Slot {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
}

impl Slots {
    /// A place for a client; one without a known address counts only in all.
    fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, Busy> {
        let address = address.map(shared_address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.n_streams >= self.max_streams {
            return Err(Busy { reason: BusyReason::Total, limit: Some(self.max_streams) });
        }
        if let Some(address) = address {
            let n_streams = open.by_address.entry(address).or_default();
            if *n_streams >= self.max_streams_per_address {
                let limit = Some(self.max_streams_per_address);
                return Err(Busy { reason: BusyReason::Address, limit });
            }
            *n_streams += 1;
        }
        open.n_streams += 1;
        Ok(Slot { slots: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.n_streams -= 1;
        let Some(address) = self.address else { return };
        let n_streams = open.by_address.get_mut(&address).expect("an open stream is counted");
        *n_streams -= 1;
        if *n_streams == 0 {
            open.by_address.remove(&address);
        }
    }
}

/// What counts as one address: a household or a host gets a whole IPv6 /64.
fn shared_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(max_streams: usize, max_streams_per_address: usize) -> Arc<Slots> {
        let open = Mutex::default();
        Arc::new(Slots { max_streams, max_streams_per_address, open })
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn an_address_gets_its_share_and_a_place_that_is_left_is_free_again() {
        let slots = slots(10, 2);
        let first = slots.take(address("192.0.2.1")).ok();
        let _second = slots.take(address("::ffff:192.0.2.1")).ok();
        let turned_away = slots.take(address("192.0.2.1")).err();
        assert_eq!(turned_away, Some(Busy { reason: BusyReason::Address, limit: Some(2) }));
        assert!(slots.take(address("192.0.2.2")).is_ok(), "another address has its own share");
        drop(first);
        assert!(slots.take(address("192.0.2.1")).is_ok(), "a place was left");
    }

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_address() {
        let slots = slots(10, 1);
        let _first = slots.take(address("2001:db8:0:1::1")).ok();
        assert!(slots.take(address("2001:db8:0:1:ffff::2")).is_err(), "the same /64");
        assert!(slots.take(address("2001:db8:0:2::1")).is_ok(), "the /64 next to it");
    }

    #[test]
    fn unknown_addresses_count_only_in_all_and_everything_is_given_back() {
        let slots = slots(3, 1);
        let all: Vec<Slot> = (0..3).filter_map(|_| slots.take(None).ok()).collect();
        assert_eq!(all.len(), 3);
        let turned_away = slots.take(None).err();
        assert_eq!(turned_away, Some(Busy { reason: BusyReason::Total, limit: Some(3) }));
        drop(all);
        drop(slots.take(address("192.0.2.1")));
        let open = slots.open.lock().expect("not poisoned");
        assert_eq!((open.n_streams, open.by_address.len()), (0, 0));
    }
}
