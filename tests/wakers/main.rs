//! The feed's wakers under every interleaving of their threads, by the model checker `loom`.
//!
//! A lost wake-up leaves a thread parked for ever, which the model reports as a deadlock.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::model::Builder;
use loom::sync::Notify;
use loom::thread;

use crate::wakers::Wakers;

/// What `wakers` builds on, from the model instead of the standard library.
mod primitives {
    pub use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    pub use loom::sync::{Mutex, MutexGuard};
    pub use std::sync::PoisonError;
}

#[path = "../../src/feed/wakers.rs"]
mod wakers;

/// A parked reader.
struct Parked(Notify);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Waits as the feed's readers do until the wakers were woken `n` times.
fn wait_for_wakes<const N: usize>(wakers: &Wakers<N>, n: u64) {
    let parked = Arc::new(Parked(Notify::new()));
    let waker = Waker::from(parked.clone());
    let mut registration = wakers.register();
    loop {
        let n_seen = wakers.n_wakes();
        if n_seen >= n {
            break;
        }
        if wakers.wait(&mut registration, n_seen, &waker) {
            parked.0.wait();
        }
    }
    wakers.deregister(&registration);
}

/// Runs `body` in all interleavings with at most three preemptions. In practice two or three find
/// most bugs: <https://docs.rs/loom/0.7/loom/#large-models>.
fn check(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

#[test]
fn no_wake_up_is_lost_between_the_check_and_the_wait() {
    check(|| {
        let wakers = Arc::new(Wakers::<1>::default());
        let reader = thread::spawn({
            let wakers = wakers.clone();
            move || wait_for_wakes(&wakers, 2)
        });
        wakers.wake_all();
        wakers.wake_all();
        reader.join().unwrap();
        assert_eq!(wakers.n_entries(), 0, "a reader that left kept an entry");
    });
}

#[test]
fn two_readers_in_different_lists_are_both_woken() {
    check(|| {
        let wakers = Arc::new(Wakers::<2>::default());
        let readers = [(); 2].map(|()| {
            let wakers = wakers.clone();
            thread::spawn(move || wait_for_wakes(&wakers, 1))
        });
        wakers.wake_all();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_reader_that_leaves_takes_no_entry_of_a_reader_that_stays() {
    check(|| {
        let wakers = Arc::new(Wakers::<1>::default());
        let leaving = thread::spawn({
            let wakers = wakers.clone();
            move || {
                let mut registration = wakers.register();
                let n_seen = wakers.n_wakes();
                wakers.wait(&mut registration, n_seen, Waker::noop());
                wakers.deregister(&registration);
            }
        });
        let staying = thread::spawn({
            let wakers = wakers.clone();
            move || wait_for_wakes(&wakers, 1)
        });
        wakers.wake_all();
        leaving.join().unwrap();
        staying.join().unwrap();
    });
}
