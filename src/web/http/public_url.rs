//! The public address of this server, as its visitors see it. Absolute links begin with it.

use std::convert::Infallible;
use std::fmt;

use rocket::fairing::AdHoc;
use rocket::http::uri::Host;
use rocket::request::{FromRequest, Outcome};
use rocket::{Request, async_trait};
use serde::Serialize;

use crate::config::StoreConfig;
use crate::web::http::request_headers::RequestHeaders;
use crate::web::http::{client, forwarded, host};

/// Scheme, host and port without a slash at the end: `https://dice.example.org`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PublicUrl(String);

/// The public URL that the configured `origin` gives. `None` if `origin` is not set or names no
/// host.
struct Configured(Option<PublicUrl>);

pub fn stage(config: &StoreConfig) -> AdHoc {
    let configured = Configured(config.origin.as_deref().and_then(of_origin));
    AdHoc::on_ignite("public address", |rocket| async { rocket.manage(configured) })
}

impl PublicUrl {
    /// The configured `origin`, if it is an address. Otherwise the `Host` of the request, with the
    /// scheme that a trusted proxy names. All delivered configurations of proxies pass on the
    /// `Host`. `X-Forwarded-Host` is not read, because most proxies also pass on that of a client.
    pub fn of(request: &Request<'_>) -> PublicUrl {
        if let Some(Configured(Some(url))) = request.rocket().state() {
            return url.clone();
        }
        let is_proxied = client::is_from_trusted_proxy(request);
        let values = |name: &str| request.headers().all(name).into_iter();
        let scheme = is_proxied.then(|| forwarded::scheme(values)).flatten().unwrap_or("http");
        let host = request.headers().get_one("Host").filter(|_| host::check(request).is_ok());
        PublicUrl(format!("{scheme}://{}", host.unwrap_or("localhost").to_ascii_lowercase()))
    }
}

/// The public URL of an `origin` that is a host name with a dot and an optional port. `None` for
/// any other name, such as `rollcast/0123456789abcdef`.
fn of_origin(origin: &str) -> Option<PublicUrl> {
    let host = Host::parse(origin).ok()?;
    let is_address = host.domain().as_str().contains('.') && !origin.contains('@');
    is_address.then(|| PublicUrl(format!("https://{}", origin.to_ascii_lowercase())))
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for PublicUrl {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<PublicUrl, Infallible> {
        Outcome::Success(PublicUrl::of(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_an_address_if_it_names_a_host_on_the_web() {
        for (origin, url) in [
            ("dice.example.org", Some("https://dice.example.org")),
            ("Dice.Example.org:8443", Some("https://dice.example.org:8443")),
            ("203.0.113.7", Some("https://203.0.113.7")),
            ("rollcast/0123456789abcdef", None),
            ("dice.example.org/rolls", None),
            ("https://dice.example.org", None),
            ("ada@dice.example.org", None),
            ("dice", None),
        ] {
            let found = of_origin(origin).map(|url| url.to_string());
            assert_eq!(found.as_deref(), url, "{origin}");
        }
    }
}
