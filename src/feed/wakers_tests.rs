//! Tests of the wakers with threads and counts; `tests/wakers` tries all interleavings.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::feed::wakers::Wakers;

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
fn every_waiting_reader_is_woken_once() {
    let wakers = Wakers::<32>::default();
    let counts: Vec<Arc<Count>> = (0..100).map(|_| Arc::default()).collect();
    for count in &counts {
        let n_seen = wakers.n_wakes();
        assert!(wakers.wait(&mut wakers.register(), n_seen, &Waker::from(count.clone())));
    }
    wakers.wake_all();
    wakers.wake_all();
    let n_woken: Vec<usize> = counts.iter().map(|count| count.n_woken()).collect();
    assert_eq!(n_woken, [1; 100]);
}

#[test]
fn a_reader_that_checked_before_a_wake_up_does_not_wait_after_it() {
    let wakers = Wakers::<32>::default();
    let (count, mut registration) = (Arc::<Count>::default(), wakers.register());
    let n_seen = wakers.n_wakes();
    wakers.wake_all();
    assert!(!wakers.wait(&mut registration, n_seen, &Waker::from(count.clone())));
    assert!(wakers.wait(&mut registration, wakers.n_wakes(), &Waker::from(count.clone())));
    wakers.wake_all();
    assert_eq!(count.n_woken(), 1);
}

#[test]
fn a_reader_that_is_polled_again_keeps_one_entry_and_its_last_waker() {
    let wakers = Wakers::<32>::default();
    let (first, last) = (Arc::<Count>::default(), Arc::<Count>::default());
    let (mut registration, n_seen) = (wakers.register(), wakers.n_wakes());
    assert!(wakers.wait(&mut registration, n_seen, &Waker::from(first.clone())));
    assert!(wakers.wait(&mut registration, n_seen, &Waker::from(last.clone())));
    assert_eq!(wakers.n_entries(), 1);
    wakers.wake_all();
    assert_eq!((first.n_woken(), last.n_woken()), (0, 1));
}

#[test]
fn a_reader_that_leaves_is_not_woken_and_its_waker_is_dropped() {
    // One list, so that both readers share it.
    let wakers = Wakers::<1>::default();
    let (gone, stays) = (Arc::<Count>::default(), Arc::<Count>::default());
    let mut registration = wakers.register();
    for _ in 0..3 {
        let mut other = wakers.register();
        let n_seen = wakers.n_wakes();
        assert!(wakers.wait(&mut registration, n_seen, &Waker::from(gone.clone())));
        assert!(wakers.wait(&mut other, n_seen, &Waker::from(stays.clone())));
        wakers.deregister(&registration);
        assert_eq!(Arc::strong_count(&gone), 1, "the waker was kept");
        wakers.wake_all();
        // An entry of an earlier generation is nobody's.
        wakers.deregister(&registration);
    }
    assert_eq!((gone.n_woken(), stays.n_woken()), (0, 3));
}

#[test]
fn readers_that_come_and_go_between_two_rolls_leave_no_entries() {
    let wakers = Wakers::<32>::default();
    for _ in 0..1_000 {
        let mut registration = wakers.register();
        assert!(wakers.wait(&mut registration, 0, Waker::noop()));
        wakers.deregister(&registration);
    }
    assert_eq!(wakers.n_entries(), 0);
}

#[test]
fn no_wake_up_is_lost_between_the_check_and_the_wait() {
    const N_WAKES: u64 = 5_000;
    const N_THREADS: usize = 4;
    let timeout = Duration::from_secs(60);
    let wakers = Arc::new(Wakers::<32>::default());
    let (seen_by_one, seen_by_all) = mpsc::channel();
    for _ in 0..N_THREADS {
        let (wakers, seen_by_one) = (wakers.clone(), seen_by_one.clone());
        thread::spawn(move || {
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            let mut registration = wakers.register();
            let mut last = 0;
            while last < N_WAKES {
                let n_seen = wakers.n_wakes();
                if n_seen > last {
                    last = n_seen;
                    // The receiver is dropped once the test has failed.
                    let _ = seen_by_one.send(n_seen);
                } else if wakers.wait(&mut registration, n_seen, &waker) {
                    thread::park();
                }
            }
        });
    }
    // In lock step: the next wake-up, which would hide a lost one, comes only after all threads
    // have seen this one.
    for number in 1..=N_WAKES {
        wakers.wake_all();
        for _ in 0..N_THREADS {
            assert_eq!(seen_by_all.recv_timeout(timeout), Ok(number), "a wake-up was lost");
        }
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
