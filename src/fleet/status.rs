//! What `rollcast check` says about a fleet. Changes nothing.

use crate::config::FleetConfig;
use crate::fleet::error::FleetError;
use crate::fleet::jetstream::{JetStream, StreamInfo};
use crate::fleet::join::{Common, common};
use crate::roll::RollId;

/// A fleet as one node sees it.
pub struct Status {
    /// The server that answers, and its version.
    pub server: (String, String),
    /// The stream, if there is one.
    pub stream: Result<StreamInfo, FleetError>,
    /// What to compare the node's history with, if there is anything; or why the node cannot follow.
    pub common: Result<Option<Common>, FleetError>,
    /// The entry after the node's newest roll, if the log has one.
    pub next: Option<String>,
}

/// Looks at the fleet for a history that ends with `head`.
///
/// # Errors
///
/// No server accepts a connection, or an entry cannot be read.
pub async fn status(config: &FleetConfig, head: RollId) -> Result<Status, FleetError> {
    let jetstream = JetStream::connect(config).await?;
    let server = jetstream.server();
    let stream = jetstream.info().await;
    let common = match &stream {
        Ok(info) => common(head, &jetstream, info).await,
        Err(_) => Ok(None),
    };
    let next = match &stream {
        Ok(info) if (info.first..=info.last).contains(&head.next()) => {
            jetstream.entry(head.next()).await?
        }
        _ => None,
    };
    Ok(Status { server, stream, common, next })
}
