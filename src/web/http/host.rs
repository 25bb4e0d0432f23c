//! The `Host` header. A server must refuse an HTTP/1.1 request that lacks it, and any request that
//! has two of them or an invalid one.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9112#section-3.2>. HTTP/1.0 has no such rule, but
//! Rocket does not tell handlers the version of a request. So a request without `Host` is refused
//! whatever its version, except at the addresses that health checks call: load balancers and
//! monitors often check in HTTP/1.0 without `Host`.

use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::http::uri::Host;
use rocket::http::{Method, Status};
use rocket::route::{Handler, Outcome, Route};
use rocket::{Build, Data, Request, Rocket, async_trait};

use crate::text::shortened;
use crate::web::http::methods;

/// Before every other route: Rocket's own ranks start at -12.
const RANK: isize = -100;

/// What health checks and monitors call. HAProxy's default check is `OPTIONS / HTTP/1.0`.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What is wrong with the `Host` headers of a request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    #[error("Expected a Host header, got none.")]
    Missing,
    #[error("Expected one Host header, got {0}.")]
    Repeated(usize),
    #[error("Expected a Host header such as `rolls.example` or `127.0.0.1:5000`, got `{0}`.")]
    Invalid(String),
}

/// Refuses requests whose `Host` header is missing, repeated or invalid with status 400, before
/// any other route.
pub fn stage() -> impl Fairing {
    HostGuard
}

/// Checks the `Host` headers of a request. A request without a connection, which only tests make,
/// needs none.
///
/// # Errors
///
/// What is wrong with them.
pub fn check(request: &Request<'_>) -> Result<(), HostFault> {
    let values: Vec<&str> = request.headers().get("Host").collect();
    let path = request.uri().path().as_str();
    let is_probe = PROBES.contains(&path) || (request.method() == Method::Options && path == "/");
    let is_optional = request.remote().is_none() || is_probe;
    match check_values(&values) {
        Err(HostFault::Missing) if is_optional => Ok(()),
        checked => checked,
    }
}

/// Checks the values of all `Host` headers of a request that needs one.
///
/// # Errors
///
/// What is wrong with them.
pub fn check_values(values: &[&str]) -> Result<(), HostFault> {
    match values {
        [] => Err(HostFault::Missing),
        [value] if is_valid(value) => Ok(()),
        [value] => Err(HostFault::Invalid(shortened(value))),
        values => Err(HostFault::Repeated(values.len())),
    }
}

/// Whether a value is a host with an optional port, without user information.
fn is_valid(value: &str) -> bool {
    let host = Host::parse(value).is_ok_and(|host| !host.domain().as_str().is_empty());
    host && !value.contains('@')
}

#[derive(Clone)]
struct HostGuard;

#[async_trait]
impl Fairing for HostGuard {
    fn info(&self) -> Info {
        Info { name: "Host header", kind: Kind::Ignite }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        let route = |method| Route::ranked(RANK, method, "/<path..>", HostGuard);
        let routes = methods::ALL.map(route);
        Ok(rocket.mount("/", routes.to_vec()))
    }
}

#[async_trait]
impl Handler for HostGuard {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        match check(request) {
            Ok(()) => Outcome::forward(data, Status::NotFound),
            // The catcher names the fault.
            Err(_) => Outcome::Error(Status::BadRequest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_valid_host_is_needed() {
        for host in [
            "rolls.example",
            "ROLLS.example:443",
            "127.0.0.1:5000",
            "localhost",
            "[::1]:5000",
            "a_b",
        ] {
            assert_eq!(check_values(&[host]), Ok(()), "{host}");
        }
        for host in [
            "",
            " ",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "u:p@a",
            "a:b",
            "a:99999",
            ":80",
            "http://a/",
            "a\\b",
            "ä",
            "[::1",
            "a\"b",
            "<a>",
        ] {
            let fault = HostFault::Invalid(host.into());
            assert_eq!(check_values(&[host]), Err(fault), "{host}");
        }
        assert_eq!(check_values(&[]), Err(HostFault::Missing));
        assert_eq!(check_values(&["a", "a"]), Err(HostFault::Repeated(2)));
    }
}
