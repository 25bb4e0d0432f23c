//! A reader: a cursor that moves along the rolls.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::backoff::{Backoff, retry};
use crate::feed::primitives::Ordering;
use crate::feed::start::{self, Reason, SyncEvent};
use crate::feed::wakers::Registration;
use crate::feed::window::{Next, Window};
use crate::feed::{Sent, Shared};
use crate::roll::RollId;
use crate::store::{Rows, StoreError};

/// Rolls that are fetched from the store at once. They bound the memory of a lagging reader.
const N_FETCHED: usize = 128;
/// After a read that the store was too busy for: the first pause, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// One client's position in the rolls.
pub struct Reader {
    shared: Arc<Shared>,
    registration: Registration,
    n_heartbeats: u64,
    /// The last delivered roll, or the one to start after.
    last: RollId,
    /// To deliver before the next roll.
    sync: Option<SyncEvent>,
    /// A read from the store, which only a lagging reader needs.
    fetching: Option<Box<Fetching>>,
    /// Rows from the store that are not delivered yet, oldest first.
    fetched: VecDeque<Fetched>,
}

/// A row from the store.
enum Fetched {
    Roll(Arc<Sent>),
    /// It cannot be read, so its roll is skipped.
    Unreadable(RollId),
}

impl Fetched {
    fn id(&self) -> RollId {
        match self {
            Fetched::Roll(sent) => sent.cursor.id,
            Fetched::Unreadable(id) => *id,
        }
    }
}

/// A read from the store that has not ended yet.
struct Fetching {
    rows: Pin<Box<dyn Future<Output = Result<Rows, StoreError>> + Send>>,
    /// The feed's own heartbeats do not come while there are rolls, which this reader does not get
    /// before the read has ended.
    heartbeats: Interval,
}

/// What a reader gets.
#[derive(Debug)]
pub enum Item {
    /// How the rolls that follow continue those of the client. Comes first, and again if rolls
    /// were pruned before a slow reader got them, or cannot be read.
    Sync(SyncEvent),
    /// The next roll.
    Roll(Arc<Sent>),
    /// There was no other item for a while.
    Heartbeat,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, sync: SyncEvent) -> Reader {
        Reader {
            registration: shared.wakers.register(),
            n_heartbeats: shared.n_heartbeats.load(Ordering::Acquire),
            shared,
            last: sync.start,
            sync: Some(sync),
            fetching: None,
            fetched: VecDeque::new(),
        }
    }

    /// Waits for the next item; `None` when the feed is closed.
    ///
    /// # Errors
    ///
    /// The store cannot be read. While it is only too busy, the reader waits and tries again.
    ///
    /// Neither an error nor dropping the future skips a roll.
    pub async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls for the next item. Otherwise like [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// As of [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Item>, StoreError>> {
        loop {
            // Before the checks, so that a wake-up between a check and the wait is noticed.
            let n_wakes = self.shared.wakers.n_wakes();
            if self.shared.closed.load(Ordering::Acquire) {
                return Poll::Ready(Ok(None));
            }
            if let Some(sync) = self.sync.take() {
                return Poll::Ready(Ok(Some(Item::Sync(sync))));
            }
            if let Some(item) = self.next_fetched() {
                return Poll::Ready(Ok(Some(item)));
            }
            if let Some(fetching) = &mut self.fetching {
                if let Poll::Ready(rows) = fetching.rows.as_mut().poll(cx) {
                    self.fetching = None;
                    if let Some(item) = self.keep(rows?) {
                        return Poll::Ready(Ok(Some(item)));
                    }
                } else if fetching.heartbeats.poll_tick(cx).is_ready() {
                    return Poll::Ready(Ok(Some(Item::Heartbeat)));
                } else if self.shared.wakers.wait(&mut self.registration, n_wakes, cx.waker()) {
                    // Woken by the end of the feed, too: the read may pause for seconds.
                    return Poll::Pending;
                }
                continue;
            }
            match self.shared.window(|window| window.after(self.last)) {
                Next::Roll(sent) => return Poll::Ready(Ok(Some(self.deliver(sent)))),
                Next::Older(_) => self.fetching = Some(Box::new(self.fetch())),
                Next::CaughtUp => {
                    let n_heartbeats = self.shared.n_heartbeats.load(Ordering::Acquire);
                    if n_heartbeats != self.n_heartbeats {
                        self.n_heartbeats = n_heartbeats;
                        return Poll::Ready(Ok(Some(Item::Heartbeat)));
                    }
                    if self.shared.wakers.wait(&mut self.registration, n_wakes, cx.waker()) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Reads the next rolls from the store. While the store is too busy, the client gains nothing
    /// if its stream ends, so the read is tried again.
    fn fetch(&self) -> Fetching {
        let (store, last) = (self.shared.store.clone(), self.last);
        let backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
        let rows = Box::pin(retry(backoff, StoreError::is_load, move || {
            let store = store.clone();
            async move { store.after(last, N_FETCHED).await }
        }));
        let heartbeat = self.shared.heartbeat;
        let mut heartbeats = interval_at(Instant::now() + heartbeat, heartbeat);
        // A client that did not read for a while gets one heartbeat, not all that it missed.
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Fetching { rows, heartbeats }
    }

    /// Keeps the rows from the store for delivery, or returns the news that none are left.
    fn keep(&mut self, Rows { rolls, unreadable }: Rows) -> Option<Item> {
        self.fetched.extend(rolls.iter().map(|roll| Fetched::Roll(Arc::new(Sent::from(roll)))));
        self.fetched.extend(unreadable.iter().map(|row| Fetched::Unreadable(row.id)));
        self.fetched.make_contiguous().sort_by_key(Fetched::id);
        if self.fetched.is_empty()
            && let Next::Older(oldest_in_memory) = self.shared.window(|w| w.after(self.last))
        {
            // Pruned from the store up to the newest, but perhaps still in memory.
            match oldest_in_memory {
                Some(oldest) => self.fetched.push_back(Fetched::Roll(oldest)),
                None => return Some(self.all_pruned()),
            }
        }
        None
    }

    /// The next roll from the store; or first a sync, if rolls before it are skipped.
    fn next_fetched(&mut self) -> Option<Item> {
        let id = self.fetched.front()?.id();
        if id != self.last.next() {
            return Some(self.skip_to(id, Reason::Pruned));
        }
        Some(match self.fetched.pop_front()? {
            Fetched::Roll(sent) => self.deliver(sent),
            Fetched::Unreadable(id) => {
                let mut next = id.next();
                // One sync for all that follow each other.
                while let Some(Fetched::Unreadable(id)) = self.fetched.front()
                    && *id == next
                {
                    self.fetched.pop_front();
                    next = next.next();
                }
                self.skip_to(next, Reason::Unreadable)
            }
        })
    }

    fn deliver(&mut self, sent: Arc<Sent>) -> Item {
        self.last = sent.cursor.id;
        Item::Roll(sent)
    }

    /// No roll after the last delivered one is left.
    fn all_pruned(&mut self) -> Item {
        let head = self.shared.window(Window::head);
        self.skip_to(head.id.next(), Reason::Pruned)
    }

    /// Skips the rolls before `next`.
    fn skip_to(&mut self, next: RollId, reason: Reason) -> Item {
        let head = self.shared.window(Window::head);
        let sync = start::skipped(reason, self.last, next, head);
        self.last = sync.start;
        Item::Sync(sync)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.wakers.deregister(&self.registration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures::FutureExt;
    use tempfile::TempDir;
    use tokio::runtime::Handle;
    use tokio::time::timeout;

    use crate::config::{Keep, StoreConfig};
    use crate::feed::{Feed, Start};
    use crate::roll::{Roll, RolledAt};
    use crate::store::Store;

    const HEARTBEAT: Duration = Duration::from_secs(1);

    /// Roll `id`.
    fn roll(id: i64) -> Roll {
        Roll {
            id: RollId(id),
            rolled_at: RolledAt::truncate(jiff::Timestamp::from_second(id).expect("a time")),
            dice: r#"{"1D6":4}"#.parse().expect("results"),
        }
    }

    /// A store of 20 rolls, and a feed that has the newest 2 of them in memory.
    async fn feed() -> (TempDir, Store, Feed) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("rolls.db");
        let config = StoreConfig { database, keep: Keep::Forever, n_reserve_bytes: 0 };
        let store = Store::open(&config).await.expect("a store");
        store.apply((1..=20).map(roll).collect()).await.expect("space");
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
        store.apply((21..=200).map(roll).collect()).await.expect("space");
        let permits = store.all_long_permits().await;
        let rolling = tokio::spawn({
            let feed = feed.clone();
            async move {
                for id in 21..=200 {
                    tokio::time::sleep(HEARTBEAT / 4).await;
                    feed.publish(&[roll(id)]);
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
        assert_eq!(feed.0.wakers.n_entries(), 1);
        drop(reader);
        assert_eq!(feed.0.wakers.n_entries(), 0);
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
}
