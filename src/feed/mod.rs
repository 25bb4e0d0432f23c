//! The feed: delivers every stored roll to every reader, once and in order.
//!
//! A reader is a cursor and nothing else. A wake-up only means "check again": the next rolls are
//! those with a larger id than the cursor's, from the window of recent rolls (each serialised
//! once and shared) or, if the cursor is older than the window, from the store. So first connect,
//! resume, lag and live are the same code, a slow reader costs one cursor, and no queue can
//! overflow.

mod start;
mod wakers;
mod window;
mod reader;

#[cfg(test)]
mod wakers_tests;

use std::future::poll_fn;
use std::sync::{Arc, RwLock};
use std::task::Poll;
use std::time::Duration;

use event_stream::encoder::Event;
use tokio::time::{Instant, sleep_until};

use crate::cursor::Cursor;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::{Store, StoreError};

use self::primitives::{AtomicBool, AtomicU64, Ordering, PoisonError};
use self::wakers::{Registration, Wakers};
use self::window::Window;

pub use self::reader::{Item, Reader};
pub use self::start::{Mode, Reason, Start, SyncEvent};

/// What `wakers` builds on. `tests/wakers` puts the model's primitives in their place.
mod primitives {
    pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub use std::sync::{Mutex, MutexGuard, PoisonError};
}

/// How many rolls to keep in memory. A reader that is further behind reads from the store.
pub const N_RECENT: usize = 1_024;

/// Delivers rolls. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    store: Store,
    window: RwLock<Window>,
    /// Woken by a roll, a heartbeat or the end.
    wakers: Wakers,
    n_heartbeats: AtomicU64,
    /// A reader gets a heartbeat after at most this time without another item.
    heartbeat: Duration,
    closed: AtomicBool,
}

/// A roll as it is sent, encoded once and shared by all readers.
#[derive(Debug)]
pub struct Sent {
    /// The position after the roll.
    pub cursor: Cursor,
    /// The roll's whole event in an event stream, blank line included.
    pub frame: Vec<u8>,
    /// When the roll was stored; `None` if it was read again from the store.
    pub committed: Option<std::time::Instant>,
}

impl From<&Roll> for Sent {
    fn from(roll: &Roll) -> Sent {
        let cursor = roll.cursor();
        let (id, dice) = (cursor.to_string(), roll.dice.to_string());
        let mut frame = Vec::with_capacity(id.len() + dice.len() + "id: \ndata: \n\n".len());
        let event = Event { id: Some(&id), data: &dice, ..Event::default() };
        event.write(&mut frame).expect("a cursor is one line");
        Sent { cursor, frame, committed: None }
    }
}

impl Feed {
    /// A feed of the rolls in `store`, with the newest `n_recent` of them in memory. A reader gets
    /// a heartbeat after at most the time `heartbeat` without another item.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn open(
        store: Store,
        n_recent: usize,
        heartbeat: Duration,
    ) -> Result<Feed, StoreError> {
        let newest = store.newest(n_recent).await?;
        let mut window = Window::new(newest.head, n_recent);
        // Without the newest roll, if that cannot be read, the window would end before the head.
        if newest.rolls.first().is_some_and(|roll| roll.id == newest.head.id) {
            for roll in newest.rolls.iter().rev() {
                window.push(Sent::from(roll));
            }
        }
        Ok(Feed(Arc::new(Shared {
            store,
            window: RwLock::new(window),
            wakers: Wakers::default(),
            n_heartbeats: AtomicU64::new(0),
            heartbeat,
            closed: AtomicBool::new(false),
        })))
    }

    /// Delivers stored rolls to all readers. Publish each roll once, in the order of the ids.
    pub fn publish(&self, rolls: &[Roll]) {
        // Encode before the lock, which all readers need.
        let committed = Some(std::time::Instant::now());
        let sent: Vec<Sent> =
            rolls.iter().map(|roll| Sent { committed, ..Sent::from(roll) }).collect();
        let mut window = self.0.window.write().unwrap_or_else(PoisonError::into_inner);
        sent.into_iter().for_each(|sent| window.push(sent));
        drop(window);
        self.0.wakers.wake_all();
    }

    /// A reader from `start` on. Its first item is the [`SyncEvent`]; then come the rolls, first
    /// the stored ones, then new ones.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn after(&self, start: Start) -> Result<Reader, StoreError> {
        let in_window = self.0.window(|window| start::in_window(&start, window));
        let sync = match (in_window, start) {
            (Some(sync), _) => sync,
            (None, Start::After(cursor)) => {
                // The stored roll shows whether both sides mean the same history.
                let (stored, kept) = self.0.store.cursor(cursor.id).await?;
                start::in_store(cursor, stored, kept)
            }
            (None, Start::Live | Start::Malformed) => unreachable!("answered by the window"),
        };
        Ok(Reader::new(self.0.clone(), sync))
    }

    /// The start for the rolls from `moment` on.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn since(&self, moment: RolledAt) -> Result<Start, StoreError> {
        Ok(Start::After(self.0.store.since(moment).await?))
    }

    /// The position after the newest published roll.
    pub fn head(&self) -> Cursor {
        self.0.window(Window::head)
    }

    /// Waits until the roll `id` is published or the feed is closed.
    pub async fn reach(&self, id: RollId) {
        let mut waiting =
            Waiting { wakers: &self.0.wakers, registration: self.0.wakers.register() };
        poll_fn(|cx| {
            loop {
                // Before the check, so that a wake-up between the check and the wait is noticed.
                let n_wakes = self.0.wakers.n_wakes();
                if self.head().id >= id || self.0.closed.load(Ordering::Acquire) {
                    return Poll::Ready(());
                }
                if waiting.wakers.wait(&mut waiting.registration, n_wakes, cx.waker()) {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Wakes all readers for a heartbeat after each time without a roll, until the feed is closed.
    /// One timer serves all readers that have caught up, because they all see the same rolls.
    pub async fn send_heartbeats(&self) {
        let mut last_heartbeat = Instant::now();
        while !self.0.closed.load(Ordering::Acquire) {
            let silent_since = || self.0.window(Window::pushed_at).max(last_heartbeat);
            let since = silent_since();
            sleep_until(since + self.0.heartbeat).await;
            if silent_since() == since {
                last_heartbeat = Instant::now();
                self.0.n_heartbeats.fetch_add(1, Ordering::Release);
                self.0.wakers.wake_all();
            }
        }
    }

    /// Ends all present and future readers.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.wakers.wake_all();
    }
}

/// A waker that is removed when nobody waits any more.
struct Waiting<'a> {
    wakers: &'a Wakers,
    registration: Registration,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.wakers.deregister(&self.registration);
    }
}

impl Shared {
    fn window<T>(&self, read: impl FnOnce(&Window) -> T) -> T {
        read(&self.window.read().unwrap_or_else(PoisonError::into_inner))
    }
}
