//! `kill -9` at random moments: what anybody has seen is stored, and nobody misses a roll.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use crate::common::events::{Ask, Stream};
use crate::common::{House, Server, wait_for};

/// A reader that comes back whenever its stream ends.
struct Reader {
    seen: Arc<Mutex<Vec<(String, String)>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// How a reader comes back.
#[derive(Clone, Copy, PartialEq)]
enum Seam {
    /// With the id of the last roll it has seen.
    LastEventId,
    /// Broken on purpose: from now on.
    None,
}

impl Reader {
    fn start(house: &House, seam: Seam) -> Reader {
        let url = house.url("/stream/");
        let seen = Arc::new(Mutex::new(Vec::<(String, String)>::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let last = match seam {
                    Seam::LastEventId => log.lock().unwrap().last().map(|(id, _)| id.clone()),
                    Seam::None => None,
                };
                // From the very first, so that the log can be held against the whole database.
                let last = last.unwrap_or(if seam == Seam::None { "" } else { "0" }.into());
                let ask = Ask { last_event_id: Some(&last), post: false };
                let Ok(stream) = Stream::open(&url, ask) else {
                    park_timeout(Duration::from_millis(2));
                    continue;
                };
                for roll in stream.filter_map(|frame| frame.roll()) {
                    log.lock().unwrap().push(roll);
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
        });
        Reader { seen, stop, thread }
    }

    fn n_seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn last(&self) -> Option<String> {
        self.seen.lock().unwrap().last().map(|(id, _)| id.clone())
    }

    fn stop(self) -> Vec<(String, String)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        Arc::into_inner(self.seen).unwrap().into_inner().unwrap()
    }
}

/// What is wrong with a reader's log, held against the stored rolls.
fn complaints(seen: &[(String, String)], stored: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, seen) in seen.iter().enumerate() {
        match stored.get(index) {
            Some(stored) if stored == seen => {}
            stored => {
                complaints
                    .push(format!("at {index}: expected the stored {stored:?}, saw {seen:?}"));
                if complaints.len() == 3 {
                    break;
                }
            }
        }
    }
    complaints
}

/// A small generator of moments, seeded so that a failure can be told: SplitMix64,
/// <https://prng.di.unimi.it/splitmix64.c>.
struct Moments(u64);

impl Moments {
    fn next_below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// Ids and dice, in the stream's own form.
type Rolls = Vec<(String, String)>;

/// Kills the server `n_kills` times under readers and gives back the readers' logs and the
/// stored rolls.
fn campaign(n_kills: usize, seam: Seam) -> (House, Vec<Rolls>, Rolls) {
    let house = House::new("every = '1ms'");
    let seed = u64::from(std::process::id());
    println!("moments are drawn from seed {seed}");
    let mut moments = Moments(seed);
    let readers: Vec<Reader> = (0..3).map(|_| Reader::start(&house, seam)).collect();
    for n in 0..n_kills {
        let n_seen: Vec<usize> = readers.iter().map(Reader::n_seen).collect();
        let mut server = Server::spawn(&mut house.command());
        // Every other one in its start, whatever that is just doing; the rest at work, with all
        // readers listening.
        if n % 2 == 1 {
            wait_for("all readers to see a new roll", || {
                let new = |(reader, n): (&Reader, &usize)| reader.n_seen() > *n;
                readers.iter().zip(&n_seen).all(new).then_some(())
            });
        }
        let longest = if n % 2 == 1 { 30 } else { 120 };
        let moment = Duration::from_millis(moments.next_below(longest));
        let start = Instant::now();
        while start.elapsed() < moment {
            park_timeout(moment.saturating_sub(start.elapsed()));
        }
        server.kill();
    }
    // The last server lives until all have caught up with something it made itself.
    let mut server = house.start();
    let n_before = house.stored().len();
    wait_for("more rolls", || (house.stored().len() > n_before + 10).then_some(()));
    if seam == Seam::LastEventId {
        for reader in &readers {
            wait_for("a reader to catch up", || (reader.n_seen() > n_before).then_some(()));
        }
    } else {
        for reader in &readers {
            wait_for("a reader to see the last server's rolls", || {
                let last = reader.last()?;
                let id: usize = last.split('-').next()?.parse().ok()?;
                (id > n_before).then_some(())
            });
        }
    }
    server.stop();
    let logs = readers.into_iter().map(Reader::stop).collect();
    let stored = house.stored().into_iter().map(|(id, rolled_at, dice)| {
        let rolled_at: jiff::Timestamp = rolled_at.parse().unwrap();
        (format!("{id}-{}", rolled_at.as_millisecond()), dice)
    });
    let stored = stored.collect();
    (house, logs, stored)
}

#[test]
fn after_300_kills_every_roll_that_was_seen_is_stored_once_and_nobody_missed_any() {
    let (house, logs, stored) = campaign(300, Seam::LastEventId);
    let ids: Vec<i64> = house.stored().iter().map(|roll| roll.0).collect();
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>(), "ids have gaps");
    let check: String =
        house.sqlite().query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let n_tallies: i64 = house
        .sqlite()
        .query_row("select sum(n_rolls) from tallies where die = '1D6'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n_tallies, ids.len() as i64, "tallies and rolls are kept together");
    for (n, log) in logs.iter().enumerate() {
        let complaints = complaints(log, &stored);
        assert!(complaints.is_empty(), "reader {n}: {complaints:#?}");
        assert!(log.len() >= 150, "reader {n} saw only {} rolls", log.len());
    }
    println!(
        "{} rolls stored, seen {:?}",
        stored.len(),
        logs.iter().map(Vec::len).collect::<Vec<_>>()
    );
}

#[test]
fn the_check_of_the_kills_sees_a_reader_that_does_not_resume() {
    let (_house, logs, stored) = campaign(10, Seam::None);
    for log in logs {
        assert!(!complaints(&log, &stored).is_empty(), "a reader without a cursor missed nothing");
    }
}
