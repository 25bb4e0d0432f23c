//! The access log: one line per request, written when the head of the response is ready.

use std::time::Instant;

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::{Method, Status};
use rocket::{Data, Request, Response, async_trait};
use tracing::info;

use crate::text::shortened_to;
use crate::web::http::client::Client;

pub fn stage() -> impl Fairing {
    AccessLog
}

struct AccessLog;

/// The most characters of an address in the log, where it stands twice in a line. The longest
/// address of the API fits.
const MAX_URI_CHARS: usize = 200;

/// When the request arrived, and its method: Rocket turns a HEAD into a GET.
struct Arrived(Instant, Method);

/// Writes the line of a request that Rocket could not read, such as one with an unknown method, and
/// returns whether this is one. Rocket runs no fairings for such a request.
pub fn log_if_unread(request: &Request<'_>, status: Status) -> bool {
    if request.local_cache(|| None::<Arrived>).is_some() {
        return false;
    }
    let uri = shortened_to(MAX_URI_CHARS, &request.uri().to_string());
    let (status, client) = (status.code, Client::of(request));
    info!(%uri, status, %client, "unreadable request, answered with {status}, client {client}");
    true
}

#[async_trait]
impl Fairing for AccessLog {
    fn info(&self) -> Info {
        Info { name: "access log", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        request.local_cache(|| Some(Arrived(Instant::now(), request.method())));
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let Some(Arrived(arrived, method)) = request.local_cache(|| None) else { return };
        let uri = request.uri().to_string();
        log(method.as_str(), &uri, response.status().code, *arrived, Client::of(request));
    }
}

/// Writes the line of a request that arrived at this moment.
pub fn log(method: &str, uri: &str, status: u16, arrived: Instant, client: Client) {
    let duration_ms = (arrived.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let uri = shortened_to(MAX_URI_CHARS, uri);
    info!(
        %method, %uri, status, duration_ms, %client,
        "{method} {uri} {status} in {duration_ms:.1} ms, client {client}",
    );
}
