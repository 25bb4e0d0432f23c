//! One struct for each module that has settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::Keep;
use crate::dice::Dice;
use crate::network::Network;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

/// The dice and the time between rolls.
#[derive(Clone, Debug)]
pub struct RollerConfig {
    /// The dice of each roll.
    pub dice: Dice,
    /// Time between rolls, 1 ms to 1 h.
    pub every: Duration,
}

/// The database, the files beside it, and the retention.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The database file.
    pub database: PathBuf,
    /// The file of the secret; `None`: beside the database.
    pub secret: Option<PathBuf>,
    /// The name of the log; `None`: derived from the secret.
    pub origin: Option<String>,
    /// Which rolls are kept.
    pub keep: Keep,
    /// Free bytes on the database's disk below which the server is not ready; 0 turns the check off.
    pub n_reserve_bytes: u64,
}

/// The heartbeat of streams.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Time without data after which open streams get a heartbeat comment, 1 s to 10 min.
    pub heartbeat: Duration,
}

/// The fleet that this node belongs to.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// The URLs of the NATS servers, 1 to 9: `nats://` or `tls://`.
    pub servers: Vec<String>,
    /// The name of the stream that decides the rolls.
    pub stream: String,
    /// The user name for the NATS servers. It requires `password_file`.
    pub user: Option<String>,
    /// The file of the password.
    pub password_file: Option<PathBuf>,
    /// A file with the certificates of the authority that signed those of the NATS servers; `None`:
    /// the authorities of the system.
    pub ca: Option<PathBuf>,
}

/// The operator's statements on `/about`.
#[derive(Clone, Debug, Default)]
pub struct AboutConfig {
    /// The name of the operator.
    pub operator: Option<String>,
    /// The address for reports: a `mailto:`, `https:` or `tel:` URL.
    pub contact: Option<String>,
    /// The address of the server's source code: an `https:` or `http:` URL.
    pub source: Option<String>,
}

/// Limits of pages and streams, trusted proxies, and folders of templates and static files.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Rolls on a page, 1 to 500.
    pub page_size: usize,
    /// The address of a lab for clients of event streams: an `https:` or `http:` URL; `None`: pages
    /// link to none.
    pub lab_url: Option<String>,
    /// The maximum number of open streams, 1 to 1,000,000.
    pub max_streams: usize,
    /// The maximum number of open streams of one client address, 1 to 1,000,000.
    pub max_streams_per_address: usize,
    /// Proxies whose `address_header` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The header in which a trusted proxy forwards the client's address; `None`: no proxy is
    /// believed.
    pub address_header: Option<String>,
    /// A folder of templates instead of the built-in ones.
    pub template_dir: Option<PathBuf>,
    /// A folder of static files instead of the built-in ones.
    pub static_dir: Option<PathBuf>,
}

/// The fan-out door.
#[derive(Clone, Debug)]
pub struct FanoutConfig {
    /// Where it listens. Port 0 takes a free port.
    pub address: SocketAddr,
    /// Threads, each with a listening socket of its own, 1 to 1,024.
    pub n_threads: usize,
    /// How long a client may take for the handshake, for the head of a request, and until its next
    /// request, 1 s to 10 min.
    pub head_timeout: Duration,
    /// How long a client may take to read anything that was sent, 1 s to 1 h.
    pub send_timeout: Duration,
    /// Whether each connection begins with the PROXY protocol.
    pub proxy_protocol: bool,
    /// `None`: plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Scheme, host and port at which pages open the stream, without a slash at the end; `None`:
    /// pages use `/stream/` of their own address.
    pub public_url: Option<String>,
}

impl FanoutConfig {
    /// The door's URL if it listens at `address`: `http://127.0.0.1:5001`.
    pub fn url_at(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }
}

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The chain of certificates in PEM, that of the server first.
    pub certs: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}
