//! The client's address, also behind a proxy.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use rocket::fairing::AdHoc;
use rocket::request::{FromRequest, Outcome};
use rocket::{Request, async_trait};
use tracing::warn;

use crate::config::WebConfig;

/// The client's address; `None` if a trusted proxy did not send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: Option<IpAddr>,
}

/// The proxies whose header is believed. Any other sender could claim any address, and no limit per
/// address would hold.
struct Proxies {
    trusted: Vec<IpAddr>,
    header: Option<String>,
    warned: AtomicBool,
}

pub fn stage(config: &WebConfig) -> AdHoc {
    let proxies = Proxies {
        trusted: config.trusted_proxies.iter().map(IpAddr::to_canonical).collect(),
        header: config.address_header.clone(),
        warned: AtomicBool::new(false),
    };
    AdHoc::on_ignite("client addresses", |rocket| async { rocket.manage(proxies) })
}

impl Client {
    pub fn of(request: &Request<'_>) -> Client {
        let peer = request.remote().map(|remote| remote.ip().to_canonical());
        let proxies = request.rocket().state::<Proxies>();
        let (Some(peer), Some(proxies)) = (peer, proxies) else {
            return Client { address: peer };
        };
        let Some(header) = &proxies.header else {
            return Client { address: Some(peer) };
        };
        if !proxies.trusted.contains(&peer) {
            return Client { address: Some(peer) };
        }
        // The last address of the last header, because a proxy appends its entry.
        let last = request.headers().get(header).last().and_then(|list| list.rsplit(',').next());
        let forwarded = last.and_then(|address| address.trim().parse().ok());
        Client { address: forwarded.map(|address: IpAddr| address.to_canonical()) }
    }

    /// Logs once that a proxy forwards no addresses. A forgotten header lifts the limit per address,
    /// so that all visitors do not share one limit.
    pub fn warn_if_unknown(self, request: &Request<'_>) {
        let Some(proxies) = request.rocket().state::<Proxies>() else { return };
        if self.address.is_none() && !proxies.warned.swap(true, Ordering::Relaxed) {
            let header = proxies.header.as_deref().unwrap_or_default();
            warn!(
                "a stream came from a trusted proxy without a client address in {header}: such \
                 streams are not limited per address (see rollcast.trusted_proxies)"
            );
        }
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
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}
