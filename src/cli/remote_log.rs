//! The log of a server, as `verify` and `monitor` read it: checkpoint, key, proofs and tiles. The
//! server may be hostile, so each response has a size limit, and all of them share a deadline.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use event_stream::http_url::HttpUrl;
use serde::Deserialize;

use crate::backoff::Backoff;
use crate::cli::trust::TrustArgs;
use crate::cli::{Failure, note};
use crate::log::{
    Checkpoint, Frontier, Hash, Proof, TILE_HEIGHT, TILE_LEN, Tile, TileKind, VerifierKey, entries,
};
use crate::remote::{Expected, Remote, RemoteError};
use crate::roll::RollId;
use crate::text::{ValueError, shortened};
use crate::time_spec::ago;

/// The timeout of one request with its response body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// How many times one request is sent at most, and the pauses between the attempts.
const MAX_ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(8);
/// The limit of a text, in bytes: a checkpoint with many witnesses, or a proof.
pub const MAX_TEXT_BYTES: u64 = 64 << 10;
/// The limit of a leaf, in bytes. A leaf with sixteen dice has fewer than 600.
pub const MAX_LEAF_BYTES: u64 = 1 << 10;
/// The highest level of tiles in a tree of fewer than 2^63 leaves.
const MAX_LEVEL: u32 = 7;

const CHECKPOINT: Expected = Expected { content_type: "text/plain", name: "a checkpoint" };
const PROOF: Expected = Expected { content_type: "text/plain", name: "a proof" };
const KEY: Expected = Expected { content_type: "application/json", name: "the key of a log" };
const HASHES: Expected =
    Expected { content_type: "application/octet-stream", name: "a tile of hashes" };
const LEAVES: Expected =
    Expected { content_type: "application/octet-stream", name: "a bundle of leaves" };

/// The options of the commands that read a log.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// The log's key, from a source that you trust. Without it, the command uses and prints the key
    /// that the server names. This proves less: a server can name any key
    #[arg(long)]
    pub key: Option<VerifierKey>,
    /// How long reading the log may take, 1s to 365d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = long_duration)]
    pub timeout: Duration,
    #[command(flatten)]
    trust: TrustArgs,
}

/// The log of a server.
pub struct RemoteLog {
    remote: Remote,
    timeout: Duration,
    /// When all requests must be answered.
    deadline: Cell<Instant>,
    /// Whether the server has answered. Before that the address may be wrong, so no request is
    /// retried.
    has_answered: Cell<bool>,
}

/// What `/api/proof` says.
#[derive(Deserialize)]
struct KeyJson {
    key: String,
    oldest: i64,
}

/// What a server says about its log.
pub struct LogInfo {
    /// The key, which the server may have made up.
    pub key: VerifierKey,
    /// The first roll whose leaf is kept, which begins a tile.
    pub oldest: RollId,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A request failed, or the response is not part of a log.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The timeout has passed.
    #[error("the log was not read within {} s; allow more with --timeout", .0.as_secs())]
    Deadline(Duration),
    /// Hashes of another tree. Nobody knows who changed them.
    #[error("the server sent other hashes than those of the {0} rolls that it signed")]
    OtherTree(u64),
    /// The server does not show hashes that no server deletes.
    #[error("the server claims that it deleted hashes of the tree, which are kept for ever")]
    NoHashes(#[source] RemoteError),
}

impl LogError {
    /// Whether the rolls that were asked for are pruned.
    pub fn is_gone(&self) -> bool {
        matches!(self, LogError::Remote(error) if error.is_gone())
    }
}

impl RemoteLog {
    /// The log of the server at `url`.
    ///
    /// # Errors
    ///
    /// The file of certificates cannot be used: exit code 2.
    pub fn new(url: &HttpUrl, args: &LogArgs) -> Result<RemoteLog, Failure> {
        Ok(RemoteLog {
            remote: Remote::new(url.clone(), args.trust.certificates()?),
            timeout: args.timeout,
            deadline: Cell::new(Instant::now() + args.timeout),
            has_answered: Cell::new(false),
        })
    }

    /// Restarts the timeout, which is at most `limit` this time.
    pub fn restart_timeout(&self, limit: Duration) {
        self.deadline.set(Instant::now() + self.timeout.min(limit));
    }

    /// The newest checkpoint, as served.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn checkpoint(&self) -> Result<String, LogError> {
        self.text("/checkpoint", CHECKPOINT)
    }

    /// The key that the server names, and the first roll that it keeps.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn info(&self) -> Result<LogInfo, LogError> {
        let path = "/api/proof";
        let bytes = self.get(path, KEY, MAX_TEXT_BYTES)?;
        let unexpected = |seen: String| self.remote.unexpected(path, KEY, seen);
        let json: KeyJson =
            serde_json::from_slice(&bytes).map_err(|error| unexpected(error.to_string()))?;
        let key = json.key.parse().map_err(|error: ValueError| unexpected(error.to_string()))?;
        let begins_tile = json.oldest > 0 && (json.oldest - 1) % TILE_LEN as i64 == 0;
        if !begins_tile {
            return Err(unexpected(format!("an oldest roll {} within a tile", json.oldest)).into());
        }
        Ok(LogInfo { key, oldest: RollId(json.oldest) })
    }

    /// The proof of a roll.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn proof(&self, id: RollId) -> Result<Proof, LogError> {
        let path = format!("/rolls/{id}/proof");
        let text = self.text(&path, PROOF)?;
        Ok(text.parse().map_err(|_| self.remote.unexpected(&path, PROOF, quoted(&text)))?)
    }

    /// Reads the `width` leaves of tile `n`, in order.
    ///
    /// # Errors
    ///
    /// [`LogError`], or the error of `read`.
    pub fn leaves<E: From<LogError>>(
        &self,
        n: u64,
        width: u64,
        read: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = format!("/{}", Tile { kind: TileKind::Entries, n, width });
        let bundle = self.get(&path, LEAVES, width * (2 + MAX_LEAF_BYTES))?;
        let leaves = entries(&bundle, width).ok_or_else(|| {
            let seen = format!("{} bytes that are not {width} leaves", bundle.len());
            LogError::from(self.remote.unexpected(&path, LEAVES, seen))
        })?;
        leaves.into_iter().try_for_each(read)
    }

    /// The tree of the first `n_tiles` full tiles, from the hashes of the tree of `checkpoint`.
    /// They are not verified: compare the root once all leaves are added.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn tree(&self, n_tiles: u64, checkpoint: &Checkpoint) -> Result<Frontier, LogError> {
        let mut tree = Frontier::default();
        for level in (1..=MAX_LEVEL).rev() {
            let n_nodes = (n_tiles * TILE_LEN) >> (level * TILE_HEIGHT);
            let (n, n_needed) = (n_nodes / TILE_LEN, (n_nodes % TILE_LEN) as usize);
            if n_needed > 0 {
                let hashes = self.hashes(level, n, checkpoint)?;
                for hash in &hashes[..n_needed] {
                    tree.push_subtree(level * TILE_HEIGHT, *hash);
                }
            }
        }
        Ok(tree)
    }

    /// A tile of hashes, with all that the checkpoint covers. They are not verified.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn hashes(&self, level: u32, n: u64, covers: &Checkpoint) -> Result<Vec<Hash>, LogError> {
        let n_nodes = covers.size >> (level * TILE_HEIGHT);
        let width = (n_nodes - n * TILE_LEN).min(TILE_LEN);
        let path = format!("/{}", Tile { kind: TileKind::Hashes(level), n, width });
        let bytes = self.get(&path, HASHES, TILE_LEN * 32).map_err(|error| match error {
            // Only the hashes of leaves are pruned, with the leaves.
            LogError::Remote(error) if level > 0 && error.is_gone() => LogError::NoHashes(error),
            error => error,
        })?;
        let (hashes, rest) = bytes.as_chunks();
        if hashes.len() as u64 != width || !rest.is_empty() {
            let seen = format!("{} bytes instead of {}", bytes.len(), width * 32);
            return Err(self.remote.unexpected(&path, HASHES, seen).into());
        }
        Ok(hashes.iter().copied().map(Hash).collect())
    }

    fn text(&self, path: &str, expected: Expected) -> Result<String, LogError> {
        let bytes = self.get(path, expected, MAX_TEXT_BYTES)?;
        let text = String::from_utf8(bytes);
        Ok(text.map_err(|error| {
            let seen = String::from_utf8_lossy(error.as_bytes());
            self.remote.unexpected(path, expected, quoted(&seen))
        })?)
    }

    fn get(&self, path: &str, expected: Expected, max_bytes: u64) -> Result<Vec<u8>, LogError> {
        let mut backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
        let mut n_attempts = 1;
        loop {
            let left = self.time_left()?.min(REQUEST_TIMEOUT);
            let error = match self.remote.get_bytes(path, expected, max_bytes, left) {
                Ok(bytes) => {
                    self.has_answered.set(true);
                    return Ok(bytes);
                }
                Err(error) => error,
            };
            // The deadline also ends a request, and then it is the reason.
            let left = self.time_left()?;
            let may_retry = self.has_answered.get() && n_attempts < MAX_ATTEMPTS;
            if !error.is_temporary() || !may_retry {
                return Err(error.into());
            }
            let pause = backoff.next_pause();
            let why = anyhow::Error::new(error);
            note(format_args!("{why:#}; trying again in {:.1} s", pause.as_secs_f64()));
            thread::sleep(pause.min(left));
            n_attempts += 1;
        }
    }

    fn time_left(&self) -> Result<Duration, LogError> {
        let left = self.deadline.get().saturating_duration_since(Instant::now());
        if left.is_zero() { Err(LogError::Deadline(self.timeout)) } else { Ok(left) }
    }
}

/// The beginning of a response, for an error.
fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// Reads a duration with a unit: 1s to 365d.
///
/// # Errors
///
/// The text is not a duration, or is out of range.
pub fn long_duration(text: &str) -> Result<Duration, ValueError> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600);
    let duration = ago(text).and_then(|ago| Duration::try_from(ago).ok());
    let duration = duration.filter(|duration| bounds.contains(duration));
    duration.ok_or_else(|| ValueError::new("a time of 1s to 365d, such as `1h`", text))
}
