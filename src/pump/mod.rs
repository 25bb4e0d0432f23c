//! The pump: moves rolls from the clock to the store to the feed.
//!
//! On each tick it takes the next id, draws the dice for it, stores the roll and publishes it. It
//! is the only one on this machine that decides which roll comes next.

#[cfg(test)]
mod tests;

use std::future::ready;
use std::mem;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use futures::{Stream, StreamExt};
use tokio::select;
use tokio::time::sleep;
use tracing::{debug, error, info};

use crate::dice::Results;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::StoreError;

/// How long to wait before storing a roll again: doubled after each failure, up to the maximum.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);
/// Rolls that come due during one commit: the most that one commit stores when the disk is slow.
const MAX_GROUP: usize = 64;
/// How long a stop waits for the commit under way. A supervisor kills the server after 10 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// Why no more rolls are made.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// No later attempt can succeed.
    #[error("rolls can no longer be stored")]
    Store(#[source] StoreError),
    /// A commit hangs during a stop. Its rolls may or may not be stored.
    #[error(
        "the database's disk does not answer: a commit did not end within {} s of the stop; no \
         roll is lost, since the rolls of that commit were never shown", STOP_TIMEOUT.as_secs()
    )]
    NoAnswer,
}

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
        let mut delay = MIN_RETRY_DELAY;
        let (mut n_failures, mut logged_fault) = (0_u32, String::new());
        loop {
            let start = Instant::now();
            let mut commit = pin!((self.apply)(rolls.clone()));
            let mut give_up = pin!(async {
                shutdown.clone().await;
                sleep(STOP_TIMEOUT).await;
            });
            let result = loop {
                select! {
                    biased;
                    result = &mut commit => break result,
                    () = &mut give_up => return Err(PumpError::NoAnswer),
                    Some(rolled_at) = due.ticks.next(),
                        if n_failures == 0 && due.rolled_at.len() < MAX_GROUP =>
                    {
                        due.rolled_at.push(rolled_at);
                    }
                }
            };
            let error = match result {
                Ok(()) => {
                    self.metrics.appended(rolls.len(), start.elapsed());
                    self.health.committed();
                    if n_failures > 0 {
                        info!(n_failures, "rolls are stored again");
                    }
                    return Ok(Some(rolls));
                }
                Err(
                    StoreError::NotNext { expected, .. } | StoreError::Conflict { expected, .. },
                ) => {
                    // Somebody else wrote to the database. Nobody has seen these rolls.
                    self.head = expected.previous();
                    rolls = self.draw_next(rolls.iter().map(|roll| roll.rolled_at).collect());
                    continue;
                }
                Err(error) if error.is_final() => return Err(PumpError::Store(error)),
                Err(error) => error,
            };
            // These ticks are missed: an outage is followed by its one group, not by a burst.
            due.rolled_at.clear();
            n_failures += 1;
            // Log each fault once, not with every attempt: a full disk would fill the log as well.
            let fault = format!("{:#}", anyhow!(error));
            self.metrics.append_failed();
            self.health.failed(fault.clone());
            if fault != logged_fault {
                error!("no roll can be stored, trying again: {fault}");
                logged_fault = fault;
            }
            select! {
                () = shutdown.clone() => return Ok(None),
                () = sleep(delay) => delay = (delay * 2).min(MAX_RETRY_DELAY),
            }
        }
    }
}
