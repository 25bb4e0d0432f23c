//! Replies of the JetStream API, as far as they are read.
//! <https://docs.nats.io/reference/reference-protocols/nats_api_reference>

use std::collections::HashMap;

use serde::Deserialize;

use crate::fleet::error::FleetError;

/// A reply of the JetStream API.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Reply<T> {
    Error { error: ErrorReply },
    Ok(T),
}

#[derive(Deserialize)]
pub struct ErrorReply {
    #[serde(default)]
    pub err_code: u64,
    #[serde(default)]
    pub description: String,
}

impl From<ErrorReply> for FleetError {
    fn from(error: ErrorReply) -> FleetError {
        let ErrorReply { err_code, description } = error;
        FleetError::Unreachable(format!("the NATS servers say: {description} ({err_code})"))
    }
}

#[derive(Deserialize)]
pub struct InfoReply {
    pub config: ConfigReply,
    pub state: StateReply,
    pub cluster: Option<ClusterReply>,
}

#[derive(Deserialize)]
pub struct ConfigReply {
    #[serde(default)]
    pub metadata: HashMap<String, String>,
}

#[derive(Deserialize)]
pub struct StateReply {
    pub messages: u64,
    pub first_seq: u64,
    pub last_seq: u64,
}

#[derive(Default, Deserialize)]
pub struct ClusterReply {
    pub leader: Option<String>,
    #[serde(default)]
    pub replicas: Vec<ReplicaReply>,
}

#[derive(Deserialize)]
pub struct ReplicaReply {
    pub name: String,
    #[serde(default)]
    pub current: bool,
    #[serde(default)]
    pub offline: bool,
}

#[derive(Deserialize)]
pub struct MessageReply {
    pub message: StoredReply,
}

#[derive(Deserialize)]
pub struct StoredReply {
    /// Base64.
    #[serde(default)]
    pub data: String,
}

#[derive(Deserialize)]
pub struct PublishReply {
    pub seq: i64,
}
