//! Why a node does not follow the fleet.

use std::time::Duration;

use crate::cursor::Cursor;
use crate::fleet::entry::KeyId;
use crate::roll::RollId;

/// The oldest supported version of the NATS servers. The replicas of older ones can delete their
/// Raft state after a conditional publish that failed.
pub const MIN_SERVER: [u64; 3] = [2, 14, 0];

/// Why a node does not follow the fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Trying again may help.
    #[error("{0}")]
    Unreachable(String),
    #[error("no answer from the NATS servers for {} s", .0.as_secs())]
    NoAnswer(Duration),
    #[error("roll {0} is decided, but the log does not show it; the histories are compared again")]
    NotShown(RollId),

    #[error("the NATS servers refuse the user or the password: check `user` and `password_file`")]
    Login,
    #[error("the user may not {action}: allow it in the configuration of the NATS servers")]
    Forbidden { action: String },
    #[error(
        "expected NATS servers of version 2.14.0 or newer, got `{version}`: update them, because \
         the replicas of older ones can lose data"
    )]
    OldServer { version: String },
    #[error(
        "the NATS servers have no stream `{stream}`: run `rollcast fleet create` once, on the node \
         with the longest history"
    )]
    NoStream { stream: String },
    #[error(
        "the stream `{stream}` was not created by `rollcast fleet create`: choose another name with \
         the key `stream`, or replace it with `rollcast fleet create --replace`"
    )]
    NotOurs { stream: String },
    #[error(
        "the fleet's log begins with roll {first}, and this node ends with roll {head}: start it \
         from a backup of another node"
    )]
    TooFarBehind { first: RollId, head: RollId },
    #[error(
        "different histories: roll {id} is `{theirs}` in the fleet's log and `{ours}` on this node; \
         start this node from a backup of another one, or see `Two histories` in deploy/nats/README.md"
    )]
    Different { id: RollId, ours: String, theirs: String },
    #[error(
        "roll {id} follows `{theirs}` in the fleet's log, but the newest roll of this node is \
         `{ours}`: start this node from a backup of another one, or see `Two histories` in deploy/nats/README.md"
    )]
    NotNext { id: RollId, ours: Cursor, theirs: Cursor },
    #[error(
        "roll {id} was proposed by a node with the key `{theirs}`, and this node has `{ours}`: all \
         nodes need the same `rolls.secret` and the same `origin`"
    )]
    OtherSecret { id: RollId, ours: KeyId, theirs: KeyId },
    #[error("the dice of roll {id} in the fleet's log do not follow from the secret")]
    NotDrawn { id: RollId },
    #[error("entry {id} of the fleet's log is not a roll: {text}")]
    Junk { id: RollId, text: String },
    #[error(
        "roll {id} of this node is missing in the fleet's log and was not drawn from the secret, so \
         it is not given back: see `Two histories` in deploy/nats/README.md"
    )]
    NotGivenBack { id: RollId },
    #[error(
        "the NATS servers already have a stream `{stream}`: nodes that use it follow it; to replace it \
         with an empty one that continues the history of this node, add --replace"
    )]
    Exists { stream: String },
    #[error(
        "another program added rows to the database of this node after roll {head}: restore this node \
         from a backup of another one"
    )]
    Foreign { head: RollId },
    #[error("cannot read {file}: {reason}")]
    File { file: String, reason: String },
    #[error(
        "expected that only the server's user can read {file}, got mode {mode:o}: run chmod 600"
    )]
    Readable { file: String, mode: u32 },
}

impl FleetError {
    /// Whether trying again may help without a person: the servers cannot be reached, or the
    /// histories must be compared again.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            FleetError::Unreachable(_) | FleetError::NoAnswer(_) | FleetError::NotShown(_)
        )
    }
}
