//! What each address answers: a stream, a verdict or a page.

use std::net::IpAddr;
use std::sync::Arc;

use crate::log::Line;
use crate::page;
use crate::request::Request;
use crate::response::Response;
use crate::session::{DEFAULT_SEED, Next, Session};
use crate::sessions::{NoRun, Sessions};

/// What the server does with a request.
pub enum Route {
    /// It answers as the script of the run says. `is_moved`: the request follows a redirect to `next`.
    Stream {
        session: Arc<Session>,
        is_moved: bool,
        next: Next,
    },
    /// It opens a port that the case of the run can close.
    Port(Arc<Session>),
    Response(Response),
}

/// Decides what to do with a request of `peer`. At a port that belongs to `run`, every other path is
/// the stream.
pub fn route(
    request: &Request,
    peer: IpAddr,
    run: Option<&Arc<Session>>,
    sessions: &Sessions,
) -> Route {
    let Some(path) = request.path.strip_prefix("/lab/") else {
        if let Some(session) = run.cloned() {
            return to_stream(session, request);
        }
        return Route::Response(match &*request.path {
            "/" | "/lab" => {
                Response { location: Some("/lab/"), ..Response::error("302 Found", "see /lab/") }
            }
            _ => not_found(),
        });
    };
    if request.method == "OPTIONS" {
        let none = Response::ok("text/plain", "");
        return Route::Response(Response { status: "204 No Content", ..none });
    }
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [file] => Route::Response(
            page::file(file, &request.host, sessions.cases()).unwrap_or_else(not_found),
        ),
        [case, run] | [case, run, "next"] => stream(request, case, run, peer, sessions),
        [case, run, "port"] => port(request, case, run, peer, sessions),
        [case, run, action @ ("verdict" | "heard")] => {
            Route::Response(verdict(request, case, run, action, peer, sessions))
        }
        _ => Route::Response(not_found()),
    }
}

fn not_found() -> Response {
    Response::error("404 Not Found", "no such page: /lab/ lists the cases")
}

fn refuse(reason: NoRun) -> Response {
    let status = match reason {
        NoRun::NoCase => "404 Not Found",
        NoRun::Name => "400 Bad Request",
        NoRun::TooMany | NoRun::TooManyHere => "503 Service Unavailable",
        NoRun::Taken => "409 Conflict",
    };
    Response::error(status, &reason.to_string())
}

fn stream(request: &Request, case: &str, run: &str, peer: IpAddr, sessions: &Sessions) -> Route {
    let seed = number(&request.query, "seed").unwrap_or(DEFAULT_SEED);
    match sessions.begin(case, run, seed, peer) {
        Ok(session) => to_stream(session, request),
        Err(reason) => Route::Response(refuse(reason)),
    }
}

/// The number that a parameter of a query has.
fn number(query: &str, name: &str) -> Option<u64> {
    let value = query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='))?;
    value.parse().ok()
}

fn to_stream(session: Arc<Session>, request: &Request) -> Route {
    let moved = request.path.strip_suffix("/next");
    // The target of a redirect differs for each redirect.
    let n = number(&request.query, "n").unwrap_or(0).saturating_add(1);
    let path = format!("{}/next?n={n}", moved.unwrap_or(&request.path));
    let url = match &*request.host {
        "" => path.clone(),
        host => format!("http://{host}{path}"),
    };
    let next = Next { url, path };
    Route::Stream { session, is_moved: moved.is_some(), next }
}

fn port(request: &Request, case: &str, run: &str, peer: IpAddr, sessions: &Sessions) -> Route {
    let error = |status, text| Route::Response(Response::error(status, text));
    if sessions.bounds().is_public {
        return error("403 Forbidden", "a public lab opens no ports: run it yourself");
    }
    if request.method != "POST" {
        return error("405 Method Not Allowed", "POST port");
    }
    match sessions.begin(case, run, DEFAULT_SEED, peer) {
        Ok(session) if session.case.needs_own_port() => Route::Port(session),
        Ok(_) => error("400 Bad Request", "this case needs no port of its own"),
        Err(reason) => Route::Response(refuse(reason)),
    }
}

/// The verdict so far, after what the client reports in a POST request.
fn verdict(
    request: &Request,
    case: &str,
    run: &str,
    action: &str,
    peer: IpAddr,
    sessions: &Sessions,
) -> Response {
    let Some(session) = sessions.find(case, run, peer) else {
        return Response::error("404 Not Found", "no such run: request its stream first");
    };
    match (action, &*request.method) {
        ("heard", "POST") => {
            for line in String::from_utf8_lossy(&request.body).lines() {
                match Line::parse(line) {
                    Some(Line::Heard(heard)) => session.hears(heard),
                    Some(Line::Error { error }) => session.hears_error(&error),
                    None => {}
                }
            }
        }
        ("verdict", "GET") => {}
        _ => return Response::error("405 Method Not Allowed", "GET verdict, or POST heard"),
    }
    Response::json(&session.verdict())
}
