//! The wakers of the readers that wait for the next roll.
//!
//! Lists of wakers instead of a channel, because nearly every reader waits for nearly every roll:
//! waiting costs one push, waking costs one pass along the lists. Neither allocates per reader,
//! and readers on different cores rarely share a lock. `tests/wakers` checks this file in all
//! interleavings of its threads, so it takes its primitives from its parent module.

use std::array;
use std::mem;
use std::task::Waker;

use super::primitives::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// Readers on different cores rarely use the same one of this many lists.
const N_LISTS: usize = 32;

/// The wakers of all waiting readers.
pub struct Wakers<const N: usize = N_LISTS> {
    /// Counts the calls of [`wake_all`](Self::wake_all). A reader compares two counts to find out
    /// whether one came in between.
    n_wakes: AtomicU64,
    n_registrations: AtomicUsize,
    lists: [List; N],
}

/// Aligned to its own cache lines.
#[derive(Default)]
#[repr(align(128))]
struct List(Mutex<Generation>);

/// The wakers of one list that wait for the same wake-up.
#[derive(Default)]
struct Generation {
    number: u64,
    /// `None` where a reader has left.
    wakers: Vec<Option<Waker>>,
}

/// Which list a reader uses, and its entry there.
pub struct Registration {
    list: usize,
    /// Index and generation of the newest entry.
    entry: Option<(usize, u64)>,
}

impl<const N: usize> Default for Wakers<N> {
    fn default() -> Wakers<N> {
        Wakers {
            n_wakes: AtomicU64::default(),
            n_registrations: AtomicUsize::default(),
            lists: array::from_fn(|_| List::default()),
        }
    }
}

impl<const N: usize> Wakers<N> {
    /// Registers one more reader, in the next list.
    pub fn register(&self) -> Registration {
        let list = self.n_registrations.fetch_add(1, Ordering::Relaxed) % N;
        Registration { list, entry: None }
    }

    /// How many times the readers were woken. Get it before you check for work, and pass it to
    /// [`wait`](Self::wait).
    pub fn n_wakes(&self) -> u64 {
        self.n_wakes.load(Ordering::Acquire)
    }

    /// Wakes all waiting readers.
    pub fn wake_all(&self) {
        // Before the lists are emptied, so that a reader that comes too late for that notices.
        self.n_wakes.fetch_add(1, Ordering::Release);
        for list in &self.lists {
            let wakers = {
                let mut generation = list.lock();
                generation.number += 1;
                // As many readers will wait for the next wake-up.
                let next = Vec::with_capacity(generation.wakers.len());
                mem::replace(&mut generation.wakers, next)
            };
            // After the lock is released, because a woken reader may acquire it at once.
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Keeps `waker` for the next wake-up and returns true, unless there was a wake-up after the
    /// first `n_seen` ones: then it returns false, and the reader checks again.
    pub fn wait(&self, registration: &mut Registration, n_seen: u64, waker: &Waker) -> bool {
        let mut generation = self.lists[registration.list].lock();
        if self.n_wakes() != n_seen {
            return false;
        }
        match registration.entry {
            // Polled again without having been woken, perhaps from another task.
            Some((index, number)) if number == generation.number => {
                generation.wakers[index] = Some(waker.clone());
            }
            _ => {
                generation.wakers.push(Some(waker.clone()));
                registration.entry = Some((generation.wakers.len() - 1, generation.number));
            }
        }
        true
    }

    /// Drops the waker of a reader that leaves.
    pub fn deregister(&self, registration: &Registration) {
        let Some((index, number)) = registration.entry else { return };
        let mut generation = self.lists[registration.list].lock();
        if number == generation.number {
            generation.wakers[index] = None;
            // So that clients that come and go between two rolls do not fill the list.
            while generation.wakers.pop_if(|waker| waker.is_none()).is_some() {}
        }
    }

    /// Entries in all lists.
    #[cfg(test)]
    pub fn n_entries(&self) -> usize {
        self.lists.iter().map(|list| list.lock().wakers.len()).sum()
    }
}

impl List {
    fn lock(&self) -> MutexGuard<'_, Generation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
