//! A reader: a cursor that moves along the rolls.

#[cfg(test)]
mod tests;

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
use crate::feed::wakers::{Registration, Wakers};
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
    wakers: Arc<Wakers>,
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
    pub(super) fn new(shared: Arc<Shared>, wakers: Arc<Wakers>, sync: SyncEvent) -> Reader {
        Reader {
            registration: wakers.register(),
            wakers,
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
            let n_wakes = self.wakers.n_wakes();
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
                } else if self.wakers.wait(&mut self.registration, n_wakes, cx.waker()) {
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
                    if self.wakers.wait(&mut self.registration, n_wakes, cx.waker()) {
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

    /// Keeps the rows from the store for delivery. Returns a sync if none are left.
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
        self.wakers.deregister(&self.registration);
    }
}
