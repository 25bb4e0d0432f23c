//! Tests of a reader that lags behind the window.

use super::*;

use futures::FutureExt;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::feed::{Feed, Start};
use crate::roll::Roll;
use crate::store::Store;

const HEARTBEAT: Duration = Duration::from_secs(1);

/// A store of 20 rolls, and a feed that has the newest 2 of them in memory.
async fn feed() -> (TempDir, Store, Feed) {
    let (folder, store) = Store::with_rolls(20).await;
    let feed = Feed::open(store.clone(), 2, HEARTBEAT).await.expect("a feed");
    (folder, store, feed)
}

async fn lagging(feed: &Feed) -> Reader {
    let mut reader = feed.after(Start::After(RollId(0).into())).await.expect("a reader");
    let first = reader.next().await.expect("a store that can be read");
    assert!(matches!(first, Some(Item::Sync(_))), "{first:?}");
    reader
}

async fn ids(reader: &mut Reader, n: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    while ids.len() < n {
        match reader.next().await.expect("a store that can be read") {
            Some(Item::Roll(sent)) => ids.push(sent.cursor.id.0),
            Some(Item::Heartbeat) => {}
            other => panic!("expected a roll, got {other:?}"),
        }
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_busy_a_lagging_reader_pauses_and_then_gets_every_roll() {
    let (_folder, store, feed) = feed().await;
    let mut reader = lagging(&feed).await;
    let permits = store.all_long_permits().await;
    let started = Instant::now();
    let (mut n_samples, mut n_reading) = (0, 0);
    // Each attempt waits 0.5 s for a permit, in a task; then comes a pause of up to 5 s.
    while started.elapsed() < Duration::from_secs(60) {
        // A heartbeat neither ends the read nor starts it again, which would shorten the pauses.
        if let Ok(item) = timeout(Duration::from_millis(50), reader.next()).await {
            let item = item.expect("a busy store is no error");
            assert!(matches!(item, Some(Item::Heartbeat)), "{item:?}");
        }
        n_samples += 1;
        n_reading += Handle::current().metrics().num_alive_tasks();
    }
    assert!(n_reading > 0 && n_reading * 3 < n_samples, "{n_reading} of {n_samples} moments");
    drop(permits);
    assert_eq!(ids(&mut reader, 20).await, (1..=20).collect::<Vec<i64>>());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_for_the_store_gets_heartbeats_also_while_there_are_rolls() {
    let (_folder, store, feed) = feed().await;
    let mut reader = lagging(&feed).await;
    store.apply((21..=200).map(Roll::example).collect()).await.expect("space");
    let permits = store.all_long_permits().await;
    let rolling = tokio::spawn({
        let feed = feed.clone();
        async move {
            for id in 21..=200 {
                tokio::time::sleep(HEARTBEAT / 4).await;
                feed.publish(&[Roll::example(id)]);
            }
        }
    });
    let started = Instant::now();
    for n in 1..=30 {
        let item = timeout(2 * HEARTBEAT, reader.next()).await.expect("a heartbeat");
        let item = item.expect("a busy store is no error");
        assert!(matches!(item, Some(Item::Heartbeat)), "{item:?}");
        let late = started.elapsed().checked_sub(n * HEARTBEAT).expect("not too early");
        assert!(late < HEARTBEAT / 10, "heartbeat {n} is {late:?} late");
    }
    assert!(!rolling.is_finished());
    drop(permits);
    assert_eq!(ids(&mut reader, 100).await, (1..=100).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_reader_that_leaves_does_not_stay_among_those_that_wait() {
    let (_folder, _store, feed) = feed().await;
    let mut reader = feed.after(Start::Live).await.expect("a reader");
    reader.next().await.expect("the first sync");
    assert!(reader.next().now_or_never().is_none(), "expected a reader that waits");
    assert_eq!(feed.wakers.n_entries(), 1);
    drop(reader);
    assert_eq!(feed.wakers.n_entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_readers_of_a_branch_are_woken_by_its_relay_and_only_by_it() {
    let (_folder, _store, feed) = feed().await;
    let branch = feed.branch();
    let mut reader = branch.after(Start::Live).await.expect("a reader");
    reader.next().await.expect("the first sync");
    let waiting = tokio::spawn(async move { ids(&mut reader, 2).await });
    tokio::time::sleep(HEARTBEAT).await;
    assert_eq!((branch.wakers.n_entries(), feed.wakers.n_entries()), (1, 0));

    // Control: without the relay, nothing wakes the reader.
    feed.publish(&[Roll::example(21), Roll::example(22)]);
    tokio::time::sleep(HEARTBEAT).await;
    assert!(!waiting.is_finished());

    let relay = tokio::spawn(async move { branch.relay().await });
    assert_eq!(waiting.await.expect("no panic"), [21, 22]);
    feed.close();
    relay.await.expect("the relay ends with the feed");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_feed_ends_a_pause() {
    let (_folder, store, feed) = feed().await;
    let mut reader = lagging(&feed).await;
    let _permits = store.all_long_permits().await;
    let waiting = tokio::spawn(async move {
        while reader.next().await.expect("a busy store is no error").is_some() {}
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    let closed = Instant::now();
    feed.close();
    waiting.await.expect("no panic");
    assert!(closed.elapsed() < Duration::from_millis(1), "after {:?}", closed.elapsed());
}
