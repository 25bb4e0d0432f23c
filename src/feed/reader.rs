//! A reader: a cursor that moves along the rolls.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::backoff::Backoff;
use crate::feed::primitives::Ordering;
use crate::feed::start::{self, SyncEvent};
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
    /// What the reader needs from the store. Only a lagging one needs it.
    lagging: Option<Box<Lagging>>,
}

/// A read from the store, and the rolls that it brought.
struct Lagging {
    read: Read,
    backoff: Backoff,
    /// Read, but not delivered yet.
    rolls: VecDeque<Arc<Sent>>,
}

/// How far the read is.
enum Read {
    Started(Pin<Box<dyn Future<Output = Result<Rows, StoreError>> + Send>>),
    /// It failed; the next attempt comes after a pause.
    Pausing(Pin<Box<Sleep>>),
    Finished,
}

/// What a reader gets.
#[derive(Debug)]
pub enum Item {
    /// How the rolls that follow continue what the client has. Comes first, and again if rolls
    /// were pruned before a slow reader got them.
    Sync(SyncEvent),
    /// The next roll.
    Roll(Arc<Sent>),
    /// There was no roll for a while.
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
            lagging: None,
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
            if let Some(lagging) = &mut self.lagging {
                if let Some(sent) = lagging.rolls.front() {
                    let sent = sent.clone();
                    return Poll::Ready(Ok(Some(self.deliver(sent))));
                }
                match &mut lagging.read {
                    Read::Started(read) => {
                        let result = ready!(read.as_mut().poll(cx));
                        if let Some(item) = self.finish_read(result)? {
                            return Poll::Ready(Ok(Some(item)));
                        }
                        continue;
                    }
                    Read::Pausing(pause) => {
                        if pause.as_mut().poll(cx).is_ready() {
                            self.start_read();
                        } else if self.shared.wakers.wait(
                            // The end of the feed ends a pause, too.
                            &mut self.registration,
                            n_wakes,
                            cx.waker(),
                        ) {
                            return Poll::Pending;
                        }
                        continue;
                    }
                    Read::Finished => {}
                }
            }
            match self.shared.window(|window| window.after(self.last)) {
                Next::Roll(sent) => {
                    self.lagging = None;
                    return Poll::Ready(Ok(Some(self.deliver(sent))));
                }
                Next::Older(_) => self.start_read(),
                Next::CaughtUp => {
                    self.lagging = None;
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

    fn start_read(&mut self) {
        let (store, last) = (self.shared.store.clone(), self.last);
        let read = Read::Started(Box::pin(async move { store.after(last, N_FETCHED).await }));
        match &mut self.lagging {
            Some(lagging) => lagging.read = read,
            None => {
                let backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
                let rolls = VecDeque::new();
                self.lagging = Some(Box::new(Lagging { read, backoff, rolls }));
            }
        }
    }

    /// Keeps the rolls from the store for delivery, or returns the news that none are left.
    fn finish_read(
        &mut self,
        result: Result<Rows, StoreError>,
    ) -> Result<Option<Item>, StoreError> {
        let lagging = self.lagging.as_mut().expect("a read that finishes was started");
        lagging.read = Read::Finished;
        let rows = match result {
            Err(error) if error.is_load() => {
                // The client gains nothing if its stream ends here.
                lagging.read = Read::Pausing(Box::pin(sleep(lagging.backoff.next_pause())));
                return Ok(None);
            }
            result => result?,
        };
        lagging.backoff.reset();
        if let (true, Some(newest)) = (rows.rolls.is_empty(), rows.newest()) {
            // None of these rows can be read. Before one that can, `deliver` counts them as lost.
            return Ok(Some(self.skip_to(newest.next())));
        }
        lagging.rolls.extend(rows.rolls.iter().map(|roll| Arc::new(Sent::from(roll))));
        if lagging.rolls.is_empty()
            && let Next::Older(oldest_in_memory) = self.shared.window(|w| w.after(self.last))
        {
            // Pruned from the store up to the newest, but perhaps still in memory.
            match oldest_in_memory {
                Some(oldest) => lagging.rolls.push_back(oldest),
                None => return Ok(Some(self.all_pruned())),
            }
        }
        Ok(None)
    }

    /// The roll; or first a sync, if rolls before it are gone.
    fn deliver(&mut self, sent: Arc<Sent>) -> Item {
        let id = sent.cursor.id;
        if id != self.last.next() {
            return self.skip_to(id);
        }
        if let Some(lagging) = &mut self.lagging {
            lagging.rolls.pop_front();
        }
        self.last = id;
        Item::Roll(sent)
    }

    /// No roll after the last delivered one is left.
    fn all_pruned(&mut self) -> Item {
        let head = self.shared.window(Window::head);
        self.skip_to(head.id.next())
    }

    fn skip_to(&mut self, oldest: RollId) -> Item {
        let head = self.shared.window(Window::head);
        let sync = start::pruned(self.last, oldest, head);
        self.last = sync.start;
        Item::Sync(sync)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.wakers.deregister(&self.registration);
    }
}
