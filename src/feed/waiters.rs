//! Who waits for the next roll: readers that have seen all there is.
//!
//! A list of wakers instead of a channel's own list of waiters, since nearly all readers wait
//! for nearly every roll: to wait costs one push, to wake one pass along the list, and neither
//! an allocation a reader nor a lock that all readers share.

use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Lists, so that readers on different cores seldom want the same one.
const N_LISTS: usize = 32;

/// Everybody who waits.
#[derive(Default)]
pub struct Waiters {
    /// Counts the wake-ups. What a reader saw before its look tells whether one came since.
    n_signals: AtomicU64,
    n_places: AtomicUsize,
    lists: [List; N_LISTS],
}

/// On cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct List(Mutex<Round>);

/// Who waits in one list for the same wake-up.
#[derive(Default)]
struct Round {
    number: u64,
    /// `None` where one has left.
    wakers: Vec<Option<Waker>>,
}

/// A reader's place among them.
pub struct Place {
    list: usize,
    /// Where in the list it waits or waited, and in which round.
    waiting: Option<(usize, u64)>,
}

impl Waiters {
    /// A place for one more.
    pub fn place(&self) -> Place {
        let list = self.n_places.fetch_add(1, Ordering::Relaxed) % N_LISTS;
        Place { list, waiting: None }
    }

    /// The signals so far: to be asked for before the look, and given to [`wait`](Self::wait).
    pub fn n_signals(&self) -> u64 {
        self.n_signals.load(Ordering::Acquire)
    }

    /// Wakes all who wait.
    pub fn wake_all(&self) {
        // Before the lists are emptied: who comes too late for that sees that it is too late.
        self.n_signals.fetch_add(1, Ordering::Release);
        for list in &self.lists {
            let wakers = {
                let mut round = list.lock();
                round.number += 1;
                // As many again will wait for the next one.
                let room = Vec::with_capacity(round.wakers.len());
                mem::replace(&mut round.wakers, room)
            };
            // Outside the lock, which those who wake may want at once.
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Waits at `place`, unless a signal came after the `seen` ones: whether it waits.
    pub fn wait(&self, place: &mut Place, seen: u64, waker: &Waker) -> bool {
        let mut round = self.lists[place.list].lock();
        if self.n_signals() != seen {
            return false;
        }
        match place.waiting {
            // Looked again without having been woken, perhaps from another task.
            Some((index, number)) if number == round.number => {
                round.wakers[index] = Some(waker.clone());
            }
            _ => {
                round.wakers.push(Some(waker.clone()));
                place.waiting = Some((round.wakers.len() - 1, round.number));
            }
        }
        true
    }

    /// Gives up a place: what would be woken there is not held on to.
    pub fn leave(&self, place: &Place) {
        let Some((index, number)) = place.waiting else { return };
        let mut round = self.lists[place.list].lock();
        if number == round.number {
            round.wakers[index] = None;
            // So that clients that come and go in a long silence leave nothing behind.
            while round.wakers.pop_if(|waker| waker.is_none()).is_some() {}
        }
    }
}

impl List {
    fn lock(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::{Arc, mpsc};
    use std::task::Wake;
    use std::thread;
    use std::time::Duration;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn n_woken(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn all_who_wait_are_woken_once() {
        let waiters = Waiters::default();
        let counts: Vec<Arc<Count>> = (0..100).map(|_| Arc::default()).collect();
        for count in &counts {
            let seen = waiters.n_signals();
            assert!(waiters.wait(&mut waiters.place(), seen, &Waker::from(count.clone())));
        }
        waiters.wake_all();
        waiters.wake_all();
        let n_woken: Vec<usize> = counts.iter().map(|count| count.n_woken()).collect();
        assert_eq!(n_woken, [1; 100]);
    }

    #[test]
    fn who_looked_before_a_signal_does_not_wait_after_it() {
        let waiters = Waiters::default();
        let (count, mut place) = (Arc::<Count>::default(), waiters.place());
        let seen = waiters.n_signals();
        waiters.wake_all();
        assert!(!waiters.wait(&mut place, seen, &Waker::from(count.clone())));
        assert!(waiters.wait(&mut place, waiters.n_signals(), &Waker::from(count.clone())));
        waiters.wake_all();
        assert_eq!(count.n_woken(), 1);
    }

    #[test]
    fn who_looks_again_takes_no_second_place_and_the_last_task_is_woken() {
        let waiters = Waiters::default();
        let (first, last) = (Arc::<Count>::default(), Arc::<Count>::default());
        let (mut place, seen) = (waiters.place(), waiters.n_signals());
        assert!(waiters.wait(&mut place, seen, &Waker::from(first.clone())));
        assert!(waiters.wait(&mut place, seen, &Waker::from(last.clone())));
        waiters.wake_all();
        assert_eq!((first.n_woken(), last.n_woken()), (0, 1));
    }

    #[test]
    fn who_leaves_is_neither_woken_nor_held_on_to() {
        let waiters = Waiters::default();
        let (gone, stays) = (Arc::<Count>::default(), Arc::<Count>::default());
        let mut place = waiters.place();
        for _ in 0..3 {
            let mut other = Place { list: place.list, waiting: None };
            assert!(waiters.wait(&mut place, waiters.n_signals(), &Waker::from(gone.clone())));
            assert!(waiters.wait(&mut other, waiters.n_signals(), &Waker::from(stays.clone())));
            waiters.leave(&place);
            assert_eq!(Arc::strong_count(&gone), 1, "the waker is gone");
            waiters.wake_all();
            // A place from an earlier round is nobody's.
            waiters.leave(&place);
        }
        assert_eq!((gone.n_woken(), stays.n_woken()), (0, 3));
    }

    #[test]
    fn those_who_come_and_go_in_silence_leave_nothing_behind() {
        let waiters = Waiters::default();
        for _ in 0..1_000 {
            let mut place = waiters.place();
            assert!(waiters.wait(&mut place, 0, Waker::noop()));
            waiters.leave(&place);
        }
        let n_left: usize = waiters.lists.iter().map(|list| list.lock().wakers.len()).sum();
        assert_eq!(n_left, 0);
    }

    #[test]
    fn no_signal_is_missed_between_the_look_and_the_wait() {
        const N_SIGNALS: u64 = 5_000;
        const N_THREADS: usize = 4;
        let patience = Duration::from_secs(60);
        let waiters = Arc::new(Waiters::default());
        let (seen_by_one, seen_by_all) = mpsc::channel();
        for _ in 0..N_THREADS {
            let (waiters, seen_by_one) = (waiters.clone(), seen_by_one.clone());
            thread::spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                let mut place = waiters.place();
                let mut last = 0;
                while last < N_SIGNALS {
                    let seen = waiters.n_signals();
                    if seen > last {
                        last = seen;
                        // The other end is gone once the test has failed.
                        let _ = seen_by_one.send(seen);
                    } else if waiters.wait(&mut place, seen, &waker) {
                        thread::park();
                    }
                }
            });
        }
        // In lock step: the next signal, which would make up for a lost one, comes only when all
        // have seen this one.
        for number in 1..=N_SIGNALS {
            waiters.wake_all();
            for _ in 0..N_THREADS {
                assert_eq!(seen_by_all.recv_timeout(patience), Ok(number), "a signal was lost");
            }
        }
    }

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
}
