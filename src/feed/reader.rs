//! A reader: a cursor that moves along the rolls.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use crate::feed::sync::{self, Sync};
use crate::feed::waiters::Place;
use crate::feed::window::{Next, Window};
use crate::feed::{Sent, Shared};
use crate::roll::{Roll, RollId};
use crate::store::StoreError;

/// Rolls that are fetched from the store at a time: what a reader far behind costs in memory.
const N_FETCHED: usize = 128;

/// One client's way through the rolls.
pub struct Reader {
    shared: Arc<Shared>,
    place: Place,
    n_beats: u64,
    /// The last roll handed out, or the place to start after.
    last: RollId,
    /// To be said before the next roll.
    sync: Option<Sync>,
    /// On the way from the store.
    fetching: Option<Fetching>,
    /// From the store, not handed out yet.
    fetched: VecDeque<Arc<Sent>>,
}

type Fetching = Pin<Box<dyn Future<Output = Result<Vec<Roll>, StoreError>> + Send>>;

/// What a reader gets.
#[derive(Debug)]
pub enum Item {
    /// What the rolls that follow mean. Comes first, and again if rolls were pruned away before
    /// a slow reader came to them.
    Sync(Sync),
    /// The next roll.
    Roll(Arc<Sent>),
    /// Nothing for a while.
    Heartbeat,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, sync: Sync) -> Reader {
        Reader {
            place: shared.waiters.place(),
            n_beats: shared.n_beats.load(Ordering::Acquire),
            shared,
            last: sync.start,
            sync: Some(sync),
            fetching: None,
            fetched: VecDeque::new(),
        }
    }

    /// The next item, as soon as there is one; `None` when the feed is closed.
    ///
    /// An error leaves the reader where it is, with no roll left out. Dropping the future does
    /// too.
    pub async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, for a body that is polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Item>, StoreError>> {
        loop {
            // Before the look, so that what comes between look and wait is not missed.
            let n_signals = self.shared.waiters.n_signals();
            if self.shared.closed.load(Ordering::Acquire) {
                return Poll::Ready(Ok(None));
            }
            if let Some(sync) = self.sync.take() {
                return Poll::Ready(Ok(Some(Item::Sync(sync))));
            }
            if let Some(sent) = self.fetched.front() {
                let sent = sent.clone();
                return Poll::Ready(Ok(Some(self.hand_out(sent))));
            }
            if let Some(fetching) = &mut self.fetching {
                let rolls = ready!(fetching.as_mut().poll(cx));
                self.fetching = None;
                match rolls {
                    // Its turn will come; a client has no use for an end here.
                    Err(error) if error.is_load() => {}
                    rolls => {
                        if let Some(item) = self.take_in(rolls?) {
                            return Poll::Ready(Ok(Some(item)));
                        }
                    }
                }
                continue;
            }
            match self.shared.window(|window| window.after(self.last)) {
                Next::Roll(sent) => return Poll::Ready(Ok(Some(self.hand_out(sent)))),
                Next::Older(_) => {
                    let (store, last) = (self.shared.store.clone(), self.last);
                    self.fetching =
                        Some(Box::pin(async move { store.after(last, N_FETCHED).await }));
                }
                Next::CaughtUp => {
                    let n_beats = self.shared.n_beats.load(Ordering::Acquire);
                    if n_beats != self.n_beats {
                        self.n_beats = n_beats;
                        return Poll::Ready(Ok(Some(Item::Heartbeat)));
                    }
                    if self.shared.waiters.wait(&mut self.place, n_signals, cx.waker()) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Keeps what came from the store, or says that there is nothing left.
    fn take_in(&mut self, rolls: Vec<Roll>) -> Option<Item> {
        self.fetched.extend(rolls.iter().map(|roll| Arc::new(Sent::from(roll))));
        if self.fetched.is_empty()
            && let Next::Older(oldest_in_memory) = self.shared.window(|w| w.after(self.last))
        {
            // Pruned from the store, newest included, but perhaps still in memory.
            self.fetched.extend(oldest_in_memory);
            if self.fetched.is_empty() {
                return Some(self.all_pruned());
            }
        }
        None
    }

    /// The roll, or first the news that those before it are gone.
    fn hand_out(&mut self, sent: Arc<Sent>) -> Item {
        let id = sent.cursor.id;
        if id != self.last.next() {
            return self.skip_to(id);
        }
        self.fetched.pop_front();
        self.last = id;
        Item::Roll(sent)
    }

    /// Nothing is left of what came after the last roll.
    fn all_pruned(&mut self) -> Item {
        let head = self.shared.window(Window::head);
        self.skip_to(head.id.next())
    }

    fn skip_to(&mut self, oldest: RollId) -> Item {
        let head = self.shared.window(Window::head);
        let sync = sync::pruned(self.last, oldest, head);
        self.last = sync.start;
        Item::Sync(sync)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.waiters.leave(&self.place);
    }
}
