//! A reader: a cursor that moves along the rolls.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::feed::sync::{self, Sync};
use crate::feed::window::{Next, Window};
use crate::feed::{Sent, Shared, Signal};
use crate::roll::RollId;
use crate::store::StoreError;

/// Rolls that are fetched from the store at a time: what a reader far behind costs in memory.
const N_FETCHED: usize = 128;

/// One client's way through the rolls.
pub struct Reader {
    shared: Arc<Shared>,
    signal: watch::Receiver<Signal>,
    n_beats: u64,
    /// The last roll handed out, or the place to start after.
    last: RollId,
    /// To be said before the next roll.
    sync: Option<Sync>,
    /// From the store, not handed out yet.
    fetched: VecDeque<Arc<Sent>>,
}

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
    pub(super) fn new(
        shared: Arc<Shared>,
        mut signal: watch::Receiver<Signal>,
        sync: Sync,
    ) -> Reader {
        let n_beats = signal.borrow_and_update().n_beats;
        Reader {
            shared,
            n_beats,
            signal,
            last: sync.start,
            sync: Some(sync),
            fetched: VecDeque::new(),
        }
    }

    /// The next item, as soon as there is one; `None` when the feed is closed.
    ///
    /// An error leaves the reader where it is, with no roll left out. Dropping the future does
    /// too.
    pub async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        loop {
            // Marked as seen before the look, so that what comes between look and wait wakes.
            let signal = *self.signal.borrow_and_update();
            if signal.closed {
                return Ok(None);
            }
            if let Some(sync) = self.sync.take() {
                return Ok(Some(Item::Sync(sync)));
            }
            if let Some(sent) = self.fetched.front() {
                let sent = sent.clone();
                return Ok(Some(self.hand_out(sent)));
            }
            match self.shared.window(|window| window.after(self.last)) {
                Next::Roll(sent) => return Ok(Some(self.hand_out(sent))),
                Next::Older(oldest_in_memory) => {
                    let rolls = match self.shared.store.after(self.last, N_FETCHED).await {
                        // Its turn will come; a client has no use for an end here.
                        Err(StoreError::Busy) => continue,
                        rolls => rolls?,
                    };
                    self.fetched.extend(rolls.iter().map(|roll| Arc::new(Sent::from(roll))));
                    if self.fetched.is_empty() {
                        // Pruned from the store, newest included, but still in memory.
                        self.fetched.extend(oldest_in_memory);
                    }
                    if self.fetched.is_empty() {
                        return Ok(Some(self.all_pruned()));
                    }
                }
                Next::CaughtUp if signal.n_beats != self.n_beats => {
                    self.n_beats = signal.n_beats;
                    return Ok(Some(Item::Heartbeat));
                }
                Next::CaughtUp => {
                    // It cannot be dropped while this reader holds the feed.
                    let _ = self.signal.changed().await;
                }
            }
        }
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
