//! The pump: moves rolls from the clock to the store to the feed.
//!
//! On each tick it takes the next id, draws the dice for it, stores the roll and publishes it. It
//! is the only one on this machine that decides which roll comes next.

mod commits;
#[cfg(test)]
mod tests;

use std::future::ready;
use std::mem;
use std::pin::pin;

use futures::{Stream, StreamExt};
use tokio::select;
use tokio::time::sleep;
use tracing::debug;

use crate::dice::Results;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::StoreError;

pub use self::commits::{Commits, PumpError};

/// Rolls that come due during one commit: the most that one commit stores when the disk is slow.
const MAX_GROUP: usize = 64;

/// A pump for one server. `D` draws the results of the roll with an id, `A` stores rolls durably
/// as [`Store::apply`](crate::store::Store::apply) does, `P` publishes stored rolls.
pub struct Pump<D, A, P> {
    /// The newest roll that is stored.
    pub head: RollId,
    /// Draws dice.
    pub draw: D,
    /// Stores rolls.
    pub apply: A,
    /// Publishes rolls.
    pub publish: P,
    /// Counts rolls and failures.
    pub metrics: Metrics,
    /// Learns of commits and faults.
    pub health: Health,
}

/// Timestamps of rolls that came due during a commit.
struct Due<T> {
    ticks: T,
    rolled_at: Vec<RolledAt>,
}

impl<D, A, F, P> Pump<D, A, P>
where
    D: FnMut(RollId) -> Results,
    A: FnMut(Vec<Roll>) -> F,
    F: Future<Output = Result<(), StoreError>>,
    P: FnMut(&[Roll]),
{
    /// Makes a roll at each of the `ticks` until `shutdown` completes.
    ///
    /// One commit stores all rolls that came due during the commit before, so the clock is kept
    /// even where a commit takes longer than the time between rolls. A roll that cannot be stored
    /// is tried again until it is, with its id, time and dice. No roll is made meanwhile.
    ///
    /// # Errors
    ///
    /// [`PumpError::Store`] after a [final](StoreError::is_final) error of the store,
    /// [`PumpError::NoAnswer`] if a commit hangs during the shutdown.
    pub async fn run(
        mut self,
        ticks: impl Stream<Item = RolledAt>,
        shutdown: impl Future<Output = ()> + Clone,
    ) -> Result<(), PumpError> {
        let mut due = Due { ticks: pin!(ticks), rolled_at: Vec::new() };
        loop {
            // Checked after every commit: on a slow disk there are always rolls that are due.
            select! {
                biased;
                () = shutdown.clone() => return Ok(()),
                () = ready(()), if !due.rolled_at.is_empty() => {}
                Some(rolled_at) = due.ticks.next() => due.rolled_at.push(rolled_at),
            }
            let rolls = self.draw_next(mem::take(&mut due.rolled_at));
            let Some(stored) = self.store(rolls, &mut due, &shutdown).await? else {
                return Ok(());
            };
            for Roll { id, .. } in &stored {
                debug!(roll.id = id.0, "stored roll {id}");
                self.head = *id;
            }
            (self.publish)(&stored);
        }
    }

    /// The rolls after the head that are due.
    fn draw_next(&mut self, due: Vec<RolledAt>) -> Vec<Roll> {
        let mut id = self.head;
        let rolls = due.into_iter().map(|rolled_at| {
            id = id.next();
            Roll { id, rolled_at, dice: (self.draw)(id) }
        });
        rolls.collect()
    }

    /// Stores rolls, however long that takes, and returns them. `None` if the server stops first.
    async fn store(
        &mut self,
        mut rolls: Vec<Roll>,
        due: &mut Due<impl Stream<Item = RolledAt> + Unpin>,
        shutdown: &(impl Future<Output = ()> + Clone),
    ) -> Result<Option<Vec<Roll>>, PumpError> {
        let (metrics, health) = (self.metrics.clone(), self.health.clone());
        let mut commits = Commits::new(&metrics, &health);
        loop {
            let result = {
                let commit = (self.apply)(rolls.clone());
                let mut commit = pin!(commits.wait_for(commit, rolls.len(), shutdown));
                loop {
                    select! {
                        biased;
                        result = &mut commit => break result?,
                        Some(rolled_at) = due.ticks.next(),
                            if commits.n_failures() == 0 && due.rolled_at.len() < MAX_GROUP =>
                        {
                            due.rolled_at.push(rolled_at);
                        }
                    }
                }
            };
            let error = match result {
                Ok(()) => return Ok(Some(rolls)),
                Err(
                    StoreError::NotNext { expected, .. } | StoreError::Conflict { expected, .. },
                ) => {
                    // Somebody else wrote to the database. Nobody has seen these rolls.
                    self.head = expected.previous();
                    rolls = self.draw_next(rolls.iter().map(|roll| roll.rolled_at).collect());
                    continue;
                }
                Err(error) => error,
            };
            let delay = commits.failed(error)?;
            // These ticks are missed: an outage is followed by its one group, not by a burst.
            due.rolled_at.clear();
            select! {
                () = shutdown.clone() => return Ok(None),
                () = sleep(delay) => {}
            }
        }
    }
}
