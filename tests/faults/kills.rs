//! `kill -9` at random moments under readers and pagers: what anybody has seen is stored, and
//! nobody misses a roll or gets one twice.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

use crate::common::listener::{Listener, Manner, Seam};
use crate::common::{House, Server, wait_for};
use crate::oracle::{Log, Stored, log_of};
use crate::pagers::{Pager, Way};
use crate::report::{Recovered, Row, times};

/// A small generator of moments, seeded so that a failure can be told: SplitMix64,
/// <https://prng.di.unimi.it/splitmix64.c>.
pub struct Moments(u64);

impl Moments {
    /// Anew in each process, and told.
    pub fn new() -> Moments {
        let seed = u64::from(std::process::id());
        println!("moments are drawn from seed {seed}");
        Moments(seed)
    }

    pub fn next_below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

const FAST: &str = "every = '1ms'";

/// What came of a campaign: everybody's log, and the longest time from a start to a roll that all
/// readers have.
struct Outcome {
    logs: Vec<(String, Log)>,
    n_stored: usize,
    /// The rolls that were ever stored.
    n_ever: i64,
    recovered: Duration,
}

/// The newest stored roll.
pub fn head(house: &House) -> i64 {
    let newest = "select coalesce(max(id), 0) from rolls";
    house.sqlite().query_row(newest, [], |row| row.get(0)).unwrap()
}

/// Kills a server, configured so, under three readers and a pager for each way.
fn campaign(n_kills: usize, config: &str, seam: Seam, ways: &[Way]) -> Outcome {
    let house = House::new(config);
    let mut moments = Moments::new();
    let manner = match seam {
        Seam::Nothing => Manner { start: None, ..Manner::EAGER.with(seam) },
        seam => Manner::EAGER.with(seam),
    };
    let listen = || Listener::start(house.url("/stream/"), manner);
    let readers: Vec<Listener> = (0..3).map(|_| listen()).collect();
    let pagers: Vec<(Way, Pager)> =
        ways.iter().map(|way| (*way, Pager::start(&house, *way))).collect();
    let (mut recovered, mut said) = (Duration::ZERO, Instant::now());
    for n in 0..n_kills {
        let n_seen: Vec<usize> = readers.iter().map(|reader| reader.story().rolls.len()).collect();
        let started = Instant::now();
        let mut server = Server::spawn(&mut house.command());
        // Every other one in its start, whatever that is just doing; the rest at work, with all
        // readers listening.
        if n % 2 == 1 {
            wait_for("all readers to see a new roll", || {
                let mut readers = readers.iter().zip(&n_seen);
                readers.all(|(reader, n)| reader.story().rolls.len() > *n).then_some(())
            });
            recovered = recovered.max(started.elapsed());
        }
        let longest = if n % 2 == 1 { 30 } else { 120 };
        let moment = Duration::from_millis(moments.next_below(longest));
        let start = Instant::now();
        while start.elapsed() < moment {
            park_timeout(moment.saturating_sub(start.elapsed()));
        }
        server.kill();
        if said.elapsed() > Duration::from_secs(30) {
            said = Instant::now();
            println!("{} of {n_kills} kills, {} rolls", n + 1, head(&house));
        }
    }
    // The last server lives until all have caught up with something it made itself.
    let mut server = house.start();
    let n_before = head(&house);
    wait_for("more rolls", || (head(&house) > n_before + 10).then_some(()));
    for reader in &readers {
        wait_for("a reader to catch up", || (reader.story().last() > n_before).then_some(()));
    }
    for (way, pager) in &pagers {
        wait_for(&format!("{way:?} to catch up"), || (pager.last() > n_before).then_some(()));
    }
    server.stop();
    let mut logs = Vec::new();
    for (n, reader) in readers.into_iter().enumerate() {
        logs.push((format!("reader {n}"), log_of(&reader.stop(), 0)));
    }
    for (way, pager) in pagers {
        logs.push((format!("{way:?}"), pager.stop()));
    }
    let stored = Stored::read_kept(&house);
    for (who, log) in &mut logs {
        println!("{who} saw {} rolls, {} are stored", log.n_seen(), stored.len());
        log.settle(&stored);
    }
    Outcome { logs, n_stored: stored.len(), n_ever: head(&house), recovered }
}

#[test]
fn after_every_kill_what_was_seen_is_stored_once_and_nobody_missed_any() {
    let control = campaign(10, FAST, Seam::Nothing, &[]);
    let n_lost: usize = control.logs.iter().map(|(_, log)| log.n_lost).sum();
    assert!(
        control.logs.iter().all(|(_, log)| log.n_lost > 0),
        "readers without a cursor missed nothing"
    );

    let n_kills = times(100, 2_000);
    let Outcome { logs, n_stored, n_ever, recovered } =
        campaign(n_kills, FAST, Seam::LastEventId, &Way::ALL);
    assert_eq!(n_ever, n_stored as i64, "the first rolls are gone");
    for (who, log) in &logs {
        log.assert_is_whole(who);
    }
    assert!(n_stored >= n_kills / 2, "only {n_stored} rolls in {n_kills} kills");
    Row {
        fault: "`kill -9` under three readers, pages, JSON pages and downloads",
        n_injected: n_kills,
        n_lost: logs.iter().map(|(_, log)| log.n_lost).sum(),
        n_repeated: logs.iter().map(|(_, log)| log.n_repeated).sum(),
        recovered: Recovered::In(recovered),
        control: format!("three readers that do not resume lose {n_lost} rolls in 10 kills"),
        test: "kills::after_every_kill",
    }
    .write();
}

#[test]
fn kills_while_old_rolls_are_deleted_cost_nobody_a_roll_either() {
    const N_KEPT: usize = 500;
    // Slower, so that no reader is away for as long as a roll is kept.
    let config = format!("every = '5ms'\nkeep = {N_KEPT}");
    let n_kills = times(30, 500);
    let Outcome { logs, n_stored, n_ever, recovered } =
        campaign(n_kills, &config, Seam::LastEventId, &[Way::Pages]);
    for (who, log) in &logs {
        log.assert_is_whole(who);
    }
    assert!(n_stored >= N_KEPT.min(n_ever as usize), "only {n_stored} are kept of {n_ever}");
    assert!(n_stored < 2 * N_KEPT, "{n_stored} are kept, and should be {N_KEPT}");
    println!("{n_stored} are kept of {n_ever}");
    Row {
        fault: "`kill -9` while old rolls are deleted (`keep = 500`)",
        n_injected: n_kills,
        n_lost: logs.iter().map(|(_, log)| log.n_lost).sum(),
        n_repeated: logs.iter().map(|(_, log)| log.n_repeated).sum(),
        recovered: Recovered::In(recovered),
        control: "none of its own: the oracle of `kills::after_every_kill`".into(),
        test: "kills::kills_while",
    }
    .write();
}
