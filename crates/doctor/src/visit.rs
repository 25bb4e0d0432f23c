//! Visits a page and its stream as a browser does, with a few more requests. Only observes; the
//! judgement comes later.

use std::time::Duration;

use event_stream::http_url::HttpUrl;
use event_stream::parser::Frame;
use event_stream::proxy::Proxies;
use rustls::pki_types::CertificateDer;

use crate::client::Client;
use crate::connection::{Connection, Connector, Tls};
use crate::front::Front;
use crate::response::{Head, NoResponse};
use crate::rollcast::{
    CHECKPOINT_PATH, Checkpoint, PageRolls, STREAM_PATH, is_of_door, reported_address, stream_link,
};
use crate::watch::Watch;

/// An address that belongs to nobody (<https://www.rfc-editor.org/rfc/rfc5737>). The visit claims
/// it as its own, to see whether the server believes it.
pub const FORGED_ADDRESS: &str = "192.0.2.77";
/// The headers in which a proxy names its client, without the proxies before it.
pub const ADDRESS_HEADERS: [&str; 4] =
    ["X-Real-IP", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP"];
/// The headers in which each proxy appends its client to a list. `Forwarded`
/// (<https://www.rfc-editor.org/rfc/rfc7239>) has a syntax of its own.
pub const LIST_HEADERS: [&str; 2] = ["X-Forwarded-For", "Forwarded"];

const ACCEPT: (&str, &str) = ("Accept", "text/event-stream");
const ACCEPT_PAGE: (&str, &str) =
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
const ACCEPT_ENCODING: (&str, &str) = ("Accept-Encoding", "gzip, deflate, br, zstd");
const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");

/// What to visit, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A page that opens a stream, or the stream itself.
    pub url: HttpUrl,
    /// The stream, where the page does not name it.
    pub stream: Option<HttpUrl>,
    /// How long to watch the stream.
    pub watch_for: Duration,
    /// How long each connection and each response head may take.
    pub timeout: Duration,
    /// How many streams to open at once.
    pub n_streams: usize,
    /// The authorities whose certificates are valid; `None`: those that browsers trust.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Which requests go through a proxy.
    pub proxies: Proxies,
}

/// What the visit observed.
#[derive(Clone, Debug)]
pub struct Observations {
    /// The connection to the page, or to where it leads if that certificate is refused.
    pub connection: Connection,
    /// The program that answers first at the URL of the stream.
    pub front: Front,
    /// The proxy that the environment names for the stream.
    pub proxy: Option<String>,
    /// `None` if the URL is a stream itself.
    pub page: Option<Result<Page, NoResponse>>,
    /// The URL of the stream.
    pub url: HttpUrl,
    /// The first watch, which offered compression as browsers do, if its response was compressed
    /// or never came. Then `stream` is a second watch without the offer.
    pub compressed: Option<Result<Watch, NoResponse>>,
    /// The stream.
    pub stream: Result<Watch, NoResponse>,
    /// Whether the stream is at rollcast's fan-out door, which serves nothing else.
    pub is_door: bool,
    /// The head alone, for a client that claims no address.
    pub plain_head: Option<Head>,
    /// The head alone, for a client that claims to be [`FORGED_ADDRESS`] in [`ADDRESS_HEADERS`].
    pub forged_head: Option<Head>,
    /// The head alone, for a client that claims to be [`FORGED_ADDRESS`] in [`LIST_HEADERS`].
    pub forged_list_head: Option<Head>,
    /// What a verifier of rolls gets, if the stream or the page is rollcast's. The door has no log.
    pub log: Option<Result<Log, NoResponse>>,
    /// A reconnect with the id of an event of the first watch.
    pub reconnect: Option<Reconnect>,
    /// How each of several streams began that were opened at once.
    pub at_once: Vec<Result<(Head, Vec<Frame>), NoResponse>>,
}

/// A page that opens a stream.
#[derive(Clone, Debug)]
pub struct Page {
    /// The head of its response.
    pub head: Head,
    /// What it says about rolls, if it is a page of rollcast.
    pub rolls: Option<PageRolls>,
}

/// The log of rolls, after the watch.
#[derive(Clone, Debug)]
pub struct Log {
    /// The head of the response with the checkpoint.
    pub head: Head,
    /// The checkpoint and the tile with its newest leaf. `None` if the response is not a checkpoint.
    pub newest: Option<(Checkpoint, Result<TileHead, NoResponse>)>,
}

/// The head of a tile's response, and the length of its body in bytes.
pub type TileHead = (Head, usize);

/// A stream that was opened with a `Last-Event-ID`.
#[derive(Clone, Debug)]
pub struct Reconnect {
    /// The id that was sent.
    pub last_event_id: String,
    /// The ids that followed it on the first watch.
    pub later_ids: Vec<String>,
    /// The frames up to the first event.
    pub frames: Result<Vec<Frame>, NoResponse>,
}

/// How far the visit is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Connecting, and reading the page.
    Page,
    /// Watching the stream.
    Watching {
        /// The time so far.
        elapsed: Duration,
        /// The events so far.
        n_events: usize,
    },
    /// Reconnecting, claiming another address, opening several streams.
    MoreRequests,
}

/// Makes the visit.
///
/// # Errors
///
/// No connection to the URL can be opened; the reason.
pub fn visit(plan: &Plan, progress: &mut dyn FnMut(Progress)) -> Result<Observations, String> {
    let client = Client::new(plan.timeout, plan.proxies.clone());
    let connector = Connector::new(plan.timeout, plan.authorities.as_deref(), plan.proxies.clone());
    progress(Progress::Page);
    let connection = connector.connect(&plan.url).map_err(|error| {
        format!("cannot reach {} port {}: {error} ({})", plan.url.host(), plan.url.port(), plan.url)
    })?;
    let (page, named) = fetch_page(&client, &plan.url);
    let url = plan.stream.clone().unwrap_or(named);
    let landed = page_head(&page).map(|head| &head.url);
    let connection = first_refused(&connector, connection, &plan.url, landed, &url);

    let mut watch = |headers: &[_]| {
        client.watch(&url, headers, plan.watch_for, &mut |elapsed, n_events| {
            progress(Progress::Watching { elapsed, n_events });
        })
    };
    let mut stream = watch(&[ACCEPT, NO_CACHE, ACCEPT_ENCODING]);
    let mut compressed = None;
    let may_be_compression = match &stream {
        Ok(watch) => watch.head.header("content-encoding").is_some(),
        // The page came, and its request did not offer compression.
        Err(NoResponse::TimedOut(_)) => page.is_some(),
        Err(NoResponse::Failed(_)) => false,
    };
    if may_be_compression {
        compressed = Some(stream);
        stream = watch(&[ACCEPT, NO_CACHE]);
    }
    progress(Progress::MoreRequests);
    let is_open = stream.as_ref().is_ok_and(|watch| watch.head.is_stream());
    // Something may hold back the body and still let the head of a `HEAD` through.
    let may_answer = is_open || matches!(stream, Err(NoResponse::TimedOut(_)));
    let head = |headers: &[_]| {
        if may_answer { client.head(&url, headers).ok() } else { None }
    };
    let plain_head = head(&[ACCEPT]);
    let forwarded = format!("for={FORGED_ADDRESS}");
    let claims = ADDRESS_HEADERS.map(|name| (name, FORGED_ADDRESS));
    let forged_head = head(&[&[ACCEPT], &claims[..]].concat());
    let lists = LIST_HEADERS.into_iter().zip([FORGED_ADDRESS, &*forwarded]);
    let forged_list_head = head(&[ACCEPT].into_iter().chain(lists).collect::<Vec<_>>());
    let head_of_stream = stream.as_ref().ok().map(|watch| &watch.head);
    let front = Front::recognise(
        connector.refusal(&url).as_deref(),
        plain_head.as_ref().or(head_of_stream).or(page_head(&page)),
    );
    let proxy = plan.proxies.for_url(&url).ok().flatten().map(ToString::to_string);
    let mut seen = Observations {
        connection,
        front,
        proxy,
        page,
        url,
        compressed,
        stream,
        is_door: false,
        plain_head,
        forged_head,
        forged_list_head,
        log: None,
        reconnect: None,
        at_once: Vec::new(),
    };
    if seen.is_rollcast() {
        seen.is_door = is_door(&client, &seen);
        let with_log = match seen.page_rolls() {
            Some((page, _)) => Some(&page.url),
            None => Some(&seen.url).filter(|_| !seen.is_door),
        };
        seen.log = with_log.map(|url| fetch_log(&client, url));
    }
    if seen.is_door && seen.front == Front::Rollcast {
        seen.front = Front::Door;
    }
    if is_open {
        seen.reconnect = reconnect(&client, &seen.url, &seen.stream);
        seen.at_once = client.open_at_once(&seen.url, &[ACCEPT, NO_CACHE], plan.n_streams);
    }
    Ok(seen)
}

fn page_head(page: &Option<Result<Page, NoResponse>>) -> Option<&Head> {
    page.as_ref()?.as_ref().ok().map(|page| &page.head)
}

/// The page, and the URL of the stream that it opens.
fn fetch_page(client: &Client, url: &HttpUrl) -> (Option<Result<Page, NoResponse>>, HttpUrl) {
    match client.page(url, &[ACCEPT_PAGE]) {
        Ok((head, _)) if head.content_type() == "text/event-stream" => (None, url.clone()),
        // The root of the door.
        Ok((head, body)) if is_of_door(&head, &body) => {
            (None, head.url.join(STREAM_PATH).unwrap_or(head.url))
        }
        Ok((head, html)) => {
            let named = stream_link(&html).and_then(|link| head.url.join(link).ok());
            let usual = || head.url.join(STREAM_PATH).unwrap_or_else(|_| url.clone());
            let stream = named.unwrap_or_else(usual);
            (Some(Ok(Page { rolls: PageRolls::of(&html), head })), stream)
        }
        // A stream that is silent looks like this, and so does a page that never comes.
        Err(NoResponse::TimedOut(_)) => (None, url.clone()),
        Err(failed) => (Some(Err(failed)), url.clone()),
    }
}

/// Whether the stream of rollcast is at an address of its own.
fn is_door(client: &Client, seen: &Observations) -> bool {
    if let Some((page, _)) = seen.page_rolls() {
        return page.url.origin() != seen.url.origin();
    }
    let root = seen.url.join("/").ok();
    let answer = root.and_then(|root| client.page(&root, &[ACCEPT_PAGE]).ok());
    answer.is_some_and(|(head, body)| is_of_door(&head, &body))
}

/// The checkpoint of the server at this address, and its newest tile.
fn fetch_log(client: &Client, server: &HttpUrl) -> Result<Log, NoResponse> {
    // No request to a cache for a new copy: verifiers send none.
    let get = |path: &str| {
        let url = server.join(path).map_err(|error| NoResponse::Failed(error.to_string()))?;
        client.file(&url, &[])
    };
    let (head, note) = get(CHECKPOINT_PATH)?;
    let checkpoint = Checkpoint::of(&String::from_utf8_lossy(&note));
    let newest = checkpoint.filter(|_| head.status == 200).map(|checkpoint| {
        let tile = get(&checkpoint.newest_tile().0).map(|(head, tile)| (head, tile.len()));
        (checkpoint, tile)
    });
    Ok(Log { head, newest })
}

/// The connection whose certificate stops a browser on its way from the URL over redirects and
/// the page to the stream; if there is none, the last one.
fn first_refused(
    connector: &Connector,
    mut connection: Connection,
    url: &HttpUrl,
    landed: Option<&HttpUrl>,
    stream: &HttpUrl,
) -> Connection {
    let mut origin = url.origin();
    for next in landed.into_iter().chain([stream]) {
        let is_refused = matches!(connection.tls, Some(Tls::Refused(_)));
        if next.origin() != origin && !is_refused {
            // The requests themselves show when nothing listens there.
            connection = connector.connect(next).unwrap_or(connection);
        }
        origin = next.origin();
    }
    connection
}

/// Reconnects after the last event but one, so that one must follow; else after the only event,
/// or the newest roll that `sync` named.
fn reconnect(
    client: &Client,
    url: &HttpUrl,
    stream: &Result<Watch, NoResponse>,
) -> Option<Reconnect> {
    let watch = stream.as_ref().ok()?;
    let ids: Vec<String> = watch
        .arrivals
        .iter()
        .filter_map(|arrival| arrival.frame.id())
        .filter(|id| !id.is_empty())
        .map(String::from)
        .collect();
    let at = ids.len().saturating_sub(2);
    let last_event_id = match ids.get(at) {
        Some(id) => id.clone(),
        None => watch.newest_roll().filter(|newest| newest.id > 0)?.to_string(),
    };
    let later_ids = ids.get(at + 1..).unwrap_or_default().to_vec();
    let headers = [ACCEPT, NO_CACHE, ("Last-Event-ID", &*last_event_id)];
    let opened = client.open_at_once(url, &headers, 1).into_iter().next()?;
    Some(Reconnect { last_event_id, later_ids, frames: opened.map(|(_, frames)| frames) })
}

impl Observations {
    /// Whether the stream is rollcast's.
    pub fn is_rollcast(&self) -> bool {
        self.page_rolls().is_some()
            || self.stream.as_ref().is_ok_and(|watch| watch.newest_roll().is_some())
            || self.plain_head.as_ref().is_some_and(|head| reported_address(head).is_some())
    }

    /// What the page says about rolls, with the head of its response.
    pub fn page_rolls(&self) -> Option<(&Head, &PageRolls)> {
        let page = self.page.as_ref()?.as_ref().ok()?;
        Some((&page.head, page.rolls.as_ref()?))
    }
}
