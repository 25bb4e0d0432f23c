//! `kill -9` while readers fetch checkpoints. Every checkpoint that was ever served is one of the
//! tree at the end, and was in its file before it was served.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use rollcast::log::{Checkpoint, Hash};

use crate::common::log_reader::{checkpoint_at, checkpoint_of, leaves, roots};
use crate::common::{Instance, Server, wait_for};
use crate::kills::{Moments, head};
use crate::report::{Recovered, Row, times};
use crate::shim::{Calls, Failure, Fault, Shim};

/// The number of kills, in place of that of the campaign.
const N_KILLS: &str = "ROLLCAST_LOG_KILLS";

/// Fetches checkpoints all the time.
struct Reader {
    served: Arc<Mutex<Served>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// The checkpoints that a reader got.
#[derive(Default)]
struct Served {
    roots: BTreeMap<u64, Hash>,
    /// The size of the last one.
    last: u64,
    /// Requests without an answer.
    n_failed: usize,
    complaints: Vec<String>,
}

impl Reader {
    fn start(instance: &Instance) -> Reader {
        let url = instance.url("/checkpoint");
        let (served, stop) = (Arc::<Mutex<Served>>::default(), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (served.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let checkpoint = checkpoint_at(&url);
                seen.lock().unwrap().see(checkpoint);
                park_timeout(Duration::from_millis(1));
            }
        });
        Reader { served, stop, thread }
    }

    fn last(&self) -> u64 {
        self.served.lock().unwrap().last
    }

    /// Waits until no answer of a killed server is still under way. Returns the size of the last
    /// checkpoint.
    fn settle(&self) -> u64 {
        let n_failed = || self.served.lock().unwrap().n_failed;
        let before = n_failed();
        wait_for("requests without an answer", || (n_failed() > before + 1).then_some(()));
        self.last()
    }

    fn stop(self) -> Served {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        Arc::into_inner(self.served).unwrap().into_inner().unwrap()
    }
}

impl Served {
    fn see(&mut self, checkpoint: Option<Checkpoint>) {
        let Some(Checkpoint { size, root }) = checkpoint else {
            self.n_failed += 1;
            return;
        };
        if size < self.last {
            self.complaints.push(format!("{size} rolls were signed after {}", self.last));
        }
        self.last = size;
        if self.roots.insert(size, root).is_some_and(|before| before != root) {
            self.complaints.push(format!("two roots of {size} rolls were signed"));
        }
    }

    /// Compares all checkpoints with the roots of the tree at the end.
    fn settle(mut self, roots: &[Hash]) -> Served {
        for (size, root) in std::mem::take(&mut self.roots) {
            if roots.get(size as usize) != Some(&root) {
                self.complaints.push(format!("the tree of {size} rolls is not the signed one"));
            }
        }
        self
    }
}

/// The result of a campaign.
struct Outcome {
    n_checkpoints: usize,
    complaints: Vec<String>,
    /// The longest time from a start to a checkpoint with new rolls.
    recovered: Duration,
}

/// When a server is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// While it starts.
    Start,
    /// Right after it served a new checkpoint.
    Served,
    /// A second later, when it signs the next one.
    Signing,
    Random,
}

impl Moment {
    const ALL: [Moment; 4] = [Moment::Start, Moment::Served, Moment::Signing, Moment::Random];

    fn delay(self, random: &mut Moments) -> Duration {
        Duration::from_millis(match self {
            Moment::Start => random.next_below(500),
            Moment::Served => random.next_below(10),
            Moment::Signing => 950 + random.next_below(150),
            Moment::Random => random.next_below(1_500),
        })
    }
}

/// Kills a server `n_kills` times. `spawn` starts it, and `after` runs after the n-th kill.
fn campaign(
    n_kills: usize,
    moments: &[Moment],
    spawn: impl Fn(&Instance) -> Server,
    after: impl Fn(&Instance, usize),
) -> Outcome {
    let instance = Instance::new("every = '1ms'");
    let reader = Reader::start(&instance);
    let mut random = Moments::new();
    let (mut complaints, mut recovered) = (Vec::new(), Duration::ZERO);
    let mut reported = Instant::now();
    for n in 0..n_kills {
        let moment = moments[n % moments.len()];
        let (started, before) = (Instant::now(), reader.last());
        let mut server = spawn(&instance);
        if !matches!(moment, Moment::Start) {
            wait_for("a new checkpoint", || {
                assert!(!server.has_ended(), "{:#?}", server.log());
                (reader.last() > before).then_some(())
            });
            recovered = recovered.max(started.elapsed());
        }
        let (delay, start) = (moment.delay(&mut random), Instant::now());
        while start.elapsed() < delay {
            park_timeout(delay.saturating_sub(start.elapsed()));
        }
        server.kill();
        let served = reader.settle();
        let written = in_file(&instance);
        if served > written {
            complaints.push(format!("{served} rolls were signed, the file has {written}"));
        }
        after(&instance, n);
        if reported.elapsed() > Duration::from_secs(30) {
            reported = Instant::now();
            println!("{} of {n_kills} kills, {} rolls", n + 1, head(&instance));
        }
    }
    let mut server = instance.start();
    let size = checkpoint_of(&instance, head(&instance) as u64 + 1).size;
    let served = reader.stop();
    let (roots, held) = roots(&leaves(&instance, size));
    server.stop();
    assert_eq!((held.n_proven, held.n_unproven), (size, 0));
    assert!(held.breaks.is_empty(), "{:?}", held.breaks);
    let n_checkpoints = served.roots.len();
    complaints.extend(served.settle(&roots).complaints);
    Outcome { n_checkpoints, complaints, recovered }
}

/// The size of the checkpoint in its file; 0 without one.
fn in_file(instance: &Instance) -> u64 {
    let note = fs::read_to_string(instance.path().join("rolls.secret.checkpoint"));
    note.map_or(0, |note| Checkpoint::read(&note).unwrap().1.size)
}

fn spawn(instance: &Instance) -> Server {
    Server::spawn(&mut instance.command())
}

/// Replaces the database by its copy of two kills before, without the checkpoint that would refuse
/// it.
fn put_back_a_copy(instance: &Instance, n: usize) {
    for name in ["rolls.db", "rolls.db-wal"] {
        let file = instance.path().join(name);
        let copy = instance.path().join(format!("{name}.copy"));
        match n {
            0 => drop(fs::copy(file, copy).unwrap()),
            2 => drop(fs::copy(copy, file).unwrap()),
            _ => {}
        }
    }
    if n == 2 {
        fs::remove_file(instance.path().join("rolls.db-shm")).unwrap();
        fs::remove_file(instance.path().join("rolls.secret.checkpoint")).unwrap();
    }
}

#[test]
fn after_every_kill_each_checkpoint_that_was_ever_served_is_one_of_the_tree() {
    // A server that serves a checkpoint before it is written.
    let shim = Shim::new();
    shim.inject(Fault { lies: true, ..Fault::for_ever(Calls::Rename, Failure::Slow) });
    let early = |instance: &Instance| Server::spawn(&mut shim.command(instance));
    let n_early = campaign(3, &[Moment::Served], early, |_, _| ()).complaints;
    assert!(shim.n_injected() > 0, "no checkpoint was written late");
    assert!(
        n_early.iter().any(|complaint| complaint.contains("the file has")),
        "a server that serves first was not noticed: {n_early:?}"
    );
    // A server that does not compare its database with what it signed.
    let forked = campaign(3, &[Moment::Served], spawn, put_back_a_copy).complaints;
    assert!(
        forked.iter().any(|complaint| complaint.contains("is not the signed one")),
        "a fork was not noticed: {forked:?}"
    );

    let asked: Option<usize> = std::env::var(N_KILLS).ok().map(|n| n.parse().unwrap());
    let n_kills = asked.unwrap_or_else(|| times(8, 200));
    let Outcome { n_checkpoints, complaints, recovered } =
        campaign(n_kills, &Moment::ALL, spawn, |_, _| ());
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(n_checkpoints > n_kills / 2, "only {n_checkpoints} checkpoints over {n_kills} kills");
    Row {
        fault: "`kill -9` while checkpoints are signed and fetched",
        n_injected: n_kills,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered),
        control: format!(
            "over 3 kills each, a server that serves a checkpoint before it is written and one \
             with an older database are noticed; {n_checkpoints} checkpoints"
        ),
        test: "proofs::kills::after_every_kill",
    }
    .write();
}
