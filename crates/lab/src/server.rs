//! The server: one listener, the streams of all cases, their verdicts, and the pages.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::case::Case;
use crate::log::Line;
use crate::page;
use crate::request::{self, Refusal, Request};
use crate::session::{Bounds, NoRun, Session, Sessions};
use crate::wire;

/// How long writing a response may take, apart from streams.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed `accept`, such as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const BACKLOG: u32 = 1_024;

/// A running lab. Dropping it stops it.
pub struct Lab {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

struct Shared {
    sessions: Sessions,
    connections: Arc<Semaphore>,
    is_public: bool,
}

/// Whom a lab serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Clients on this machine.
    Local,
    /// Clients that nobody knows.
    Public,
}

/// One run of a case, with its address. Dropping it ends the run.
pub struct Run {
    pub session: Arc<Session>,
    pub url: String,
    shared: Arc<Shared>,
    own_port: Option<JoinHandle<()>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(own_port) = &self.own_port {
            own_port.abort();
        }
        self.shared.sessions.forget(&self.session);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Lab {
    /// Listens on `address`. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The address cannot be used.
    pub fn start(
        address: SocketAddr,
        cases: &'static [Case],
        audience: Audience,
    ) -> io::Result<Lab> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let is_public = audience == Audience::Public;
        let bounds = if is_public { Bounds::PUBLIC } else { Bounds::LOCAL };
        let connections = Arc::new(Semaphore::new(bounds.max_connections));
        let sessions = Sessions::new(cases, bounds);
        let shared = Arc::new(Shared { sessions, connections, is_public });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Lab { shared, address, accepting })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins a run for a client on this machine.
    ///
    /// # Errors
    ///
    /// The name of the run is not valid, there are too many runs, or no port is free.
    pub fn begin(&self, case: &Case, run: &str, seed: u64) -> Result<Run, BeginError> {
        let session = self.shared.sessions.begin(case.id, run, seed, self.address.ip())?;
        let path = format!("/lab/{}/{run}", case.id);
        let (mut address, mut own_port) = (self.address, None);
        if case.needs_own_port() {
            let listener = listen(SocketAddr::new(self.address.ip(), 0))?;
            address = listener.local_addr()?;
            let accepting = accept_one(listener, address, session.clone(), self.shared.clone());
            own_port = Some(tokio::spawn(accepting));
        }
        let url = format!("http://{address}{path}");
        Ok(Run { session, url, shared: self.shared.clone(), own_port })
    }
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error(transparent)]
    NoRun(#[from] NoRun),
    #[error("cannot listen on a port for the case")]
    Port(#[from] io::Error),
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // Waiting connections stay in the kernel's queue.
        let Ok(permit) = shared.connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shared = shared.clone();
                tokio::spawn(async move { serve(stream, peer.ip(), None, &shared, permit).await });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves a port of one run. Closes the port for a while when an answer says so.
async fn accept_one(
    mut listener: TcpListener,
    address: SocketAddr,
    run: Arc<Session>,
    shared: Arc<Shared>,
) {
    let mut serving = JoinSet::new();
    loop {
        let time = tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else { return };
                let Ok(permit) = shared.connections.clone().acquire_owned().await else { return };
                let (run, shared) = (run.clone(), shared.clone());
                serving.spawn(async move {
                    serve(stream, peer.ip(), Some(&run), &shared, permit).await
                });
                continue;
            }
            Some(served) = serving.join_next() => match served {
                Ok(Some(time)) => time,
                Ok(None) | Err(_) => continue,
            },
        };
        drop(listener);
        sleep(time).await;
        listener = loop {
            match listen(address) {
                Ok(listener) => break listener,
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        };
    }
}

/// Answers one request. `run` is the run to which the port belongs. Returns for how long the port is
/// to be closed.
async fn serve(
    mut stream: TcpStream,
    peer: IpAddr,
    run: Option<&Arc<Session>>,
    shared: &Arc<Shared>,
    _permit: OwnedSemaphorePermit,
) -> Option<Duration> {
    let _ = stream.set_nodelay(true);
    let request = match request::read(&mut stream).await {
        Ok(request) => request,
        Err(Refusal::Gone) => return None,
        Err(refusal) => {
            let (status, text) = match refusal {
                Refusal::HeadTooLong => {
                    ("431 Request Header Fields Too Large", "expected at most 8 KiB of headers")
                }
                Refusal::BodyTooLong => ("413 Content Too Large", "expected at most 64 KiB"),
                Refusal::Malformed | Refusal::Gone => ("400 Bad Request", "malformed request"),
            };
            respond(&mut stream, &Response::error(status, text)).await;
            return None;
        }
    };
    match route(&request, peer, run, shared) {
        Route::Stream { session, is_moved } => {
            let next = next_target(&request);
            let Some(taken) = session.take(&request, is_moved, &next) else {
                let text = "this run has had too many requests";
                respond(&mut stream, &Response::error("429 Too Many Requests", text)).await;
                shared.sessions.forget(&session);
                return None;
            };
            let accepts_gzip = request.accept_encoding.contains("gzip");
            wire::play(&mut stream, &taken.reply, accepts_gzip, &session, taken.number).await
        }
        Route::Response(response) => {
            respond(&mut stream, &response).await;
            None
        }
    }
}

/// The target of a redirect: the same run, at an address that differs for each redirect.
fn next_target(request: &Request) -> String {
    let path = request.path.strip_suffix("/next").unwrap_or(&request.path);
    let n: u32 = request.query.strip_prefix("n=").and_then(|n| n.parse().ok()).unwrap_or(0);
    format!("{path}/next?n={}", n.saturating_add(1))
}

enum Route {
    Stream { session: Arc<Session>, is_moved: bool },
    Response(Response),
}

/// A response with a body that is known.
pub struct Response {
    pub status: &'static str,
    pub content_type: &'static str,
    pub location: Option<&'static str>,
    pub body: Vec<u8>,
}

impl Response {
    /// A page or a file.
    pub fn ok(content_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response { status: "200 OK", content_type, location: None, body: body.into() }
    }

    fn error(status: &'static str, text: &str) -> Response {
        let body = format!("{{\"error\":\"{text}\"}}\n").into();
        Response { status, content_type: "application/json", location: None, body }
    }

    fn json(value: &impl serde::Serialize) -> Response {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Response::ok("application/json", body)
    }
}

fn route(
    request: &Request,
    peer: IpAddr,
    run: Option<&Arc<Session>>,
    shared: &Arc<Shared>,
) -> Route {
    let Some(path) = request.path.strip_prefix("/lab/") else {
        if let Some(session) = run.cloned() {
            let is_moved = request.path.ends_with("/next");
            return Route::Stream { session, is_moved };
        }
        return Route::Response(match &*request.path {
            "/" | "/lab" => Response {
                location: Some("/lab/"),
                ..Response::error("302 Found", "see /lab/")
            },
            _ => not_found(),
        });
    };
    if request.method == "OPTIONS" {
        return Route::Response(Response {
            status: "204 No Content",
            ..Response::ok("text/plain", "")
        });
    }
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [file] => Route::Response(
            page::file(file, &request.host, shared.sessions.cases()).unwrap_or_else(not_found),
        ),
        [case, run] => stream(request, case, run, peer, shared, false),
        [case, run, "next"] => stream(request, case, run, peer, shared, true),
        [case, run, action @ ("verdict" | "heard" | "port")] => {
            Route::Response(act(request, case, run, action, peer, shared))
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
    };
    Response::error(status, &reason.to_string())
}

fn stream(
    request: &Request,
    case: &str,
    run: &str,
    peer: IpAddr,
    shared: &Arc<Shared>,
    is_moved: bool,
) -> Route {
    let seed = request.query.strip_prefix("seed=").and_then(|seed| seed.parse().ok()).unwrap_or(0);
    match shared.sessions.begin(case, run, seed, peer) {
        Ok(session) => Route::Stream { session, is_moved },
        Err(reason) => Route::Response(refuse(reason)),
    }
}

fn act(
    request: &Request,
    case: &str,
    run: &str,
    action: &str,
    peer: IpAddr,
    shared: &Arc<Shared>,
) -> Response {
    if action == "port" {
        return own_port(request, case, run, peer, shared);
    }
    let Some(session) = shared.sessions.find(case, run) else {
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

/// Opens a port that the case can close. Only for clients on this machine.
fn own_port(
    request: &Request,
    case: &str,
    run: &str,
    peer: IpAddr,
    shared: &Arc<Shared>,
) -> Response {
    if shared.is_public {
        return Response::error("403 Forbidden", "a public lab opens no ports: run it yourself");
    }
    let session = match shared.sessions.begin(case, run, 0, peer) {
        Ok(session) => session,
        Err(reason) => return refuse(reason),
    };
    if request.method != "POST" || !session.case.needs_own_port() {
        return Response::error("400 Bad Request", "this case needs no port of its own");
    }
    let host = request.host.rsplit_once(':').map_or(&*request.host, |(host, _)| host);
    let opened = listen(SocketAddr::new(peer, 0)).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    let Ok((listener, address)) = opened else {
        return Response::error("503 Service Unavailable", "no port is free");
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        let max_age = shared.sessions.bounds().max_age;
        let accepting = accept_one(listener, address, session.clone(), shared);
        select_until(accepting, &session, max_age).await;
    });
    Response::json(&serde_json::json!({
        "url": format!("http://{host}:{}/lab/{case}/{run}", address.port()),
    }))
}

/// Runs a task until the run is over.
async fn select_until(task: impl Future<Output = ()>, session: &Session, max_age: Duration) {
    tokio::select! {
        () = task => {}
        _ = session.wait(max_age, |_| false) => {}
    }
}

async fn respond(stream: &mut TcpStream, response: &Response) {
    let Response { status, content_type, location, body } = response;
    let location = location.map(|it| format!("Location: {it}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{location}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
         connect-src http: https:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n\
         Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: Last-Event-ID, *\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let write = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        stream.shutdown().await
    };
    // The client may have gone.
    let _ = timeout(WRITE_TIMEOUT, write).await;
}
