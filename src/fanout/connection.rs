//! One connection: its client, TLS, its requests, and its end.

use std::error::Error;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio::{select, spawn};
use tracing::info;

use crate::config::FanoutConfig;
use crate::fanout::delivery::Delivery;
use crate::fanout::proxied;
use crate::fanout::service::{Answer, Opened, Service};
use crate::fanout::socket::Socket;
use crate::fanout::tls::Certificates;
use crate::web::stream::opening::Streams;

/// The longest head of a request. hyper allows no less than 8 KiB.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// What all connections share.
pub struct Connections {
    pub config: FanoutConfig,
    pub service: Service,
    pub streams: Streams,
    /// `None`: plain HTTP.
    pub tls: Option<Certificates>,
    /// One for each connection.
    pub permits: Arc<Semaphore>,
}

/// An open connection: its permit, and its place in the counts.
struct Open {
    connections: Arc<Connections>,
    /// The client, or the proxy until it names its client.
    client: IpAddr,
    /// While this exists, the stop waits for the connection.
    stopped: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    /// Counts and logs that the door closes this connection.
    fn cut(&self, reason: &'static str, cause: impl fmt::Display) {
        self.connections.cut(reason, self.client, cause);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.streams.metrics().fanout().connection(-1);
    }
}

impl Connections {
    /// Serves a connection in a task of its own, until `stopped` changes and the response has ended.
    /// `streams` are those of this thread.
    pub fn start(
        self: &Arc<Self>,
        socket: TcpStream,
        peer: IpAddr,
        streams: Streams,
        stopped: watch::Receiver<()>,
    ) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.cut("connections", peer, "too many are open");
        };
        self.streams.metrics().fanout().connection(1);
        let connections = self.clone();
        let open = Open { connections, client: peer, stopped, _permit: permit };
        spawn(serve(socket, open, streams));
    }

    /// Counts and logs a connection that the door closes.
    fn cut(&self, reason: &'static str, peer: IpAddr, cause: impl fmt::Display) {
        self.streams.metrics().fanout().cut(reason);
        info!(%peer, reason, "connection of {peer} closed ({reason}): {cause}");
    }
}

/// Serves a connection up to its first stream, which gets a task of its own.
async fn serve(mut socket: TcpStream, mut open: Open, streams: Streams) {
    let connections = open.connections.clone();
    let config = &connections.config;
    // Ignore an error: the connection is only slower, or closed already.
    let _ = socket.set_nodelay(true);
    let deadline = Instant::now() + config.head_timeout;
    if config.proxy_protocol {
        let client = client(&mut socket, open.client, &connections.service);
        match timeout_at(deadline, client).await {
            Ok(Ok(client)) => open.client = client,
            Ok(Err(error)) => return open.cut("proxy_protocol", error),
            Err(elapsed) => return open.cut("proxy_protocol", elapsed),
        }
    }
    let socket = Socket::new(socket, config.send_timeout);
    let Some(certificates) = &connections.tls else { return http(socket, open, &streams).await };
    match timeout_at(deadline, certificates.acceptor().accept(socket)).await {
        Ok(Ok(socket)) => http(socket, open, &streams).await,
        Ok(Err(error)) => open.cut("handshake", error),
        Err(elapsed) => open.cut("handshake", elapsed),
    }
}

/// The client that a trusted proxy names by the PROXY protocol.
async fn client(socket: &mut TcpStream, peer: IpAddr, service: &Service) -> io::Result<IpAddr> {
    if !service.trusts(peer) {
        return Err(io::Error::other("it is not in rollcast.trusted_proxies"));
    }
    Ok(proxied::client(socket).await?.unwrap_or(peer))
}

/// Answers requests until the client or the server closes the connection, or until a stream opens.
async fn http<IO>(socket: IO, mut open: Open, streams: &Streams)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connections = open.connections.clone();
    let client = open.client;
    let opened = Mutex::new(None);
    let answer = service_fn(|request| {
        let answer = connections.service.answer(request, client, streams);
        Box::pin(async {
            match answer.await {
                Answer::Whole(response) => Ok(response),
                Answer::Stream(stream) => {
                    *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
                    // Ends hyper's part in this connection, without a response.
                    Err(TakenOver)
                }
            }
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(connections.config.head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), answer);
    let ended = select! {
        biased;
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        _ = open.stopped.changed() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let mut socket = connection.into_parts().io.into_inner();
    if let Some(opened) = opened.into_inner().unwrap_or_else(PoisonError::into_inner) {
        spawn(deliver(socket, opened, open));
        return;
    }
    match ended {
        // Ignore an error: the client may have gone.
        Ok(()) => drop(socket.shutdown().await),
        Err(error) if error.is_timeout() => open.cut("head", "no request in time"),
        Err(error) => {
            let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
            cause.into_iter().for_each(|error| end_of_writes(&open, error));
        }
    }
}

/// Delivers a stream to its end. This is a task of its own, so that the memory which the request
/// needed is free.
async fn deliver<IO>(socket: IO, Opened { version, head, stream }: Opened, open: Open)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    if let Err(error) = Delivery::new(socket, version, head, stream).await {
        end_of_writes(&open, &error);
    }
}

/// Reports a client that reads nothing. Clients may leave at any time.
fn end_of_writes(open: &Open, error: &io::Error) {
    if error.kind() == io::ErrorKind::TimedOut {
        open.cut("send", "it reads nothing");
    }
}

/// Why hyper's part in a connection ends when a stream opens.
#[derive(Debug, thiserror::Error)]
#[error("a stream took over the connection")]
struct TakenOver;
