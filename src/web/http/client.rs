//! The client's address, also behind a proxy.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
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
use crate::web::http::request_headers::RequestHeaders;

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
pub struct Proxies {
    trusted: Vec<Network>,
    header: Option<String>,
    warned_of_unknown: AtomicBool,
    warned_of_unclear: AtomicBool,
}

/// Has Rocket's endpoints believe these proxies.
pub fn stage(proxies: Arc<Proxies>) -> AdHoc {
    AdHoc::on_ignite("client addresses", |rocket| async { rocket.manage(proxies) })
}

impl Proxies {
    pub fn new(config: &WebConfig) -> Proxies {
        Proxies {
            trusted: config.trusted_proxies.clone(),
            header: config.address_header.clone(),
            warned_of_unknown: AtomicBool::new(false),
            warned_of_unclear: AtomicBool::new(false),
        }
    }

    /// Whether this is the address of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// The client of a request with these headers from `peer`.
    pub fn client(&self, peer: IpAddr, headers: &impl RequestHeaders) -> Client {
        let peer = peer.to_canonical();
        match self.claim(peer, headers) {
            None => Client::Known(peer),
            Some(Claim::Client(address)) => Client::Known(address),
            Some(Claim::Contradiction { .. } | Claim::Unreadable { .. }) => Client::Unclear,
            Some(Claim::Missing) => Client::Unknown,
        }
    }

    /// Logs once that a proxy forwards no addresses, and once that it forwards contradictory or
    /// unreadable ones. A missing header lifts the limit per address. Otherwise all visitors would
    /// share one limit.
    pub fn warn_if_not_known(&self, client: Client, peer: IpAddr, headers: &impl RequestHeaders) {
        let warned = match client {
            Client::Known(_) => return,
            Client::Unclear => &self.warned_of_unclear,
            Client::Unknown => &self.warned_of_unknown,
        };
        if warned.swap(true, Ordering::Relaxed) {
            return;
        }
        match self.claim(peer.to_canonical(), headers) {
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
                self.header.as_deref().unwrap_or_default(),
            ),
        }
    }

    /// What a trusted proxy says about its client; `None` if the request came from nobody who is
    /// believed.
    fn claim<'r>(&'r self, peer: IpAddr, headers: &'r impl RequestHeaders) -> Option<Claim<'r>> {
        let header = self.header.as_deref()?;
        if !self.trusts(peer) {
            return None;
        }
        let values = |name: &str| headers.all(name).into_iter();
        Some(forwarded::client(header, values, |address| self.trusts(address)))
    }
}

/// The proxies that Rocket's endpoints believe.
fn proxies<'r>(request: &'r Request<'_>) -> Option<&'r Proxies> {
    request.rocket().state::<Arc<Proxies>>().map(Arc::as_ref)
}

impl Client {
    /// The client of a request to one of Rocket's endpoints.
    pub fn of(request: &Request<'_>) -> Client {
        let Some(remote) = request.remote() else { return Client::Unknown };
        match proxies(request) {
            Some(proxies) => proxies.client(remote.ip(), request.headers()),
            None => Client::Known(remote.ip().to_canonical()),
        }
    }

    /// Logs once that a proxy does not forward its clients' addresses; see
    /// [`Proxies::warn_if_not_known`].
    pub fn warn_if_not_known(self, request: &Request<'_>) {
        if let Some((proxies, remote)) = proxies(request).zip(request.remote()) {
            proxies.warn_if_not_known(self, remote.ip(), request.headers());
        }
    }
}

/// Whether a request comes from a proxy whose headers are believed.
pub fn is_from_trusted_proxy(request: &Request<'_>) -> bool {
    let peer = request.remote().map(|remote| remote.ip().to_canonical());
    proxies(request).zip(peer).is_some_and(|(proxies, peer)| proxies.trusts(peer))
}

/// A request is of this machine if it comes over loopback and no proxy has touched it.
#[async_trait]
impl<'r> FromRequest<'r> for Audience {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Audience, Infallible> {
        let is_loopback = request.remote().is_some_and(|remote| remote.ip().is_loopback());
        let header = proxies(request).and_then(|proxies| proxies.header.as_deref());
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
