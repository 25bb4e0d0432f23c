//! `kill -9` at random moments while clients read streams and pages. Every roll that a client has
//! seen is stored, and no client misses a roll or gets one twice.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::common::listener::{Behaviour, Listener, ResumeWith};
use crate::common::{Door, Instance, Server, at_each_door, wait_for};
use crate::oracle::{Log, Stored, log_of};
use crate::pagers::{Pager, Way};
use crate::report::{Recovered, Row, times};

/// Random delays. The seed is printed, so that a failure can be reproduced.
pub struct Moments(StdRng);

impl Moments {
    /// The seed differs for each process.
    pub fn new() -> Moments {
        let seed = u64::from(std::process::id());
        println!("random delays use seed {seed}");
        Moments(StdRng::seed_from_u64(seed))
    }

    pub fn next_below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }
}

/// The result of a campaign: each client's log, and the longest time from a start to a new roll
/// that all readers have seen.
struct Outcome {
    logs: Vec<(String, Log)>,
    n_stored: usize,
    recovered: Duration,
}

/// The id of the newest stored roll, or 0.
pub fn head(instance: &Instance) -> i64 {
    let newest = "select coalesce(max(id), 0) from rolls";
    instance.sqlite().query_row(newest, [], |row| row.get(0)).unwrap()
}

/// Kills a server `n_kills` times under three stream readers at a door, and one pager for each of
/// `ways`.
fn campaign(door: Door, n_kills: usize, resume_with: ResumeWith, ways: &[Way]) -> Outcome {
    let instance = door.instance("every = '1ms'");
    let mut moments = Moments::new();
    let behaviour = match resume_with {
        ResumeWith::Nothing => Behaviour { start: None, ..Behaviour::EAGER.with(resume_with) },
        resume_with => Behaviour::EAGER.with(resume_with),
    };
    let listen = || Listener::start(instance.url("/stream/"), behaviour);
    let readers: Vec<Listener> = (0..3).map(|_| listen()).collect();
    let pagers: Vec<(Way, Pager)> =
        ways.iter().map(|way| (*way, Pager::start(&instance, *way))).collect();
    let (mut recovered, mut reported) = (Duration::ZERO, Instant::now());
    for n in 0..n_kills {
        let n_seen: Vec<usize> =
            readers.iter().map(|reader| reader.received().rolls.len()).collect();
        let started = Instant::now();
        let mut server = Server::spawn(&mut instance.command());
        // Kills every other server during its start, and the others while all readers listen.
        if n % 2 == 1 {
            wait_for("all readers to see a new roll", || {
                let mut readers = readers.iter().zip(&n_seen);
                readers.all(|(reader, n)| reader.received().rolls.len() > *n).then_some(())
            });
            recovered = recovered.max(started.elapsed());
        }
        let max_delay = if n % 2 == 1 { 30 } else { 120 };
        let moment = Duration::from_millis(moments.next_below(max_delay));
        let start = Instant::now();
        while start.elapsed() < moment {
            park_timeout(moment.saturating_sub(start.elapsed()));
        }
        server.kill();
        if reported.elapsed() > Duration::from_secs(30) {
            reported = Instant::now();
            println!("{} of {n_kills} kills, {} rolls", n + 1, head(&instance));
        }
    }
    // The last server runs until all clients have seen one of its own rolls.
    let mut server = instance.start();
    let n_before = head(&instance);
    wait_for("more rolls", || (head(&instance) > n_before + 10).then_some(()));
    for reader in &readers {
        wait_for("a reader to catch up", || (reader.received().last() > n_before).then_some(()));
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
    let stored = Stored::read(&instance);
    for (client, log) in &mut logs {
        println!("{client} saw {} rolls, {} are stored", log.n_seen(), stored.len());
        log.settle(&stored);
    }
    Outcome { logs, n_stored: stored.len(), recovered }
}

/// How many rolls the deliberately broken clients lost. Asserts that each of them lost some.
fn n_lost(control: &Outcome) -> usize {
    let lost = control.logs.iter().map(|(client, log)| {
        assert!(log.n_lost > 0, "{client} has no cursor and missed nothing");
        log.n_lost
    });
    lost.sum()
}

at_each_door!(after_every_kill_all_seen_rolls_are_stored_once_and_no_client_missed_any);

fn after_every_kill_all_seen_rolls_are_stored_once_and_no_client_missed_any(door: Door) {
    let n_lost = n_lost(&campaign(door, 10, ResumeWith::Nothing, &[]));
    let mut control =
        format!("over 10 kills, three readers that do not resume lose {n_lost} rolls");
    // Downloads have only one door.
    if door == Door::Rocket {
        // Repeated, because a kill must happen in the middle of a download.
        let n_cut_off = (0..10).find_map(|_| {
            let control = campaign(door, 10, ResumeWith::LastEventId, &[Way::CarelessDownloads]);
            Some(control.logs.last().unwrap().1.n_lost).filter(|n| *n > 0)
        });
        let n_cut_off =
            n_cut_off.expect("a client that accepts truncated downloads missed nothing");
        control += &format!("; a client that accepts truncated downloads loses {n_cut_off}");
    }

    let n_kills = times(50, 1_000);
    let Outcome { logs, n_stored, recovered } =
        campaign(door, n_kills, ResumeWith::LastEventId, &Way::ALL);
    for (client, log) in &logs {
        log.assert_is_whole(client);
    }
    assert!(n_stored >= n_kills / 2, "only {n_stored} rolls were stored over {n_kills} kills");
    Row {
        fault: "`kill -9` under three stream readers, pages, JSON pages and downloads",
        n_injected: n_kills,
        n_lost: logs.iter().map(|(_, log)| log.n_lost).sum(),
        n_repeated: logs.iter().map(|(_, log)| log.n_repeated).sum(),
        recovered: Recovered::In(recovered),
        control,
        test: "kills::after_every_kill",
    }
    .write_at(door);
}
