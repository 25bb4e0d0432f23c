//! One connection: its client, TLS, its requests, and its end.

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::{fmt, io};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio::{select, spawn};
use tracing::info;

use crate::config::FanoutConfig;
use crate::fanout::proxied;
use crate::fanout::service::Service;
use crate::fanout::socket::Socket;
use crate::fanout::tls::Certificates;
use crate::web::stream::opening::Streams;

/// The longest head of a request, and the most bytes that wait in memory for a client. hyper allows
/// no less than 8 KiB.
const MAX_BUFFER_BYTES: usize = 16 << 10;

/// What all connections share.
pub struct Connections {
    pub config: FanoutConfig,
    pub service: Arc<Service>,
    pub streams: Streams,
    /// `None`: plain HTTP.
    pub tls: Option<Certificates>,
    /// One for each connection.
    pub permits: Arc<Semaphore>,
}

/// An open connection: its permit, and its place in the counts.
struct Open {
    streams: Streams,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(streams: Streams, permit: OwnedSemaphorePermit) -> Open {
        streams.metrics().fanout().connection(1);
        Open { streams, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.metrics().fanout().connection(-1);
    }
}

impl Connections {
    /// Serves a connection in a task of its own, until `stopped` changes and the response has ended.
    pub fn start(
        self: Arc<Self>,
        socket: TcpStream,
        peer: IpAddr,
        streams: Streams,
        stopped: watch::Receiver<()>,
    ) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.cut("connections", peer, "too many are open");
        };
        let open = Open::new(streams, permit);
        spawn(async move { self.serve(socket, peer, &open.streams, stopped).await });
    }

    /// Counts and logs a connection that is closed without or before a response.
    fn cut(&self, reason: &'static str, peer: IpAddr, cause: impl fmt::Display) {
        self.streams.metrics().fanout().cut(reason);
        info!(%peer, reason, "connection of {peer} closed ({reason}): {cause}");
    }

    async fn serve(
        &self,
        mut socket: TcpStream,
        peer: IpAddr,
        streams: &Streams,
        stopped: watch::Receiver<()>,
    ) {
        // Ignore an error: the connection is only slower, or closed already.
        let _ = socket.set_nodelay(true);
        let deadline = Instant::now() + self.config.head_timeout;
        let client = match self.config.proxy_protocol {
            false => peer,
            true => match timeout_at(deadline, Box::pin(self.client(&mut socket, peer))).await {
                Ok(Ok(client)) => client,
                Ok(Err(error)) => return self.cut("proxy_protocol", peer, error),
                Err(elapsed) => return self.cut("proxy_protocol", peer, elapsed),
            },
        };
        let socket = Socket::new(socket, self.config.send_timeout);
        let Some(certificates) = &self.tls else {
            return self.http(socket, client, streams, stopped).await;
        };
        let handshake = certificates.acceptor().accept(socket);
        match timeout_at(deadline, Box::pin(handshake)).await {
            Ok(Ok(socket)) => self.http(socket, client, streams, stopped).await,
            Ok(Err(error)) => self.cut("handshake", client, error),
            Err(elapsed) => self.cut("handshake", client, elapsed),
        }
    }

    /// The client that a trusted proxy names by the PROXY protocol.
    async fn client(&self, socket: &mut TcpStream, peer: IpAddr) -> io::Result<IpAddr> {
        if !self.service.trusts(peer) {
            return Err(io::Error::other("it is not in rollcast.trusted_proxies"));
        }
        Ok(proxied::client(socket).await?.unwrap_or(peer))
    }

    /// Answers requests until the client or the server closes the connection.
    async fn http(
        &self,
        socket: impl AsyncRead + AsyncWrite + Unpin,
        client: IpAddr,
        streams: &Streams,
        mut stopped: watch::Receiver<()>,
    ) {
        // In a box, because hyper keeps the memory of this future for the life of the connection.
        let answer = service_fn(|request| {
            let answer = Box::pin(self.service.answer(request, client, streams));
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.head_timeout)
            .max_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(TokioIo::new(socket), answer);
        let mut connection = pin!(connection);
        let ended = select! {
            biased;
            ended = connection.as_mut() => ended,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        match ended {
            Err(error) if error.is_timeout() => self.cut("head", client, "no request in time"),
            Err(error) if is_stalled(&error) => self.cut("send", client, "it reads nothing"),
            // Clients may leave at any time.
            Ok(()) | Err(_) => {}
        }
    }
}

/// Whether the client read nothing for the timeout.
fn is_stalled(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
