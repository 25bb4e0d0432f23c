//! The fan-out door: a second listener for crowds. It serves `/stream/` and nothing else, from the
//! same feed and with the same limits as Rocket's `/stream/`.
//!
//! Each thread has its own listening socket and its own single-threaded runtime, so a connection
//! lives on one thread. hyper reads requests. The task of a stream polls the feed's reader itself and
//! writes to the socket: no second task, no channel, and no buffer. Slow clients are timed out, so the
//! door can face the internet.

mod listen;
mod socket;
mod tls;
mod proxied;
mod body;
mod delivery;
mod service;
mod connection;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rocket::{Ignite, Rocket, Shutdown};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio::{select, spawn};
use tracing::warn;

use crate::config::FanoutConfig;
use crate::web::http::client::Proxies;
use crate::web::stream::opening::Streams;

use self::connection::Connections;
use self::service::Service;

pub use self::listen::listen_remedy;
pub use self::tls::Certificates;

/// Connections beyond `max_streams`: those that send their request, and refused ones.
const N_OTHER_CONNECTIONS: usize = 1_024;
/// The most threads of each runtime that read from the store. At most four queries run at once.
const N_BLOCKING_THREADS: usize = 4;
/// How many tasks run before the runtime looks for new input. A roll makes a task ready for every
/// stream; the default of 61 would cost a system call for each 61 of them.
const EVENT_INTERVAL: u32 = 512;
/// The pause after a connection cannot be accepted, for example because no file is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The door, which listens and does not accept connections yet.
pub struct Door {
    listeners: Vec<TcpListener>,
    address: SocketAddr,
    connections: Arc<Connections>,
    /// How long a stop waits for connections.
    grace: Duration,
}

impl Door {
    /// Listens at the configured address, for the streams of `rocket`.
    ///
    /// # Errors
    ///
    /// The address cannot be used, or the files of the certificate cannot. The error says what to do.
    pub fn bind(config: &FanoutConfig, rocket: &Rocket<Ignite>) -> anyhow::Result<Door> {
        let tls = config.tls.as_ref().map(Certificates::read).transpose()?;
        let streams = rocket.state::<Streams>().context("the server has no streams")?;
        let proxies = rocket.state::<Arc<Proxies>>().context("the server has no proxies")?;
        let listeners = listen::listen(config.address, config.n_threads)?;
        let address = listeners[0].local_addr()?;
        let own = rocket.config();
        let n_connections = streams.max_total() + N_OTHER_CONNECTIONS;
        let connections = Connections {
            config: config.clone(),
            service: Service::new(proxies.clone(), rocket),
            streams: streams.clone(),
            tls,
            permits: Arc::new(Semaphore::new(n_connections.min(Semaphore::MAX_PERMITS))),
        };
        streams.metrics().fanout().start();
        let grace = Duration::from_secs((own.shutdown.grace + own.shutdown.mercy).into());
        Ok(Door { listeners, address, connections: Arc::new(connections), grace })
    }

    /// Where the door listens: `http://127.0.0.1:5001`.
    pub fn url(&self) -> String {
        self.connections.config.url_at(self.address)
    }

    /// The certificate, to read it again; `None` without TLS.
    pub fn certificates(&self) -> Option<Certificates> {
        self.connections.tls.clone()
    }

    /// Accepts connections until `shutdown`.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub fn open(self, shutdown: &Shutdown) -> anyhow::Result<OpenDoor> {
        let mut threads = Vec::new();
        for (number, listener) in self.listeners.into_iter().enumerate() {
            let (ended, wait) = oneshot::channel();
            let (connections, shutdown) = (self.connections.clone(), shutdown.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(N_BLOCKING_THREADS)
                .event_interval(EVENT_INTERVAL)
                .build()
                .context("cannot start a runtime for the fan-out door")?;
            thread::Builder::new()
                .name(format!("fanout-{number}"))
                .spawn(move || {
                    runtime.block_on(run(connections, listener, shutdown, self.grace));
                    // Connections that are still open belong to clients that do not read.
                    runtime.shutdown_background();
                    // An error means that nobody waits.
                    let _ = ended.send(());
                })
                .context("cannot start a thread for the fan-out door")?;
            threads.push(wait);
        }
        Ok(OpenDoor(threads))
    }
}

/// The threads of the door.
pub struct OpenDoor(Vec<oneshot::Receiver<()>>);

impl OpenDoor {
    /// Waits until all threads have ended, at most as long as the server's shutdown lasts.
    pub async fn closed(self) {
        for thread in self.0 {
            // An error means that the thread panicked, which is logged.
            let _ = thread.await;
        }
    }
}

/// One thread: accepts connections until `shutdown`, and then waits `grace` for their ends.
async fn run(
    connections: Arc<Connections>,
    listener: TcpListener,
    shutdown: Shutdown,
    grace: Duration,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!("cannot accept connections at the fan-out door: {error}"),
    };
    let (streams, branch) = connections.streams.branch();
    spawn(async move { branch.relay().await });
    // Each connection holds a receiver.
    let (stop, stopped) = watch::channel(());
    let accept = async {
        let mut is_failing = false;
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    is_failing = false;
                    // At `::`, a client over IPv4 has an address such as `::ffff:192.0.2.1`.
                    let peer = peer.ip().to_canonical();
                    connections.start(socket, peer, streams.clone(), stopped.clone());
                }
                Err(error) => {
                    if !is_failing {
                        warn!("cannot accept connections at the fan-out door: {error}");
                    }
                    is_failing = true;
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop((listener, stopped));
    // An error means that there is no connection.
    let _ = stop.send(());
    // Clients that do not read keep their connections beyond the grace period.
    let _ = timeout(grace, stop.closed()).await;
}
