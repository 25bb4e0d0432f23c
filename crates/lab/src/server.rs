//! The server: it listens, and answers one request per connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::case::Case;
use crate::connections::{Connections, Open};
use crate::request::{self, Refusal, Request};
use crate::response::Response;
use crate::routes::{Route, route};
use crate::session::{Session, Taken};
use crate::sessions::{Bounds, NoRun, Sessions};
use crate::wire;

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
    connections: Arc<Connections>,
}

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Clients on this machine.
    Local,
    /// Any client on the network.
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
        let bounds = match audience {
            Audience::Local => Bounds::LOCAL,
            Audience::Public => Bounds::PUBLIC,
        };
        let connections =
            Connections::new(bounds.max_connections, bounds.max_connections_per_address);
        let shared = Arc::new(Shared { sessions: Sessions::new(cases, bounds), connections });
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
            let accepting =
                accept_and_close(listener, address, session.clone(), self.shared.clone());
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
    bind(address)?.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // Waiting connections stay in the kernel's queue.
        let permit = shared.connections.wait().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A connection too many is closed.
                let Some(open) = shared.connections.open(peer.ip(), permit) else { continue };
                let shared = shared.clone();
                tokio::spawn(async move { serve(stream, peer.ip(), None, &shared, open).await });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves the port of a single run. Closes it for a while when an answer says so, and all connections
/// that are open then: clients open some ahead.
async fn accept_and_close(
    mut listener: TcpListener,
    address: SocketAddr,
    run: Arc<Session>,
    shared: Arc<Shared>,
) {
    loop {
        let mut connections = JoinSet::new();
        let time = loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, peer)) = accepted else {
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    };
                    let permit = shared.connections.wait().await;
                    let Some(open) = shared.connections.open(peer.ip(), permit) else { continue };
                    let (run, shared) = (run.clone(), shared.clone());
                    connections.spawn(async move {
                        serve(stream, peer.ip(), Some(&run), &shared, open).await
                    });
                }
                Some(ended) = connections.join_next() => {
                    if let Ok(Some(time)) = ended {
                        break time;
                    }
                }
            }
        };
        drop((listener, connections));
        // Bind the port without listening: it refuses connections, and no other program can take it.
        let socket = loop {
            match bind(address) {
                Ok(socket) => break socket,
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        };
        sleep(time).await;
        match socket.listen(BACKLOG) {
            Ok(again) => listener = again,
            Err(_) => return,
        }
    }
}

/// Answers one request. `run` is the run to which the port belongs. Returns for how long the port is
/// to be closed.
async fn serve(
    mut stream: TcpStream,
    peer: IpAddr,
    run: Option<&Arc<Session>>,
    shared: &Arc<Shared>,
    _open: Open,
) -> Option<Duration> {
    let _ = stream.set_nodelay(true);
    let bounds = shared.sessions.bounds();
    let request = match request::read(&mut stream, bounds.max_heard).await {
        Ok(request) => request,
        Err(Refusal::Gone) => return None,
        Err(refusal) => {
            let too_long = format!("expected a body of at most {} KiB", bounds.max_heard >> 10);
            let (status, text) = match refusal {
                Refusal::HeadTooLong => {
                    ("431 Request Header Fields Too Large", "expected at most 8 KiB of headers")
                }
                Refusal::BodyTooLong => ("413 Content Too Large", &*too_long),
                Refusal::Malformed | Refusal::Gone => ("400 Bad Request", "malformed request"),
            };
            Response::error(status, text).send(&mut stream).await;
            return None;
        }
    };
    let response = match route(&request, peer, run, &shared.sessions) {
        Route::Stream { session, is_moved, next } => {
            if let Some(taken) = session.take(&request, is_moved, &next) {
                let accepts_gzip = request.accept_encoding.contains("gzip");
                let Taken { reply, number } = taken;
                return wire::play(&mut stream, &reply, accepts_gzip, &session, number).await;
            }
            session.close();
            Response::error("429 Too Many Requests", "this run has had too many requests")
        }
        Route::Port(session) => match stream.local_addr() {
            Ok(local) => own_port(&request, local.ip(), session, shared),
            Err(_) => return None,
        },
        Route::Response(response) => response,
    };
    response.send(&mut stream).await;
    None
}

/// Opens a port for a run, until it is over, unless it has one. Names its address.
fn own_port(
    request: &Request,
    local: IpAddr,
    session: Arc<Session>,
    shared: &Arc<Shared>,
) -> Response {
    let port = session.own_port(|| {
        let listener = listen(SocketAddr::new(local, 0))?;
        let address = listener.local_addr()?;
        let (shared, session) = (shared.clone(), session.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = accept_and_close(listener, address, session.clone(), shared) => {}
                _ = session.wait(session.time_left(), |_| false) => {}
            }
        });
        Ok::<u16, io::Error>(address.port())
    });
    let Ok(port) = port else {
        return Response::error("503 Service Unavailable", "no port is free");
    };
    let host = request.host.rsplit_once(':').map_or(&*request.host, |(host, _)| host);
    let path = request.path.trim_end_matches("/port");
    Response::json(&serde_json::json!({ "url": format!("http://{host}:{port}{path}") }))
}
