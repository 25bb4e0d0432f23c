//! The visit: what a browser would ask for, and a few questions more. What is seen is judged later.

use std::net::IpAddr;
use std::time::Duration;

use event_stream::parser::Frame;
use jiff::{SignedDuration, Timestamp};
use ureq::tls::Certificate;

use crate::cursor::Cursor;
use crate::doctor::client::{Answer, Arrival, Client, Connection, NoAnswer, Tls, Watch};
use crate::remote::Url;
use crate::roll::RolledAt;

/// An address that is nobody's (<https://www.rfc-editor.org/rfc/rfc5737>), to claim as one's own.
pub const FORGED: &str = "192.0.2.77";
/// Headers in which proxies put a client's address; besides `Forwarded`
/// (<https://www.rfc-editor.org/rfc/rfc7239>), which has a form of its own.
pub const CLAIMS: [&str; 5] =
    ["X-Real-IP", "X-Forwarded-For", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP"];
/// Where the stream tells its client's address.
pub const CLIENT_HEADER: &str = "Rollcast-Client";

/// What to look at, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A page that listens to a stream, or a stream.
    pub url: Url,
    /// The stream, where the page does not name it.
    pub stream: Option<Url>,
    /// How long the stream is watched.
    pub watch_for: Duration,
    /// How long each connection may take, and each response until it begins.
    pub timeout: Duration,
    /// Streams that are opened at once.
    pub n_streams: usize,
    /// Certificates to trust instead of those that browsers do.
    pub trusted: Option<Vec<Certificate<'static>>>,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How the connection came about.
    pub connection: Connection,
    /// `None` where the address is a stream itself.
    pub page: Option<Result<Page, NoAnswer>>,
    /// The stream's address.
    pub url: Url,
    /// The first look, as a browser: where the answer was compressed or never came, `stream` is a
    /// second one without `Accept-Encoding`.
    pub compressed: Option<Result<Watch, NoAnswer>>,
    /// The stream.
    pub stream: Result<Watch, NoAnswer>,
    /// The headers alone, for a client that says nothing of its address.
    pub honest: Option<Answer>,
    /// The same for one that claims to be [`FORGED`].
    pub forged: Option<Answer>,
    /// Another try with the id of an event of the first.
    pub resumed: Option<Resumed>,
    /// Streams at once, and how each began.
    pub crowd: Vec<Result<(Answer, Vec<Frame>), NoAnswer>>,
}

/// A page that listens.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its head.
    pub answer: Answer,
    /// What it says of rolls, if it is rollcast's.
    pub rolls: Option<PageRolls>,
}

/// What a page of rollcast's says.
#[derive(Clone, Debug)]
pub struct PageRolls {
    /// The time between rolls.
    pub every: Duration,
    /// Its newest roll.
    pub newest: Option<Cursor>,
}

/// A stream that was opened anew.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// What was asked for.
    pub last_event_id: String,
    /// The ids that came after it the first time.
    pub later_ids: Vec<String>,
    /// What came the second time.
    pub answered: Result<Vec<Frame>, NoAnswer>,
}

/// A part of the visit, for who waits for it.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Connecting, encrypting, reading the page.
    Page,
    /// Watching the stream.
    Watching {
        /// For so long so far.
        so_far: Duration,
        /// That many events came.
        n_events: usize,
    },
    /// Asking again, claiming another address, opening several streams.
    Asking,
}

/// Makes the visit.
///
/// # Errors
///
/// Nobody can be reached there, with the reason.
pub fn visit(plan: &Plan, progress: &mut dyn FnMut(Progress)) -> Result<Seen, String> {
    let client = Client::new(plan.timeout, plan.trusted.as_deref());
    progress(Progress::Page);
    let mut connection = client.connect(&plan.url).map_err(|error| {
        format!("cannot reach {} port {}: {error} ({})", plan.url.host(), plan.url.port(), plan.url)
    })?;
    let (page, named) = look_at_page(&client, &plan.url);
    let url = plan.stream.clone().unwrap_or(named);
    // Where redirects and the page lead: a certificate that is refused anywhere stops a browser.
    let landed = page.as_ref().and_then(|page| page.as_ref().ok()).map(|page| &page.answer.url);
    let mut before = plan.url.origin();
    for next in landed.into_iter().chain([&url]) {
        let is_refused = matches!(connection.tls, Some(Tls::Refused(_)));
        if next.origin() != before && !is_refused {
            // What cannot be reached there shows when it is asked.
            connection = client.connect(next).unwrap_or(connection);
        }
        before = next.origin();
    }

    let mut watch = |headers: &[_]| {
        client.watch(&url, headers, plan.watch_for, &mut |so_far, n_events| {
            progress(Progress::Watching { so_far, n_events });
        })
    };
    let as_browser = [ACCEPT, NO_CACHE, ("Accept-Encoding", "gzip, deflate, br, zstd")];
    let mut stream = watch(&as_browser);
    let mut compressed = None;
    let may_be_compression = match &stream {
        Ok(watch) => watch.answer.header("content-encoding").is_some(),
        // The page was asked for without an offer to decompress.
        Err(NoAnswer::Silent(_)) => page.is_some(),
        Err(NoAnswer::Failed(_)) => false,
    };
    if may_be_compression {
        compressed = Some(stream);
        stream = watch(&[ACCEPT, NO_CACHE]);
    }
    progress(Progress::Asking);
    let is_open = stream.as_ref().is_ok_and(|watch| watch.answer.is_stream());
    // The headers alone come also where what follows them is held back.
    let may_answer = is_open || matches!(stream, Err(NoAnswer::Silent(_)));
    let claims = CLAIMS.map(|name| (name, FORGED));
    let forwarded = format!("for={FORGED}");
    let head = |headers: &[_]| {
        if may_answer { client.head(&url, headers).ok() } else { None }
    };
    let honest = head(&[ACCEPT]);
    let forged = head(&[&[ACCEPT], &claims[..], &[("Forwarded", &*forwarded)]].concat());
    let resumed = if is_open { resume(&client, &url, &stream) } else { None };
    let crowd =
        if is_open { client.crowd(&url, &[ACCEPT, NO_CACHE], plan.n_streams) } else { Vec::new() };
    Ok(Seen { connection, page, url, compressed, stream, honest, forged, resumed, crowd })
}

const ACCEPT: (&str, &str) = ("Accept", "text/event-stream");
const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");

/// The page, and the stream that it listens to.
fn look_at_page(client: &Client, url: &Url) -> (Option<Result<Page, NoAnswer>>, Url) {
    let accept = [("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")];
    match client.page(url, &accept) {
        Ok((answer, _)) if answer.content_type() == "text/event-stream" => (None, url.clone()),
        Ok((answer, html)) => {
            let named = attribute(&html, "data-stream").and_then(|link| answer.url.join(link).ok());
            let usual = || answer.url.join("/stream/").unwrap_or_else(|_| url.clone());
            let stream = named.unwrap_or_else(usual);
            let rolls = attribute(&html, "data-every-ms").and_then(|every| every.parse().ok());
            let rolls = rolls.map(|every_ms| PageRolls {
                every: Duration::from_millis(every_ms),
                newest: attribute(&html, "data-cursor").and_then(|cursor| cursor.parse().ok()),
            });
            (Some(Ok(Page { answer, rolls })), stream)
        }
        // A stream that says nothing looks like this, and so does a page that never comes.
        Err(NoAnswer::Silent(_)) => (None, url.clone()),
        Err(failed) => (Some(Err(failed)), url.clone()),
    }
}

/// The value of the first attribute of that name, in the double quotes of our own pages.
fn attribute<'a>(html: &'a str, name: &str) -> Option<&'a str> {
    let assignment = format!("{name}=\"");
    let mut places = html.match_indices(&assignment).map(|(at, _)| at);
    let at = places.find(|at| html[..*at].ends_with(|c: char| c.is_ascii_whitespace()))?;
    html[at + assignment.len()..].split('"').next()
}

/// Opens the stream after an event that is not the last one, if there were two with ids: else
/// after the only one, or the newest that the stream's `sync` told of.
fn resume(client: &Client, url: &Url, stream: &Result<Watch, NoAnswer>) -> Option<Resumed> {
    let watch = stream.as_ref().ok()?;
    let ids: Vec<String> = watch
        .arrivals
        .iter()
        .filter_map(|arrival| match &arrival.frame {
            Frame::Event { id: Some(id), .. } if !id.is_empty() => Some(id.clone()),
            _ => None,
        })
        .collect();
    let at = ids.len().saturating_sub(2);
    let last_event_id = match ids.get(at) {
        Some(id) => id.clone(),
        None => watch.head().filter(|head| head.id.0 > 0)?.to_string(),
    };
    let later_ids = ids.get(at + 1..).unwrap_or_default().to_vec();
    let headers = [ACCEPT, NO_CACHE, ("Last-Event-ID", &*last_event_id)];
    let answered = client.crowd(url, &headers, 1).into_iter().next()?.map(|(_, frames)| frames);
    Some(Resumed { last_event_id, later_ids, answered })
}

impl Seen {
    /// Whether there is a rollcast behind it.
    pub fn is_rollcast(&self) -> bool {
        self.page_rolls().is_some()
            || self.stream.as_ref().is_ok_and(|watch| watch.head().is_some())
            || self.honest.as_ref().is_some_and(|answer| told_address(answer).is_some())
    }

    /// What the page says of rolls.
    pub fn page_rolls(&self) -> Option<(&Answer, &PageRolls)> {
        let page = self.page.as_ref()?.as_ref().ok()?;
        Some((&page.answer, page.rolls.as_ref()?))
    }
}

impl Watch {
    /// The newest roll when it was opened, if it is a stream of rollcast's.
    pub fn head(&self) -> Option<Cursor> {
        self.arrivals.iter().find_map(|arrival| {
            let sync = sync(&arrival.frame)?;
            sync.get("head")?.as_str()?.parse().ok()
        })
    }

    /// When something came, by this machine's clock.
    pub fn time_of(&self, arrival: &Arrival) -> Timestamp {
        self.started + SignedDuration::try_from(arrival.at).unwrap_or_default()
    }

    /// The rolls that were made while it was open, with the times at which they came.
    pub fn live_rolls(&self) -> impl Iterator<Item = (&Arrival, RolledAt)> {
        let head = self.head();
        self.arrivals.iter().filter_map(move |arrival| match &arrival.frame {
            Frame::Event { id: Some(id), .. } => {
                let Cursor { id, unix_millis: Some(unix_millis) } = id.parse().ok()? else {
                    return None;
                };
                let rolled_at = Timestamp::from_millisecond(unix_millis).ok()?;
                (id > head?.id).then_some((arrival, RolledAt::truncate(rolled_at)))
            }
            _ => None,
        })
    }
}

/// The data of an event `sync`.
pub fn sync(frame: &Frame) -> Option<serde_json::Value> {
    told(frame, "sync")
}

/// The data of an event `busy`.
pub fn busy(frame: &Frame) -> Option<serde_json::Value> {
    told(frame, "busy")
}

fn told(frame: &Frame, event: &str) -> Option<serde_json::Value> {
    match frame {
        Frame::Event { name, id: None, data } if name == event => serde_json::from_str(data).ok(),
        _ => None,
    }
}

/// The client's address as a server told it: `None` where it told none, `Some(None)` where it does
/// not know it.
pub fn told_address(answer: &Answer) -> Option<Option<IpAddr>> {
    Some(answer.header(CLIENT_HEADER)?.parse().ok())
}
