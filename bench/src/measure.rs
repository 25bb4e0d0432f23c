//! One measurement: a new server, a number of clients and a rate of rolls.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::fleet::{self, Fleet, Reached};
use crate::procs;
use crate::server::{Peer, Places, Server, Setup};
use crate::writes::WriteCount;

/// The timeout for opening all streams of a measurement.
pub const OPENING: Duration = Duration::from_secs(60);
/// The timeout for the slowest client to receive all rolls.
const DRAINING: Duration = Duration::from_secs(10);
/// The time before the measurement starts.
const WARM_UP: Duration = Duration::from_secs(1);
/// The time in which write calls are counted, after the measurement.
const COUNTING: Duration = Duration::from_secs(1);

/// The parameters of a measurement.
#[derive(Clone, Debug)]
pub struct Load {
    pub n_clients: usize,
    pub every: Duration,
    pub time: Duration,
    /// Whether to record the times of commits and arrivals.
    pub latency: bool,
    pub count_writes: bool,
}

impl Load {
    /// A load without latency and write calls.
    pub fn new(n_clients: usize, every: Duration, time: Duration) -> Load {
        Load { n_clients, every, time, latency: false, count_writes: false }
    }
}

/// The result of a measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    pub peer: &'static str,
    pub n_clients: usize,
    pub rolls_asked_per_s: f64,
    pub rolls_per_s: f64,
    pub n_deliveries: u64,
    pub deliveries_per_s: f64,
    /// CPU time of all server processes.
    pub cpu_us_per_delivery: f64,
    pub user_us_per_delivery: f64,
    pub system_us_per_delivery: f64,
    pub switches_per_delivery: f64,
    pub deliveries_per_read: f64,
    pub writes_per_delivery: Option<f64>,
    /// The tool that counted them, or why none could; empty if they were not requested.
    pub writes_by: Option<String>,
    pub connects_per_s: f64,
    pub memory_kib_before: u64,
    pub memory_kib_per_client: f64,
    pub latency: Option<Latency>,
    pub n_missed: u64,
    pub n_repeats: u64,
    pub n_failures: u64,
    /// Clients that still lacked rolls 10 s after the first client had them.
    pub n_behind: usize,
    pub problems: Vec<String>,
}

/// Milliseconds from the commit, or from a peer's publication, to a client.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// To the last client, for each roll that all clients received.
    pub last_ms: Vec<f64>,
    /// Rolls that a client lost. They are not part of the other figures.
    pub n_left_out: usize,
}

impl Measured {
    /// Whether every client received every roll once and in order.
    pub fn is_sound(&self) -> bool {
        self.n_missed == 0 && self.n_repeats == 0 && self.n_failures == 0 && self.n_behind == 0
    }

    /// The errors as text; empty if there are none.
    pub fn faults(&self) -> String {
        let counts = [
            (self.n_missed, "missed"),
            (self.n_repeats, "repeated"),
            (self.n_failures, "streams failed"),
            (self.n_behind as u64, "clients behind"),
        ];
        let counts = counts.iter().filter(|(n, _)| *n > 0);
        counts.map(|(n, what)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// Runs one measurement. A fault of a peer is part of the result; a fault of rollcast is an error.
pub fn measure(places: &Places, peer: Peer, load: &Load) -> Result<Measured> {
    fleet::allow_files(load.n_clients as u64 + fleet::SPARE_FILES)?;
    let mut setup = Setup::new(peer, load.every);
    setup.commits = load.latency && peer.is_product();
    let server = Server::start(places, &setup)?;
    let measured = measure_running(server, load)
        .with_context(|| format!("measuring {} with {} clients", peer.name(), load.n_clients))?;
    judge(peer, measured)
}

fn judge(peer: Peer, measured: Measured) -> Result<Measured> {
    if peer.is_product() && !measured.is_sound() {
        bail!("rollcast is at fault: {} ({})", measured.faults(), measured.problems.join("; "));
    }
    Ok(measured)
}

fn measure_running(server: Server, load: &Load) -> Result<Measured> {
    let pids = server.pids();
    // One client first, so that one-time costs do not count as the cost of each client.
    Fleet::new(server.target.clone())?.open(1, OPENING).map_err(|error| server.explain(&error))?;
    std::thread::sleep(Duration::from_millis(200));
    let memory_before = procs::memory_kib(&pids)?;

    let mut fleet = Fleet::new(server.target.clone())?;
    let opening = fleet.open(load.n_clients, OPENING).map_err(|error| server.explain(&error))?;
    fleet.run(WARM_UP)?;

    if load.latency {
        fleet.reached = Some(Vec::new());
    }
    let (begin, counts, usage) = (Instant::now(), fleet.counts, procs::usage(&pids)?);
    let head = fleet.head;
    fleet.run(load.time)?;
    let seconds = begin.elapsed().as_secs_f64();
    let used = procs::usage(&pids)?.since(&usage);
    let n_deliveries = fleet.counts.n_deliveries - counts.n_deliveries;
    let n_reads = fleet.counts.n_reads - counts.n_reads;
    let n_rolls = fleet.head - head;
    let memory = procs::memory_kib(&pids)?;

    let (writes_per_delivery, writes_by) = match load.count_writes {
        false => (None, None),
        true => match writes_per_delivery(&mut fleet, &pids) {
            Ok((writes, tool)) => (Some(writes), Some(tool.to_string())),
            Err(error) => (None, Some(format!("none, since {error:#}"))),
        },
    };
    let n_behind = fleet.drain(DRAINING)?;
    let reached = fleet.reached.take();
    let counts = fleet.counts;
    let problems = std::mem::take(&mut fleet.problems);
    drop(fleet);
    let peer = server.peer;
    let commits = server.stop()?;

    let per_delivery = |amount: f64| amount / n_deliveries.max(1) as f64;
    let latency = reached.and_then(|reached| latency(&reached, &commits, peer, load.n_clients));
    Ok(Measured {
        peer: peer.name(),
        n_clients: load.n_clients,
        rolls_asked_per_s: 1.0 / load.every.as_secs_f64(),
        rolls_per_s: n_rolls as f64 / seconds,
        n_deliveries,
        deliveries_per_s: n_deliveries as f64 / seconds,
        cpu_us_per_delivery: per_delivery(used.user_us + used.system_us),
        user_us_per_delivery: per_delivery(used.user_us),
        system_us_per_delivery: per_delivery(used.system_us),
        switches_per_delivery: per_delivery(used.n_switches as f64),
        deliveries_per_read: n_deliveries as f64 / n_reads.max(1) as f64,
        writes_per_delivery,
        writes_by,
        connects_per_s: load.n_clients as f64 / opening.as_secs_f64(),
        memory_kib_before: memory_before,
        memory_kib_per_client: (memory as f64 - memory_before as f64) / load.n_clients as f64,
        latency,
        n_missed: counts.n_missed,
        n_repeats: counts.n_repeats,
        n_failures: counts.n_failures,
        n_behind,
        problems,
    })
}

/// Write calls and deliveries over the same time.
fn writes_per_delivery(fleet: &mut Fleet, pids: &[u32]) -> Result<(f64, &'static str)> {
    let mut count = WriteCount::prepare(&procs::family(pids)?)?;
    // Deliveries in this time may have been written before.
    fleet.run(Duration::from_millis(20))?;
    count.begin()?;
    let before = fleet.counts.n_deliveries;
    fleet.run(COUNTING)?;
    let n_deliveries = fleet.counts.n_deliveries - before;
    let (n_calls, tool) = count.stop()?;
    if n_deliveries == 0 {
        bail!("nothing was delivered while write calls were counted");
    }
    Ok((n_calls as f64 / n_deliveries as f64, tool))
}

/// Latency from the commit if there is one, otherwise from the time in the roll's mark. Only rolls
/// that reached every client count. The first and the last roll may be partly outside the
/// measurement; any other incomplete roll was lost by a client.
pub fn latency(
    reached: &[Reached],
    commits: &HashMap<u64, u64>,
    peer: Peer,
    n_clients: usize,
) -> Option<Latency> {
    let mut rolls = HashMap::<u64, Vec<u64>>::new();
    for Reached { n, marked, at_us } in reached {
        let begin = if peer.is_product() { *commits.get(n)? } else { *marked };
        rolls.entry(*n).or_default().push(at_us.saturating_sub(begin).max(1));
    }
    let (first, last) = (*rolls.keys().min()?, *rolls.keys().max()?);
    rolls.retain(|_, waits| waits.len() == n_clients);
    let n_lost = (first + 1..last).filter(|n| !rolls.contains_key(n)).count();
    let ms = |us: u64| us as f64 / 1e3;
    let (mut all, mut last_ms) = (histogram(), Vec::new());
    for waits in rolls.values() {
        waits.iter().for_each(|wait| all.saturating_record(*wait));
        last_ms.push(ms(*waits.iter().max()?));
    }
    (!rolls.is_empty()).then(|| Latency {
        p50_ms: ms(all.value_at_quantile(0.5)),
        p99_ms: ms(all.value_at_quantile(0.99)),
        p999_ms: ms(all.value_at_quantile(0.999)),
        max_ms: ms(all.max()),
        last_ms,
        n_left_out: n_lost,
    })
}

/// A histogram of microseconds, up to a minute, with three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that a histogram takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_rollcast_is_an_error_and_a_fault_of_a_peer_is_listed() {
        let sound = Measured { n_deliveries: 10, ..Measured::default() };
        assert!(judge(Peer::Rollcast, sound.clone()).is_ok());
        let faults = [
            (Measured { n_missed: 1, ..sound.clone() }, "1 missed"),
            (Measured { n_repeats: 2, ..sound.clone() }, "2 repeated"),
            (Measured { n_failures: 3, ..sound.clone() }, "3 streams failed"),
            (Measured { n_behind: 4, ..sound.clone() }, "4 clients behind"),
        ];
        for (measured, fault) in faults {
            let error = judge(Peer::Rollcast, measured.clone()).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
            assert_eq!(judge(Peer::Axum, measured).unwrap().faults(), fault);
        }
    }

    #[test]
    fn latency_is_from_the_commit_to_each_client_and_to_the_last() {
        let reached = |n, at_us| Reached { n, marked: 1_000_000, at_us };
        // Roll 1 reached only one of two clients within the measurement.
        let all = [
            reached(1, 1_001_000),
            reached(2, 2_001_000),
            reached(2, 2_004_000),
            reached(3, 3_002_000),
            reached(3, 3_002_000),
        ];
        let commits = HashMap::from([(1, 1_000_000), (2, 2_000_000), (3, 3_000_000)]);
        let found = latency(&all, &commits, Peer::Rollcast, 2).unwrap();
        assert_eq!((found.last_ms.len(), found.n_left_out), (2, 0));
        assert!((found.p50_ms - 2.0).abs() < 0.01, "{found:?}");
        assert!((found.max_ms - 4.0).abs() < 0.01, "{found:?}");
        let last_ms = found.last_ms.iter().copied().fold(0.0, f64::max);
        assert!((last_ms - 4.0).abs() < 0.01, "{found:?}");
        assert!(
            latency(&all, &HashMap::new(), Peer::Rollcast, 2).is_none(),
            "no commit, no figure"
        );
        let of_a_peer = latency(&all[..1], &commits, Peer::Axum, 1).unwrap();
        assert!((of_a_peer.max_ms - 1.0).abs() < 0.01, "{of_a_peer:?}");
    }

    #[test]
    fn rolls_that_a_client_lost_are_counted_as_left_out() {
        let reached = |n| Reached { n, marked: 1_000_000, at_us: 1_001_000 };
        // One of two clients lost roll 3, and both lost roll 4. Rolls 1 and 6 are the edges.
        let all = [1, 2, 2, 3, 5, 5, 6].map(reached);
        let found = latency(&all, &HashMap::new(), Peer::Axum, 2).unwrap();
        assert_eq!((found.last_ms.len(), found.n_left_out), (2, 2), "{found:?}");
    }
}
