//! How fast a fleet is. `make torture` prints the figures; the quick run checks only that they can be
//! measured. For figures of a release:
//!
//!     ROLLCAST_TORTURE=1 cargo test --release --features fleet --test fleet figures -- --nocapture

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::{TIMEOUT, wait_for};
use crate::engine::STREAM;
use crate::entries::Author;
use crate::fleet::Fleet;
use crate::nodes::Node;
use crate::report::times;

/// The time from a roll's timestamp to its arrival at a client, for the next `n_rolls` of a node.
fn delays(node: &Node, n_rolls: usize) -> Vec<Duration> {
    let mut socket = TcpStream::connect(("127.0.0.1", node.instance.port())).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    // Without chunks, which may end within a line.
    socket.write_all(b"GET /stream/ HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let lines = BufReader::new(socket).lines().map(Result::unwrap);
    let rolled_at = lines.filter_map(|line| {
        let (_, millis) = line.strip_prefix("id: ")?.split_once('-')?;
        Some(Duration::from_millis(millis.parse().unwrap()))
    });
    let delays = rolled_at.map(|rolled_at| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.saturating_sub(rolled_at)
    });
    delays.take(n_rolls).collect()
}

#[test]
fn rolls_are_seen_on_all_nodes_soon_after_their_time() {
    let fleet = Fleet::start(3, 3);
    let n_rolls = times(10, 1_500);
    let mut all: Vec<Duration> = thread::scope(|scope| {
        let nodes = fleet.nodes.iter();
        let clients: Vec<_> = nodes.map(|node| scope.spawn(|| delays(node, n_rolls))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(all.len(), 3 * n_rolls);
    all.sort();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100];
    let (median, p99, most) = (at(50), at(99), at(100));
    println!(
        "rolled to seen, {n_rolls} rolls on 3 nodes: {median:?} median, {p99:?} p99, {most:?} most"
    );
    assert!(most < TIMEOUT, "a client got an old roll");
}

#[test]
fn a_node_that_was_away_reads_many_entries_at_once() {
    let mut fleet = Fleet::start_silent(2);
    fleet.nodes[1].stop();
    let n_entries = times(500, 86_400) as i64;
    let author = Author::new(&fleet.secret);
    let mut nats = fleet.engine.nats();
    let mut entry = author.next(&fleet.engine);
    for _ in 0..n_entries {
        nats.append_after(STREAM, entry.id as u64 - 1, &entry.text()).unwrap();
        entry = author.after(&entry.text());
    }
    let last = entry.id - 1;
    fleet.nodes[0].wait_for_roll(last);
    let start = Instant::now();
    fleet.nodes[1].start();
    let started = start.elapsed();
    wait_for("the newest entry", || (fleet.nodes[1].head() >= last).then_some(()));
    let seconds = (start.elapsed() - started).as_secs_f64();
    println!(
        "{n_entries} entries in {seconds:.2} s after the start: {:.0}/s",
        n_entries as f64 / seconds
    );
    fleet.nodes[1].wait_until_it_follows();
}
