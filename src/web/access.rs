//! The access log: one line a request, written when the response's head is ready.

use std::time::Instant;

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::Method;
use rocket::{Data, Request, Response, async_trait};
use tracing::info;

use crate::web::client::Client;

pub fn stage() -> impl Fairing {
    AccessLog
}

struct AccessLog;

/// When the request arrived and what it was: Rocket turns a HEAD into a GET.
struct Arrived(Instant, Method);

#[async_trait]
impl Fairing for AccessLog {
    fn info(&self) -> Info {
        Info { name: "access log", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        request.local_cache(|| Arrived(Instant::now(), request.method()));
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let Arrived(arrived, method) =
            request.local_cache(|| Arrived(Instant::now(), request.method()));
        let duration_ms = (arrived.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let (uri, status) = (request.uri(), response.status().code);
        let client = Client::of(request);
        info!(
            %method, %uri, status, duration_ms, %client,
            "{method} {uri} {status} in {duration_ms:.1} ms, client {client}",
        );
    }
}
