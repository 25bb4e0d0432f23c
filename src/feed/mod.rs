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
use std::ops::Range;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll};
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
pub struct Feed {
    shared: Arc<Shared>,
    /// Those of this feed's readers: the shared ones, or a branch's own.
    wakers: Arc<Wakers>,
}

struct Shared {
    store: Store,
    window: RwLock<Window>,
    /// Woken by a roll, a heartbeat or the end.
    wakers: Arc<Wakers>,
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
    chunk: Vec<u8>,
    /// Where the frame is in the chunk.
    frame: Range<usize>,
    /// When the roll was stored; `None` if it was read again from the store.
    pub committed: Option<std::time::Instant>,
}

impl Sent {
    /// The roll's whole event in an event stream, blank line included.
    pub fn frame(&self) -> &[u8] {
        &self.chunk[self.frame.clone()]
    }

    /// The same as a chunk of HTTP/1.1 (<https://www.rfc-editor.org/rfc/rfc9112#section-7.1>).
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }
}

impl From<&Roll> for Sent {
    fn from(roll: &Roll) -> Sent {
        let cursor = roll.cursor();
        let (id, dice) = (cursor.to_string(), roll.dice.to_string());
        let mut frame = Vec::with_capacity(id.len() + dice.len() + "id: \ndata: \n\n".len());
        let event = Event { id: Some(&id), data: &dice, ..Event::default() };
        event.write(&mut frame).expect("a cursor is one line");
        let size = format!("{:x}\r\n", frame.len());
        let chunk = [size.as_bytes(), &frame, b"\r\n"].concat();
        Sent { cursor, chunk, frame: size.len()..size.len() + frame.len(), committed: None }
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
        let wakers = Arc::<Wakers>::default();
        let shared = Shared {
            store,
            window: RwLock::new(window),
            wakers: wakers.clone(),
            n_heartbeats: AtomicU64::new(0),
            heartbeat,
            closed: AtomicBool::new(false),
        };
        Ok(Feed { shared: Arc::new(shared), wakers })
    }

    /// The same feed with its own list of waiting readers, for the streams of one thread.
    /// [`relay`](Self::relay) must run on that thread. Then a roll wakes the thread once, and the
    /// thread wakes its readers itself. To wake each reader from another thread costs a system call.
    pub fn branch(&self) -> Feed {
        Feed { shared: self.shared.clone(), wakers: Arc::default() }
    }

    /// Wakes the readers of this branch whenever the readers of the feed are woken. Ends when the
    /// feed is closed.
    pub async fn relay(&self) {
        let mut waiting = Waiting::new(&self.shared.wakers);
        let mut n_seen = 0;
        while !self.is_closed() {
            poll_fn(|cx| {
                loop {
                    let n_wakes = waiting.wakers.n_wakes();
                    if n_wakes != n_seen {
                        n_seen = n_wakes;
                        return Poll::Ready(());
                    }
                    if waiting.wait(n_wakes, cx) {
                        return Poll::Pending;
                    }
                }
            })
            .await;
            self.wakers.wake_all();
        }
    }

    /// Delivers stored rolls to all readers. Publish each roll once, in the order of the ids.
    pub fn publish(&self, rolls: &[Roll]) {
        // Encode before the lock, which all readers need.
        let committed = Some(std::time::Instant::now());
        let sent: Vec<Sent> =
            rolls.iter().map(|roll| Sent { committed, ..Sent::from(roll) }).collect();
        let mut window = self.shared.window.write().unwrap_or_else(PoisonError::into_inner);
        sent.into_iter().for_each(|sent| window.push(sent));
        drop(window);
        self.shared.wakers.wake_all();
    }

    /// A reader from `start` on. Its first item is the [`SyncEvent`]; then come the rolls, first
    /// the stored ones, then new ones.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn after(&self, start: Start) -> Result<Reader, StoreError> {
        let in_window = self.shared.window(|window| start::in_window(&start, window));
        let sync = match (in_window, start) {
            (Some(sync), _) => sync,
            (None, Start::After(cursor)) => {
                // The stored roll shows whether both sides mean the same history.
                let (stored, kept) = self.shared.store.cursor(cursor.id).await?;
                start::in_store(cursor, stored, kept)
            }
            (None, Start::Live | Start::Malformed) => unreachable!("answered by the window"),
        };
        Ok(Reader::new(self.shared.clone(), self.wakers.clone(), sync))
    }

    /// The start for the rolls from `moment` on.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn since(&self, moment: RolledAt) -> Result<Start, StoreError> {
        Ok(Start::After(self.shared.store.since(moment).await?))
    }

    /// The position after the newest published roll.
    pub fn head(&self) -> Cursor {
        self.shared.window(Window::head)
    }

    /// Waits until the roll `id` is published or the feed is closed.
    pub async fn reach(&self, id: RollId) {
        let mut waiting = Waiting::new(&self.wakers);
        poll_fn(|cx| {
            loop {
                // Before the check, so that a wake-up between the check and the wait is noticed.
                let n_wakes = waiting.wakers.n_wakes();
                if self.head().id >= id || self.is_closed() {
                    return Poll::Ready(());
                }
                if waiting.wait(n_wakes, cx) {
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
        while !self.is_closed() {
            let silent_since = || self.shared.window(Window::pushed_at).max(last_heartbeat);
            let since = silent_since();
            sleep_until(since + self.shared.heartbeat).await;
            if silent_since() == since {
                last_heartbeat = Instant::now();
                self.shared.n_heartbeats.fetch_add(1, Ordering::Release);
                self.shared.wakers.wake_all();
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Ends all present and future readers.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.wakers.wake_all();
    }
}

/// A waker that is removed when nobody waits any more.
struct Waiting<'a> {
    wakers: &'a Wakers,
    registration: Registration,
}

impl<'a> Waiting<'a> {
    fn new(wakers: &'a Wakers) -> Waiting<'a> {
        Waiting { wakers, registration: wakers.register() }
    }

    /// See [`Wakers::wait`].
    fn wait(&mut self, n_seen: u64, cx: &Context<'_>) -> bool {
        self.wakers.wait(&mut self.registration, n_seen, cx.waker())
    }
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
