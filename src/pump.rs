//! The pump: moves rolls from the clock to the store to the feed.
//!
//! On each tick it takes the next id, draws the dice for it, stores the roll and publishes it. It
//! is the only one on this machine that decides which roll comes next.

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

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::future::pending;

    use futures::{FutureExt, stream};
    use jiff::Timestamp;
    use tokio::time::{self, timeout};

    use crate::clock::ticks;
    use crate::dice::DieResult;

    /// A store in memory that follows the contract of `Store::apply`, with the health and the rolls
    /// that others see.
    struct FakeStore {
        health: Health,
        stored: RefCell<Vec<Roll>>,
        published: RefCell<Vec<Roll>>,
        /// All calls, and when each began.
        calls: RefCell<Vec<(time::Duration, Vec<Roll>)>>,
        /// How long the next commits take and how they fail. All others succeed at once.
        script: RefCell<VecDeque<(Duration, Option<StoreError>)>>,
    }

    impl FakeStore {
        fn new(script: impl IntoIterator<Item = (u64, Option<StoreError>)>) -> FakeStore {
            let script = script.into_iter().map(|(ms, fault)| (Duration::from_millis(ms), fault));
            FakeStore {
                health: Health::new(Duration::from_secs(60)),
                stored: RefCell::default(),
                published: RefCell::default(),
                calls: RefCell::default(),
                script: RefCell::new(script.collect()),
            }
        }

        async fn apply(&self, start: time::Instant, rolls: Vec<Roll>) -> Result<(), StoreError> {
            self.calls.borrow_mut().push((start.elapsed(), rolls.clone()));
            let (duration, fault) = self.script.borrow_mut().pop_front().unwrap_or_default();
            sleep(duration).await;
            if let Some(fault) = fault {
                return Err(fault);
            }
            let mut stored = self.stored.borrow_mut();
            for roll in rolls {
                let expected = RollId(stored.len() as i64 + 1);
                match stored.get(roll.id.previous().0 as usize) {
                    Some(same) if *same == roll => {}
                    Some(_) => return Err(StoreError::Conflict { expected, given: roll.id }),
                    None if roll.id == expected => stored.push(roll),
                    None => return Err(StoreError::NotNext { expected, given: roll.id }),
                }
            }
            Ok(())
        }

        /// Runs a pump over this store until `shutdown`.
        async fn pump(
            &self,
            ticks: impl Stream<Item = RolledAt>,
            shutdown: impl Future<Output = ()>,
        ) -> Result<(), PumpError> {
            let start = time::Instant::now();
            let mut n_draws = 0;
            let pump = Pump {
                head: RollId(self.stored.borrow().len() as i64),
                // Each draw differs, so that a roll that is drawn again shows.
                draw: |_| {
                    n_draws += 1;
                    result(n_draws)
                },
                apply: |rolls| self.apply(start, rolls),
                publish: |rolls: &[Roll]| self.published.borrow_mut().extend_from_slice(rolls),
                metrics: Metrics::default(),
                health: self.health.clone(),
            };
            pump.run(ticks, shutdown.shared()).await
        }

        /// The ids of each call.
        fn ids(&self) -> Vec<Vec<i64>> {
            let calls = self.calls.borrow();
            calls.iter().map(|(_, rolls)| rolls.iter().map(|roll| roll.id.0).collect()).collect()
        }

        fn assert_published_is_stored(&self) {
            assert_eq!(*self.published.borrow(), *self.stored.borrow());
        }
    }

    fn result(result: u32) -> Results {
        Results(vec![DieResult { die: "1D1000".parse().expect("a die"), result }])
    }

    fn second(n: i64) -> RolledAt {
        RolledAt::truncate(Timestamp::from_second(n).expect("a timestamp"))
    }

    /// Ticks at the seconds 1 to `n`, all due at once, and then none.
    fn n_ticks(n: i64) -> impl Stream<Item = RolledAt> {
        stream::iter((1..=n).map(second)).chain(stream::pending())
    }

    fn every_second() -> impl Stream<Item = RolledAt> {
        ticks(Duration::from_secs(1))
    }

    fn after(milliseconds: u64) -> impl Future<Output = ()> {
        sleep(Duration::from_millis(milliseconds))
    }

    #[tokio::test(start_paused = true)]
    async fn each_tick_becomes_the_next_roll_which_is_stored_and_then_published() {
        let store = FakeStore::new([]);
        store.pump(every_second(), after(2_500)).await.expect("an orderly end");
        assert_eq!(store.ids(), [[1], [2], [3]]);
        let dice: Vec<Results> = store.stored.borrow().iter().map(|r| r.dice.clone()).collect();
        assert_eq!(dice, [result(1), result(2), result(3)]);
        store.assert_published_is_stored();
    }

    #[tokio::test(start_paused = true)]
    async fn a_roll_that_cannot_be_stored_is_retried_with_its_id_time_and_dice() {
        let store = FakeStore::new((0..7).map(|_| (0, Some(StoreError::Busy))));
        store.pump(n_ticks(1), after(60_000)).await.expect("an orderly end");
        let calls = store.calls.borrow();
        let roll = Roll { id: RollId(1), rolled_at: second(1), dice: result(1) };
        assert!(calls.iter().all(|(_, rolls)| *rolls == [roll.clone()]), "{calls:?}");
        // The delay doubles from 100 ms to 2 s.
        let started: Vec<u128> = calls.iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(started, [0, 100, 300, 700, 1_500, 3_100, 5_100, 7_100]);
        assert_eq!(*store.published.borrow(), [roll]);
        store.assert_published_is_stored();
        assert!(store.health.problems().is_empty() && store.health.last_commit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn rolls_that_come_due_during_a_slow_commit_share_the_next_one() {
        let store = FakeStore::new([(3_500, None)]);
        store.pump(every_second(), after(5_500)).await.expect("an orderly end");
        assert_eq!(store.ids(), [vec![1], vec![2, 3, 4], vec![5], vec![6]]);
        store.assert_published_is_stored();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_obeyed_even_if_every_commit_takes_longer_than_a_tick() {
        let store = FakeStore::new((0..1_000).map(|_| (1_500, None)));
        let start = time::Instant::now();
        store.pump(every_second(), after(5_200)).await.expect("an orderly end");
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        store.assert_published_is_stored();
    }

    #[tokio::test(start_paused = true)]
    async fn one_commit_stores_at_most_64_rolls_and_the_others_stay_in_order() {
        let store = FakeStore::new([(1_000, None), (1_000, None)]);
        store.pump(n_ticks(100), after(10_000)).await.expect("an orderly end");
        let sizes: Vec<usize> = store.ids().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 64, 35]);
        let times: Vec<RolledAt> = store.stored.borrow().iter().map(|r| r.rolled_at).collect();
        assert_eq!(times, (1..=100).map(second).collect::<Vec<_>>());
        store.assert_published_is_stored();
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_followed_by_its_own_rolls_and_not_by_a_burst() {
        let broken = || Some(StoreError::NoAnswer);
        let store = FakeStore::new([(5_000, broken()), (5_000, broken()), (5_000, broken())]);
        store.pump(every_second(), after(17_900)).await.expect("an orderly end");
        // It ends after 15.7 s: one tick is due then, and the next ones at its pace.
        assert_eq!(store.ids(), [[1], [1], [1], [1], [2], [3], [4]]);
        store.assert_published_is_stored();
    }

    #[tokio::test(start_paused = true)]
    async fn a_roll_whose_id_somebody_else_took_is_drawn_again_for_the_next_id_at_its_time() {
        let foreign = |n| Roll { id: RollId(n), rolled_at: second(9), dice: result(999) };
        let store = FakeStore::new([(1_000, None)]);
        let pump = store.pump(n_ticks(3), after(10_000));
        let outsider = async {
            sleep(Duration::from_millis(500)).await;
            store.stored.borrow_mut().extend([foreign(1), foreign(2)]);
        };
        let (ended, ()) = tokio::join!(pump, outsider);
        ended.expect("an orderly end");
        assert_eq!(store.ids(), [vec![1], vec![3], vec![4, 5]]);
        let ours: Vec<Roll> = (1..=3)
            .map(|n| {
                let dice = result(n + 1);
                Roll { id: RollId(i64::from(n) + 2), rolled_at: second(n.into()), dice }
            })
            .collect();
        assert_eq!(*store.published.borrow(), ours);
        assert_eq!(*store.stored.borrow(), [vec![foreign(1), foreign(2)], ours].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn ids_of_rows_that_somebody_else_deleted_are_never_reused() {
        let expected = RollId(41);
        let not_next = Some(StoreError::NotNext { expected, given: RollId(1) });
        let store = FakeStore::new([(0, not_next), (0, Some(StoreError::Stopped))]);
        store.pump(n_ticks(1), after(50)).await.expect("an orderly end");
        assert_eq!(store.ids(), [[1], [41]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_error_ends_the_pump_and_its_roll_is_not_published() {
        let moved = StoreError::Moved("rolls.db".into());
        let store = FakeStore::new([(0, None), (0, Some(StoreError::Busy)), (0, Some(moved))]);
        let ended = timeout(Duration::from_secs(60), store.pump(n_ticks(9), pending())).await;
        let error = ended.expect("an end").expect_err("an error");
        assert!(matches!(error, PumpError::Store(StoreError::Moved(_))), "{error}");
        assert_eq!(store.ids(), [[1], [2], [2]]);
        store.assert_published_is_stored();
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_stops_after_the_commit_that_is_under_way_and_publishes_its_rolls() {
        let store = FakeStore::new([(900, None)]);
        store.pump(every_second(), after(500)).await.expect("an orderly end");
        assert_eq!(store.ids(), [[1]]);
        store.assert_published_is_stored();
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_stops_without_a_commit_that_hangs_and_its_rolls_are_not_published() {
        // The second one hangs in an attempt that follows a failure.
        let table = [vec![(600_000, None)], vec![(0, Some(StoreError::Busy)), (600_000, None)]];
        for script in table {
            let store = FakeStore::new(script);
            let start = time::Instant::now();
            let ended = store.pump(every_second(), after(500)).await;
            let error = ended.expect_err("an error");
            assert!(matches!(error, PumpError::NoAnswer), "{error}");
            assert_eq!(start.elapsed(), Duration::from_millis(500) + STOP_TIMEOUT);
            assert!(store.published.borrow().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_stops_at_once_between_two_attempts_to_store_a_roll() {
        let store = FakeStore::new((0..9).map(|_| (0, Some(StoreError::Busy))));
        let start = time::Instant::now();
        store.pump(n_ticks(1), after(5_500)).await.expect("an orderly end");
        assert_eq!(start.elapsed(), Duration::from_millis(5_500));
        assert!(store.published.borrow().is_empty());
        let fault = format!("no roll can be stored: {}", StoreError::Busy);
        assert_eq!(store.health.problems(), [fault]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_rolled_once_the_server_stops() {
        let store = FakeStore::new([]);
        store.pump(n_ticks(1), ready(())).await.expect("an orderly end");
        assert_eq!(store.ids(), Vec::<Vec<i64>>::new());
    }
}
