//! The feed: hands every stored roll to every reader, once and in order.
//!
//! A reader holds a cursor and nothing else. Being woken only means "look again": the rolls come
//! from `id > cursor`, out of the window of recent rolls (each serialised once and shared), or
//! out of the store when the cursor is older than the window. So first connect, resume, lag and
//! live are the same code, a slow reader costs a cursor, and no queue can overflow.

mod window;
mod waiters;
mod sync;
mod reader;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::cursor::Cursor;
use crate::roll::{Roll, RolledAt};
use crate::store::{Store, StoreError};

use self::waiters::Waiters;
use self::window::Window;

pub use self::reader::{Item, Reader};
pub use self::sync::{Asked, Mode, Reason, Sync};

/// A good number of rolls to have in memory: a reader that is further behind reads from the
/// store.
pub const N_RECENT: usize = 1_024;

/// Hands out rolls; cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    store: Store,
    window: RwLock<Window>,
    /// Woken when something happened, whatever it was: a roll, a heartbeat, the end.
    waiters: Waiters,
    /// Counts silences: see [`Feed::beat`].
    n_beats: AtomicU64,
    closed: AtomicBool,
}

/// A roll as it is sent, made once and shared by all readers.
#[derive(Debug)]
pub struct Sent {
    /// The roll's place.
    pub cursor: Cursor,
    /// The cursor's text.
    pub id: String,
    /// The dice as a flat JSON object.
    pub dice: String,
    /// When it was stored, if that was just now and not read again.
    pub committed: Option<std::time::Instant>,
}

impl From<&Roll> for Sent {
    fn from(roll: &Roll) -> Sent {
        let cursor = roll.cursor();
        Sent { cursor, id: cursor.to_string(), dice: roll.dice.to_string(), committed: None }
    }
}

impl Feed {
    /// A feed of the rolls in `store`, old and new, with the newest `n_recent` in memory.
    pub async fn open(store: Store, n_recent: usize) -> Result<Feed, StoreError> {
        let newest = store.newest(n_recent).await?;
        let mut window = Window::new(newest.head, n_recent);
        for roll in newest.rolls.iter().rev() {
            window.push(Sent::from(roll));
        }
        Ok(Feed(Arc::new(Shared {
            store,
            window: RwLock::new(window),
            waiters: Waiters::default(),
            n_beats: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })))
    }

    /// Shows stored rolls to all readers. Rolls are published in order, each once.
    pub fn publish(&self, rolls: &[Roll]) {
        // Made before the lock, which all readers want.
        let committed = Some(std::time::Instant::now());
        let sent: Vec<Sent> =
            rolls.iter().map(|roll| Sent { committed, ..Sent::from(roll) }).collect();
        let mut window = self.0.window.write().unwrap_or_else(PoisonError::into_inner);
        sent.into_iter().for_each(|sent| window.push(sent));
        drop(window);
        self.0.waiters.wake_all();
    }

    /// A reader that starts where `asked` says. Its first item is the [`Sync`] that tells what
    /// that means; then come the rolls after it, those that are stored and those to come.
    pub async fn after(&self, asked: Asked) -> Result<Reader, StoreError> {
        let in_window = self.0.window(|window| sync::in_window(&asked, window));
        let sync = match (in_window, asked) {
            (Some(sync), _) => sync,
            (None, Asked::After(cursor)) => {
                // The one asked for tells whether both sides mean the same history.
                let (roll, kept) = self.0.store.roll(cursor.id).await?;
                sync::in_store(cursor, roll.map(|roll| roll.cursor()), kept)
            }
            (None, Asked::Live | Asked::Malformed) => unreachable!("answered by the window"),
        };
        Ok(Reader::new(self.0.clone(), sync))
    }

    /// What to ask for to get the rolls from `moment` on.
    pub async fn since(&self, moment: RolledAt) -> Result<Asked, StoreError> {
        Ok(Asked::After(self.0.store.since(moment).await?))
    }

    /// The place after the newest roll that was published.
    pub fn head(&self) -> Cursor {
        self.0.window(Window::head)
    }

    /// Wakes all readers for a heartbeat after each `silence` without a roll, until the feed is
    /// closed. One timer for all: they see the same rolls, so they are silent together.
    pub async fn beat(&self, silence: Duration) {
        let mut last_beat = Instant::now();
        while !self.0.closed.load(Ordering::Acquire) {
            let silent_since = || self.0.window(Window::pushed_at).max(last_beat);
            let since = silent_since();
            sleep_until(since + silence).await;
            if silent_since() == since {
                last_beat = Instant::now();
                self.0.n_beats.fetch_add(1, Ordering::Release);
                self.0.waiters.wake_all();
            }
        }
    }

    /// Ends all readers, now and to come.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.waiters.wake_all();
    }
}

impl Shared {
    fn window<T>(&self, look: impl FnOnce(&Window) -> T) -> T {
        look(&self.window.read().unwrap_or_else(PoisonError::into_inner))
    }
}
