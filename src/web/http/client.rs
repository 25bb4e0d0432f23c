//! The client's address, also behind a proxy.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use event_stream::printable::printable;
use rocket::fairing::AdHoc;
use rocket::request::{FromRequest, Outcome};
use rocket::{Request, async_trait};
use tracing::warn;

use crate::config::WebConfig;
use crate::health::Audience;
use crate::network::Network;
use crate::text::shortened;
use crate::web::http::forwarded::{self, Claim};

/// The client that a request counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// The client with this address.
    Known(IpAddr),
    /// One of the clients whose proxy sends contradictory addresses, or something that is not an
    /// address. They all count as one.
    Unclear,
    /// A client whose proxy does not forward its address.
    Unknown,
}

/// The proxies whose headers are believed. Any other sender could claim any address, and no limit
/// per address would hold.
struct Proxies {
    trusted: Vec<Network>,
    header: Option<String>,
    warned_of_unknown: AtomicBool,
    warned_of_unclear: AtomicBool,
}

pub fn stage(config: &WebConfig) -> AdHoc {
    let proxies = Proxies {
        trusted: config.trusted_proxies.clone(),
        header: config.address_header.clone(),
        warned_of_unknown: AtomicBool::new(false),
        warned_of_unclear: AtomicBool::new(false),
    };
    AdHoc::on_ignite("client addresses", |rocket| async { rocket.manage(proxies) })
}

impl Proxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

impl Client {
    pub fn of(request: &Request<'_>) -> Client {
        let Some(peer) = request.remote().map(|remote| remote.ip().to_canonical()) else {
            return Client::Unknown;
        };
        match claim(request, peer) {
            None => Client::Known(peer),
            Some(Claim::Client(address)) => Client::Known(address),
            Some(Claim::Contradiction { .. } | Claim::Unreadable { .. }) => Client::Unclear,
            Some(Claim::Missing) => Client::Unknown,
        }
    }

    /// Logs once that a proxy forwards no addresses, and once that it forwards contradictory or
    /// unreadable ones. A missing header lifts the limit per address. Otherwise all visitors would
    /// share one limit.
    pub fn warn_if_not_known(self, request: &Request<'_>) {
        let Some(proxies) = request.rocket().state::<Proxies>() else {
            return;
        };
        let warned = match self {
            Client::Known(_) => return,
            Client::Unclear => &proxies.warned_of_unclear,
            Client::Unknown => &proxies.warned_of_unknown,
        };
        if warned.swap(true, Ordering::Relaxed) {
            return;
        }
        let peer = request.remote().map(|remote| remote.ip().to_canonical());
        match peer.and_then(|peer| claim(request, peer)) {
            Some(Claim::Contradiction { first, other }) => warn!(
                "a trusted proxy sent different client addresses, `{}` in {} and `{}` in {}: all \
                 such clients share one limit of streams. The proxy must set or remove both \
                 headers; `rollcast doctor` names the line",
                first.1, first.0, other.1, other.0,
            ),
            Some(Claim::Unreadable { header, value }) => warn!(
                "expected a client address in {header} from a trusted proxy, got `{}`: all such \
                 clients share one limit of streams",
                printable(&shortened(&value)),
            ),
            _ => warn!(
                "a stream came from a trusted proxy without a client address in {}: such streams \
                 are not limited per address (see rollcast.trusted_proxies)",
                proxies.header.as_deref().unwrap_or_default(),
            ),
        }
    }
}

/// Whether a request comes from a proxy whose headers are believed.
pub fn is_from_trusted_proxy(request: &Request<'_>) -> bool {
    let proxies = request.rocket().state::<Proxies>();
    let peer = request.remote().map(|remote| remote.ip().to_canonical());
    proxies.zip(peer).is_some_and(|(proxies, peer)| proxies.trusts(peer))
}

/// What a trusted proxy says about its client; `None` if the request came from nobody who is
/// believed.
fn claim<'r>(request: &'r Request<'_>, peer: IpAddr) -> Option<Claim<'r>> {
    let proxies = request.rocket().state::<Proxies>()?;
    let header = proxies.header.as_deref()?;
    if !proxies.trusts(peer) {
        return None;
    }
    let values = |name: &str| request.headers().get(name).collect::<Vec<_>>().into_iter();
    Some(forwarded::client(header, values, |address| proxies.trusts(address)))
}

/// A request is of this machine if it comes over loopback and no proxy has touched it.
#[async_trait]
impl<'r> FromRequest<'r> for Audience {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Audience, Infallible> {
        let is_loopback = request.remote().is_some_and(|remote| remote.ip().is_loopback());
        let proxies = request.rocket().state::<Proxies>();
        let header = proxies.and_then(|proxies| proxies.header.as_deref());
        let mut headers = forwarded::HEADERS.into_iter().chain(["Via"]).chain(header);
        let is_forwarded = headers.any(|header| request.headers().contains(header));
        Outcome::Success(if is_loopback && !is_forwarded {
            Audience::ThisMachine
        } else {
            Audience::Anyone
        })
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for Client {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Client, Infallible> {
        Outcome::Success(Client::of(request))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Known(address) => address.fmt(f),
            Client::Unclear | Client::Unknown => f.write_str("unknown"),
        }
    }
}
