//! Rolls that other nodes of a fleet have already, and this one has not.
//!
//! A client that comes from another node may be ahead. It waits until this node has the roll,
//! instead of hearing that there is no such roll.

use std::time::Duration;

use rocket::tokio::time::timeout;

use crate::feed::Feed;
use crate::health::{Health, Replication};
use crate::roll::RollId;
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;

/// How long a request waits.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// While this node is in touch with the others, it is never further behind than this.
const MAX_AHEAD: Duration = Duration::from_secs(15);
/// The same in rolls, however long the interval. A node that joins may be a few rolls behind, and
/// another node may roll faster than this one.
const MIN_AHEAD: u128 = 15;
/// When the client should come back.
const RETRY_SECONDS: u64 = 5;

/// Waits for rolls; cheap to clone. On a single machine there is nothing to wait for.
#[derive(Clone)]
pub struct Ahead {
    feed: Feed,
    health: Health,
    every: Duration,
}

/// The node does not have the roll yet. It holds no connection to the database meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    id: RollId,
    head: RollId,
}

impl Ahead {
    /// Waits for rolls of a feed in which one is made every `every`.
    pub fn new(feed: Feed, health: Health, every: Duration) -> Ahead {
        Ahead { feed, health, every }
    }

    /// Returns when this node has the roll `id`, or will not have it soon: then the answer is the
    /// same as on a single machine.
    ///
    /// # Errors
    ///
    /// [`Behind`] if the fleet may have the roll, but this node did not get it within 5 s.
    pub async fn wait_for(&self, id: RollId) -> Result<(), Behind> {
        let head = self.feed.head().id;
        if id <= head {
            return Ok(());
        }
        let Some(replication) = self.health.replication() else { return Ok(()) };
        let n_due = MAX_AHEAD.as_millis() / self.every.as_millis().max(1);
        let n_at_most = n_due.max(MIN_AHEAD) + 1;
        let n_ahead = (id.0 - head.0) as u128;
        if replication == Replication::Following && n_ahead > n_at_most {
            return Ok(());
        }
        let reached = timeout(MAX_WAIT, self.feed.reach(id)).await;
        reached.map_err(|_elapsed| Behind { id, head: self.feed.head().id })
    }

    /// The same for a request that names a roll which its client need not have seen. If this node
    /// is in touch with its fleet and did not get the roll within 5 s, there is no such roll: the
    /// answer is the same as on a single machine.
    ///
    /// # Errors
    ///
    /// [`Behind`] if this node is not in touch with its fleet.
    pub async fn wait_for_any(&self, id: RollId) -> Result<(), Behind> {
        let waited = self.wait_for(id).await;
        waited.or_else(|behind| if self.health.is_in_touch() { Ok(()) } else { Err(behind) })
    }
}

impl From<Behind> for HttpError {
    fn from(Behind { id, head }: Behind) -> HttpError {
        let message = format!(
            "This server does not have roll {id} yet; its newest is {head}. It follows the other \
             servers of its fleet; try again soon."
        );
        HttpError::later(ErrorCode::Behind, message, RETRY_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rocket::tokio::time::Instant;
    use rocket::tokio::{self, join};
    use tempfile::TempDir;

    use crate::feed::N_RECENT;
    use crate::roll::Roll;
    use crate::store::Store;

    const EVERY: Duration = Duration::from_secs(1);

    /// A node with 20 rolls.
    async fn node() -> (TempDir, Feed, Health, Ahead) {
        let (folder, store) = Store::with_rolls(20).await;
        let feed = Feed::open(store, N_RECENT, Duration::from_secs(15)).await.expect("a feed");
        let health = Health::new(EVERY);
        let ahead = Ahead::new(feed.clone(), health.clone(), EVERY);
        (folder, feed, health, ahead)
    }

    async fn waits(ahead: &Ahead, id: i64) -> (bool, Duration) {
        let start = Instant::now();
        (ahead.wait_for(RollId(id)).await.is_ok(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_machine_never_waits() {
        let (_folder, _feed, _health, ahead) = node().await;
        for id in [0, 20, 21, 35, 1_000_000] {
            assert_eq!(waits(&ahead, id).await, (true, Duration::ZERO), "roll {id}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_waits_five_seconds_for_a_roll_that_the_fleet_may_have() {
        let (_folder, _feed, health, ahead) = node().await;
        health.replicates(Replication::Following);
        assert_eq!(waits(&ahead, 20).await, (true, Duration::ZERO));
        for id in [21, 36] {
            assert_eq!(waits(&ahead, id).await, (false, MAX_WAIT), "roll {id}");
        }
        // Further than 15 s of rolls: not of this fleet.
        assert_eq!(waits(&ahead, 37).await, (true, Duration::ZERO));
        // Out of touch, nobody knows how far the others are.
        for replication in [
            Replication::CatchingUp { n_behind: 9 },
            Replication::Unreachable("no route".into()),
            Replication::Refused("another secret".into()),
        ] {
            health.replicates(replication);
            assert_eq!(waits(&ahead, 1_000_000).await, (false, MAX_WAIT));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_roll_that_a_node_in_touch_does_not_get_within_five_seconds_does_not_exist() {
        let (_folder, _feed, health, ahead) = node().await;
        let waits_for_any = async || {
            let start = Instant::now();
            (ahead.wait_for_any(RollId(21)).await.is_ok(), start.elapsed())
        };
        // The node follows, and then says nothing for 5 s.
        health.replicates(Replication::Following);
        assert_eq!(waits_for_any().await, (false, MAX_WAIT));
        for (replication, expected) in [
            (Replication::Following, true),
            (Replication::Unreachable("no route".into()), false),
            (Replication::CatchingUp { n_behind: 9 }, false),
        ] {
            let report = async {
                for _ in 0..10 {
                    health.replicates(replication.clone());
                    tokio::time::sleep(EVERY / 2).await;
                }
            };
            let (waited, ()) = join!(waits_for_any(), report);
            assert_eq!(waited, (expected, MAX_WAIT), "{replication:?}");
        }
        // A client has seen the roll of its cursor.
        health.replicates(Replication::Following);
        assert_eq!(waits(&ahead, 21).await, (false, MAX_WAIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_goes_on_as_soon_as_the_roll_is_there() {
        let (_folder, feed, health, ahead) = node().await;
        health.replicates(Replication::Following);
        let publish = async {
            for id in 21..=25 {
                tokio::time::sleep(EVERY / 2).await;
                feed.publish(&[Roll::example(id)]);
            }
        };
        let (waited, ()) = join!(waits(&ahead, 23), publish);
        assert_eq!(waited, (true, 3 * EVERY / 2));
    }
}
