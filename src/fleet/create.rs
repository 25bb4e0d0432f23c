//! Creates the stream of a fleet, on demand of a person. A node never does this by itself.

use crate::config::FleetConfig;
use crate::cursor::Cursor;
use crate::fleet::error::FleetError;
use crate::fleet::jetstream::JetStream;

/// What [`create`] did.
pub struct Created {
    /// The newest roll of this node, which the log follows.
    pub head: Cursor,
    /// Whether an older stream was deleted.
    pub replaced: bool,
}

/// Creates the stream for a history that ends with `head`, on `n_replicas` servers. With `replace`,
/// deletes an existing stream of this name first.
///
/// # Errors
///
/// There is a stream of this name and `replace` is false; the servers refuse or cannot be reached.
pub async fn create(
    config: &FleetConfig,
    head: Cursor,
    n_replicas: usize,
    replace: bool,
) -> Result<Created, FleetError> {
    let jetstream = JetStream::connect(config).await?;
    let exists = match jetstream.info().await {
        Ok(_) | Err(FleetError::NotOurs { .. }) => true,
        Err(FleetError::NoStream { .. }) => false,
        Err(error) => return Err(error),
    };
    if exists && !replace {
        return Err(FleetError::Exists { stream: config.stream.clone() });
    }
    if exists {
        jetstream.delete().await?;
    }
    jetstream.create(head, n_replicas).await?;
    Ok(Created { head, replaced: exists })
}
