//! A fleet: several nodes with one history. JetStream decides which roll wins each id.
//!
//! A node shows only what its own database has. It reads the decided rolls from the log, checks
//! that each one follows its own newest roll, stores them and publishes them. When its turn comes,
//! it proposes the next roll. What is read from the log is the truth; an acknowledgement is not.
//! `docs/fleet.md` describes it for operators.

mod error;
pub mod entry;
mod turns;
mod jetstream;
mod reads;
mod join;
mod session;
mod status;
mod create;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use event_stream::printable::printable;
use tokio::select;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::config::FleetConfig;
use crate::cursor::Cursor;
use crate::dice::Dice;
use crate::feed::Feed;
use crate::fleet::entry::KeyId;
use crate::fleet::session::{End, Session};
use crate::fleet::turns::within;
use crate::health::{Health, Replication};
use crate::metrics::Metrics;
use crate::pump::PumpError;
use crate::seeds::Seeds;
use crate::store::Store;
use crate::text::shortened_to;

pub use self::create::{Created, create};
pub use self::error::FleetError;
pub use self::jetstream::{Replica, StreamInfo, password};
pub use self::join::{Verdict, verdict};
pub use self::status::{Status, status};

/// The time between two sessions.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// The same after an error that a person must remove.
const LONG_PAUSE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];
/// The most characters of a reason in the log and the probes.
const MAX_REASON: usize = 600;

/// One node of a fleet: what its pump works with.
pub struct Node {
    pub config: FleetConfig,
    /// The time between rolls.
    pub every: Duration,
    /// The dice that this node rolls when it is its turn.
    pub dice: Dice,
    pub store: Store,
    pub feed: Feed,
    pub health: Health,
    pub metrics: Metrics,
    pub seeds: Seeds,
    /// The key with which this node signs its checkpoints.
    pub key: KeyId,
}

impl Node {
    /// The newest roll of this node.
    pub fn head(&self) -> Cursor {
        self.feed.head()
    }

    /// Follows the fleet and takes turns until `shutdown` completes. While the servers cannot be
    /// reached, or the histories differ, the node only serves, and tries again.
    ///
    /// # Errors
    ///
    /// As for [`Pump::run`](crate::pump::Pump::run).
    pub async fn run(self, shutdown: impl Future<Output = ()> + Clone) -> Result<(), PumpError> {
        let mut reported = Reported::default();
        loop {
            let error = match Session::run(&self, &mut reported, shutdown.clone()).await? {
                End::Shutdown => return Ok(()),
                End::Error(error) => error,
            };
            let passing = error.is_passing();
            // It may quote what the log or a server says.
            let text = shortened_to(MAX_REASON, &printable(&error.to_string()));
            self.health.replicates(match passing {
                true => Replication::Unreachable(text.clone()),
                false => Replication::Refused(text.clone()),
            });
            reported.error(text, passing);
            let pause = within(if passing { PAUSE } else { LONG_PAUSE });
            select! {
                () = shutdown.clone() => return Ok(()),
                () = sleep(pause) => {}
            }
        }
    }
}

/// How many different settings of other nodes are logged.
const MAX_DIFFERENT: usize = 16;

/// The faults and differences that are already logged. A fault is logged once, not with every
/// attempt.
#[derive(Default)]
pub struct Reported {
    fault: Option<String>,
    /// Whether it is logged that this node follows, or why it does not.
    has_begun: bool,
    /// Whether it is logged that this node never rolls.
    only_follows: bool,
    /// The dice of other nodes that differ.
    dice: BTreeSet<String>,
    /// The times between rolls of other nodes that differ.
    every: BTreeSet<Duration>,
}

impl Reported {
    fn error(&mut self, text: String, passing: bool) {
        if self.fault.as_ref() == Some(&text) {
            return;
        }
        self.has_begun = true;
        if passing {
            warn!("lost touch with the fleet, trying again: {text}");
        } else {
            error!("this node does not follow the fleet: {text}");
        }
        self.fault = Some(text);
    }

    fn follows(&mut self, head: Cursor) {
        let head = head.id;
        if self.fault.take().is_some() || !self.has_begun {
            info!(head = head.0, "following the fleet's log from roll {head}");
        }
        self.has_begun = true;
    }

    fn only_follows(&mut self) {
        if !self.only_follows {
            self.only_follows = true;
            info!("the user may not propose rolls: this node only follows the fleet");
        }
    }

    fn every_differs(&mut self, theirs: Duration, ours: Duration) {
        if self.every.len() < MAX_DIFFERENT && self.every.insert(theirs) {
            warn!("another node of the fleet rolls every {theirs:?}, this one every {ours:?}");
        }
    }

    fn dice_differ(&mut self, theirs: String, ours: &Dice) {
        if self.dice.len() < MAX_DIFFERENT && !self.dice.contains(&theirs) {
            warn!("another node of the fleet rolls {theirs}, this one {ours}");
            self.dice.insert(theirs);
        }
    }
}
