//! Tests of the pump over a store in memory, with scripted commits and a paused clock.

use super::commits::STOP_TIMEOUT;
use super::*;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures::{FutureExt, stream};
use jiff::Timestamp;
use tokio::time::{self, timeout};

use crate::clock::ticks;
use crate::dice::DieResult;
use crate::health::Audience;

/// A store in memory that follows the contract of `Store::apply`. It records all calls and all
/// published rolls.
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
    assert!(
        store.health.problems(Audience::ThisMachine).is_empty()
            && store.health.last_commit().is_some()
    );
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
    assert_eq!(store.health.problems(Audience::ThisMachine), [fault]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_rolled_once_the_server_stops() {
    let store = FakeStore::new([]);
    store.pump(n_ticks(1), ready(())).await.expect("an orderly end");
    assert_eq!(store.ids(), Vec::<Vec<i64>>::new());
}
