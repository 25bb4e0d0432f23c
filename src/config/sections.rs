//! One struct for each module that has settings.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::Keep;
use crate::dice::Dice;
use crate::network::Network;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which dice are rolled and how often.
#[derive(Clone, Debug)]
pub struct RollerConfig {
    /// The dice of each roll.
    pub dice: Dice,
    /// Time between rolls, 1 ms to 1 h.
    pub every: Duration,
}

/// Where the rolls are stored.
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

/// How streams are kept open.
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
    /// The user, together with `password_file`.
    pub user: Option<String>,
    /// The file of the password.
    pub password_file: Option<PathBuf>,
    /// Certificates of the authority that signed those of the servers; `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// What the operator tells visitors.
#[derive(Clone, Debug, Default)]
pub struct AboutConfig {
    /// Who runs the server.
    pub operator: Option<String>,
    /// Where to reach the operator: a `mailto:`, `https:` or `tel:` URL.
    pub contact: Option<String>,
    /// The source code of the server: an `https:` or `http:` URL.
    pub source: Option<String>,
}

/// Pages, streams and who may open them.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Rolls on a page, 1 to 500.
    pub page_size: usize,
    /// The most streams that may be open, 1 to 1,000,000.
    pub max_streams: usize,
    /// The most streams that one client address may have open, 1 to 1,000,000.
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
