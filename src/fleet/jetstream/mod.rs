//! The fleet's log: one JetStream stream. The only module that knows NATS.
//!
//! Requests use the JetStream API directly
//! (<https://docs.nats.io/reference/reference-protocols/nats_api_reference>): a client that needs
//! only two of them sees every answer as it is.

mod connect;
mod replies;

use std::collections::HashMap;
use std::str;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::NATS_EXPECTED_LAST_SEQUENCE;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::{Client, HeaderMap, Request, RequestErrorKind, Subscriber};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::cursor::Cursor;
use crate::fleet::entry::place;
use crate::fleet::error::FleetError;
use crate::fleet::jetstream::replies::{
    ClusterReply, InfoReply, MessageReply, PublishReply, Reply,
};
use crate::fleet::turns::Outcome;
use crate::roll::RollId;

pub use self::connect::password;

/// How long a connection may take, and an answer to a read.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long the answer to a proposal may take. Then the same roll is proposed again.
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the servers may take to create a stream or to delete one.
const ADMINISTRATION_TIMEOUT: Duration = Duration::from_secs(10);
/// The entries that the stream keeps: the oldest ones go.
const MAX_ENTRIES: i64 = 1_000_000;
/// The largest entry is that of 16 dice: about 400 bytes.
const MAX_ENTRY_BYTES: i32 = 4_096;
/// The key of the stream's metadata with the head of the node that created it.
const ORIGIN: &str = "rollcast.origin";
/// The header of a proposal with the time between rolls on its node, in milliseconds.
const EVERY: &str = "Rollcast-Every";

// Error codes of the JetStream API.
const STREAM_NOT_FOUND: u64 = 10_059;
const MESSAGE_NOT_FOUND: u64 = 10_037;
const WRONG_LAST_SEQUENCE: u64 = 10_071;
const STREAM_EXISTS: u64 = 10_058;

/// A connection to the servers.
pub struct JetStream {
    requests: Requests,
    doorbell: Subscriber,
}

/// The parts of a connection that a request needs. Each request owns a copy, so that many of them can
/// run at once.
#[derive(Clone)]
struct Requests {
    client: Client,
    stream: String,
    denied: Denied,
}

/// The newest permission that the server denied.
type Denied = Arc<Mutex<Option<String>>>;

/// A proposal of any node, as the servers forward it. It is not a part of the log: the log may
/// refuse it.
pub struct Heard {
    /// The place that it is for.
    pub id: RollId,
    /// The time between rolls on its node, if the proposal names it.
    pub every: Option<Duration>,
}

/// The state of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The newest roll of the node that created the stream, at that time.
    pub origin: Cursor,
    /// The oldest entry, or the place of the next one if the stream is empty.
    pub first: RollId,
    /// The newest entry, or the place before [`StreamInfo::first`].
    pub last: RollId,
    /// The server that leads the stream, and the others that replicate it.
    pub replicas: Vec<Replica>,
}

/// One server's replica of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub server: String,
    pub leads: bool,
    /// Whether it has everything that the leader has.
    pub current: bool,
}

impl JetStream {
    /// The server that this connection uses, and its version.
    pub fn server(&self) -> (String, String) {
        let info = self.requests.client.server_info();
        (info.server_name, info.version)
    }

    /// Whether the connection is up. While it is not, the client would keep a proposal and send it
    /// later.
    pub fn is_connected(&self) -> bool {
        self.requests.client.connection_state() == State::Connected
    }

    /// Whether the server denied a proposal, so that this node only follows.
    pub fn may_not_propose(&self) -> bool {
        self.requests.is_denied(&subject(&self.requests.stream))
    }

    /// Waits for a proposal of any node. Only a hint: a proposal may be missed.
    pub async fn ring(&mut self) -> Heard {
        loop {
            match self.doorbell.next().await {
                Some(proposal) => {
                    if let Some(id) = str::from_utf8(&proposal.payload).ok().and_then(place) {
                        let every = proposal.headers.as_ref().and_then(|it| it.get(EVERY));
                        let every = every.and_then(|every| every.as_str().parse().ok());
                        return Heard { id, every: every.map(Duration::from_millis) };
                    }
                }
                // The client is closed, which the next request reports.
                None => std::future::pending().await,
            }
        }
    }

    /// The state of the stream.
    ///
    /// # Errors
    ///
    /// [`FleetError::NoStream`], [`FleetError::NotOurs`], or there is no answer.
    pub async fn info(&self) -> Result<StreamInfo, FleetError> {
        let info: InfoReply = match self.requests.api("STREAM.INFO", String::new(), TIMEOUT).await?
        {
            Reply::Ok(info) => info,
            Reply::Error { error } if error.err_code == STREAM_NOT_FOUND => {
                return Err(FleetError::NoStream { stream: self.requests.stream.clone() });
            }
            Reply::Error { error } => return Err(error.into()),
        };
        let not_ours = || FleetError::NotOurs { stream: self.requests.stream.clone() };
        let origin = info.config.metadata.get(ORIGIN).ok_or_else(not_ours)?;
        let origin: Cursor = origin.parse().map_err(|_| not_ours())?;
        let sequence = |n: u64| i64::try_from(n).map(RollId).map_err(|_| not_ours());
        let (first, last) = (sequence(info.state.first_seq)?, sequence(info.state.last_seq)?);
        let ClusterReply { leader, replicas } = info.cluster.unwrap_or_default();
        let leader = leader.map(|server| Replica { server, leads: true, current: true });
        let others = replicas.into_iter().map(|replica| Replica {
            server: replica.name,
            leads: false,
            current: replica.current && !replica.offline,
        });
        Ok(StreamInfo {
            origin,
            // An empty stream counts from the sequence before its first one.
            first: if info.state.messages == 0 { last.next() } else { first },
            last,
            replicas: leader.into_iter().chain(others).collect(),
        })
    }

    /// The entry with this sequence, from the leader of the stream; `None` if the stream does not
    /// have it.
    ///
    /// # Errors
    ///
    /// [`FleetError::NoStream`], or there is no answer.
    pub fn entry(
        &self,
        id: RollId,
    ) -> impl Future<Output = Result<Option<String>, FleetError>> + Send + use<> {
        let requests = self.requests.clone();
        async move {
            let request = json!({ "seq": id.0 }).to_string();
            let reply = requests.api("STREAM.MSG.GET", request, TIMEOUT).await?;
            let message: MessageReply = match reply {
                Reply::Ok(message) => message,
                Reply::Error { error } if error.err_code == MESSAGE_NOT_FOUND => return Ok(None),
                Reply::Error { error } if error.err_code == STREAM_NOT_FOUND => {
                    return Err(FleetError::NoStream { stream: requests.stream });
                }
                Reply::Error { error } => return Err(error.into()),
            };
            let text = BASE64_STANDARD.decode(message.message.data).ok();
            // Other bytes than text become a text that the caller refuses.
            let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            Ok(Some(text.unwrap_or_default()))
        }
    }

    /// Proposes `entry` for the place `id`. The log takes it only if the place before is its last.
    /// `every` is the time between rolls on this node, with which the other nodes compare theirs.
    pub fn propose(
        &self,
        id: RollId,
        entry: String,
        every: Duration,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let (client, subject) = (self.requests.client.clone(), subject(&self.requests.stream));
        async move {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SEQUENCE, id.previous().to_string());
            headers.insert(EVERY, every.as_millis().to_string());
            let request = Request::new()
                .headers(headers)
                .payload(entry.into())
                .timeout(Some(PROPOSAL_TIMEOUT));
            let Ok(reply) = client.send_request(subject, request).await else {
                return Outcome::Unknown;
            };
            match serde_json::from_slice(&reply.payload) {
                Ok(Reply::Ok(PublishReply { seq })) if seq == id.0 => Outcome::Won,
                Ok(Reply::Error { error }) if error.err_code == WRONG_LAST_SEQUENCE => {
                    Outcome::Lost
                }
                _ => Outcome::Unknown,
            }
        }
    }

    /// Creates the stream for a history that ends with `head`, on `n_replicas` servers.
    ///
    /// # Errors
    ///
    /// The servers refuse, for example because there are too few, or there is no answer.
    pub async fn create(&self, head: Cursor, n_replicas: usize) -> Result<(), FleetError> {
        let config = Config {
            name: self.requests.stream.clone(),
            description: Some("the rolls of a rollcast fleet".into()),
            subjects: vec![subject(&self.requests.stream)],
            storage: StorageType::File,
            num_replicas: n_replicas,
            max_messages: MAX_ENTRIES,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            max_message_size: MAX_ENTRY_BYTES,
            deny_delete: true,
            deny_purge: true,
            first_sequence: Some(head.id.next().0 as u64),
            metadata: HashMap::from([(ORIGIN.into(), head.to_string())]),
            ..Config::default()
        };
        let config = serde_json::to_string(&config).expect("plain structs become JSON");
        match self.requests.api("STREAM.CREATE", config, ADMINISTRATION_TIMEOUT).await? {
            Reply::Ok(InfoReply { .. }) => Ok(()),
            Reply::Error { error } if error.err_code == STREAM_EXISTS => {
                Err(FleetError::Exists { stream: self.requests.stream.clone() })
            }
            Reply::Error { error } => Err(error.into()),
        }
    }

    /// Deletes the stream with all entries.
    ///
    /// # Errors
    ///
    /// The servers refuse, or there is no answer.
    pub async fn delete(&self) -> Result<(), FleetError> {
        match self.requests.api("STREAM.DELETE", String::new(), ADMINISTRATION_TIMEOUT).await? {
            Reply::Ok(serde_json::Value::Object(_)) => Ok(()),
            Reply::Ok(other) => Err(FleetError::Unreachable(format!("unexpected reply: {other}"))),
            Reply::Error { error } => Err(error.into()),
        }
    }
}

impl Requests {
    /// A request to the JetStream API about the stream.
    async fn api<T: DeserializeOwned>(
        &self,
        name: &str,
        payload: String,
        timeout: Duration,
    ) -> Result<Reply<T>, FleetError> {
        let subject = format!("$JS.API.{name}.{}", self.stream);
        let request = Request::new().payload(payload.into()).timeout(Some(timeout));
        let reply = self.client.send_request(subject.clone(), request).await;
        let reply = reply.map_err(|error| {
            if self.is_denied(&subject) {
                return FleetError::Forbidden { action: format!("publish to `{subject}`") };
            }
            match error.kind() {
                RequestErrorKind::TimedOut => FleetError::NoAnswer(timeout),
                RequestErrorKind::NoResponders => FleetError::Unreachable(
                    "no NATS server answers for JetStream: it has no leader yet, or is not enabled"
                        .into(),
                ),
                _ => FleetError::Unreachable(error.to_string()),
            }
        })?;
        serde_json::from_slice(&reply.payload).map_err(|error| {
            FleetError::Unreachable(format!("cannot read the reply to `{subject}`: {error}"))
        })
    }

    /// Whether the server denied publishing to this subject.
    fn is_denied(&self, subject: &str) -> bool {
        lock(&self.denied).as_ref().is_some_and(|text| is_denial(text, subject))
    }
}

/// The subject of proposals.
fn subject(stream: &str) -> String {
    format!("rollcast.{stream}")
}

/// Whether a server's error denies publishing to this subject.
fn is_denial(text: &str, subject: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let quoted = format!("\"{}\"", subject.to_ascii_lowercase());
    text.contains("permissions violation") && text.contains(&quoted)
}

fn lock(denied: &Denied) -> MutexGuard<'_, Option<String>> {
    denied.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_its_subject() {
        let text = "Permissions Violation for Publish to \"rollcast.ROLLS\"";
        assert!(is_denial(text, "rollcast.ROLLS"));
        assert!(!is_denial(text, "rollcast.ROLL"));
        assert!(!is_denial("Authorization Violation", "rollcast.ROLLS"));
    }
}
