//! All servers are down, or the leader is paused, or everything is killed at once.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clients::Clients;
use crate::common::events::{Ask, Frame, Stream};
use crate::common::wait_for;
use crate::engine::{Engine, STREAM};
use crate::entries::Author;
use crate::fleet::Fleet;
use crate::kills::longest_silence;
use crate::nodes::{EVERY, Node};
use crate::oracle::{Roll, judge, median_and_max, n_rolled_between};
use crate::report::{Recovered, Row, times};

/// How long all servers are down.
const OUTAGE: Duration = Duration::from_secs(10);
/// The roll that was proposed when the servers went away, and the one that was due then.
const MAX_FROM_OUTAGE: usize = 2;

fn sleep(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::thread::park_timeout(time.saturating_sub(start.elapsed()));
    }
}

/// What a node without its fleet still does: pages, streams, the API and backups.
fn assert_it_serves(node: &Node) {
    let head = node.head();
    for path in ["/".into(), "/rolls".into(), format!("/rolls/{head}"), "/stats".into()] {
        assert_eq!(node.get(&path).0, 200, "{path}");
    }
    for path in [format!("/api/rolls/{head}"), "/api/rolls?limit=5".into(), "/healthz".into()] {
        assert_eq!(node.get(&path).0, 200, "{path}");
    }
    let (status, ready) = node.get("/readyz");
    assert!(status == 503 && ready.contains("the fleet cannot be reached: "), "{status}: {ready}");
    assert_eq!(node.metric("rollcast_fleet_following"), Some(0.0));
    let last = head.saturating_sub(3).to_string();
    let ask = Ask { last_event_id: Some(&last), ..Ask::default() };
    let mut stream = Stream::open(&node.url("/stream/"), ask).unwrap();
    assert_eq!(stream.rolls(3).len(), 3, "the history goes on");
    let heartbeats = stream.filter(|frame| *frame == Frame::Comment).take(2).count();
    assert_eq!(heartbeats, 2);
    let copy = node.instance.path().join("copy.db");
    let (code, _, stderr) = node.run(&["backup", "--force", copy.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
}

/// Rolls that a node without the rule would make: one proposal for each interval of an outage, which
/// its client library keeps and sends at the end. Returns how many there are.
fn n_of_a_volley() -> usize {
    let fleet = Fleet::start_silent(1);
    let author = Author::new(&fleet.secret);
    let (from, mut kept) = (Timestamp::now(), Vec::<String>::new());
    for _ in 0..10 {
        sleep(EVERY / 10);
        let before = kept.last().cloned();
        kept.push(match before {
            None => author.next(&fleet.engine).text(),
            Some(before) => author.after(&before).text(),
        });
    }
    let to = Timestamp::now();
    let mut nats = fleet.engine.nats();
    for entry in &kept {
        nats.append(STREAM, entry).unwrap();
    }
    fleet.nodes[0].wait_for_roll(kept.len() as i64);
    n_rolled_between(&fleet.nodes[0].instance.stored(), from, to)
}

#[test]
fn while_all_servers_are_down_nodes_serve_and_then_one_roll_follows_and_no_volley() {
    let n_control = n_of_a_volley();
    assert!(n_control > MAX_FROM_OUTAGE, "a volley of {n_control} was not noticed");

    let mut fleet = Fleet::start_with(Engine::start(3), 3, |settings| {
        settings.rollcast = "heartbeat = '1s'".into();
    });
    let clients = Clients::start(&fleet, 3);
    let mut silences = Vec::new();
    let mut outages = Vec::new();
    let n_outages = times(1, 10);
    for n in 0..n_outages {
        fleet.nodes[0].wait_for_more(5);
        let start = Instant::now();
        fleet.engine.kill_all();
        let from = Timestamp::now();
        for node in &fleet.nodes {
            node.wait_for_state("unreachable");
        }
        // A proposal that was under way is over.
        let head = fleet.head();
        if n == 0 {
            assert_it_serves(&fleet.nodes[0]);
            assert!(fleet.nodes[1].n_logged("lost touch with the fleet") > 0);
            // A node stops and starts without the servers.
            fleet.nodes[2].stop();
            fleet.nodes[2].start();
            fleet.nodes[2].wait_for_state("unreachable");
            assert_eq!(fleet.nodes[2].get("/").0, 200);
        }
        sleep(OUTAGE.saturating_sub(start.elapsed()));
        assert_eq!(fleet.head(), head, "a roll without the servers");
        let to = Timestamp::now();
        let start = Instant::now();
        fleet.engine.restart_all();
        fleet.nodes[0].wait_for_roll(head + 1);
        silences.push(start.elapsed());
        outages.push((from, to));
        fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    }
    fleet.nodes[0].wait_for_more(5);
    let verdict = judge(&mut fleet, clients);
    let from_outage = |rolls: &[Roll]| {
        outages.iter().map(|(from, to)| n_rolled_between(rolls, *from, *to)).max().unwrap()
    };
    let n_from_outage = from_outage(&verdict.rolls);
    Row {
        fault: "all servers killed, and back after 10 s",
        n_injected: n_outages,
        n_lost: verdict.n_lost,
        n_repeated: verdict.n_repeated,
        recovered: Recovered::Words(format!(
            "next roll {} after the start of the servers; {n_from_outage} rolls of the outage at most",
            median_and_max(&mut silences)
        )),
        control: format!("a publisher that keeps its proposals makes {n_control} rolls at once"),
        test: "outage::while_all_servers",
    }
    .write();
    verdict.assert_sound();
    assert!(n_from_outage <= MAX_FROM_OUTAGE, "{n_from_outage} rolls are from one outage");
}

#[test]
fn a_leader_that_is_paused_for_12_s_is_replaced_and_returns_without_harm() {
    let mut fleet = Fleet::start(3, 3);
    let clients = Clients::start(&fleet, 3);
    let mut silences = Vec::new();
    for n in 0..times(1, 10) {
        fleet.nodes[0].wait_for_more(3);
        let leader = fleet.engine.leader();
        let start = Instant::now();
        fleet.engine.pause(leader);
        silences.push(longest_silence(&fleet.nodes[n % 3], 3));
        sleep(Duration::from_secs(12).saturating_sub(start.elapsed()));
        fleet.engine.resume(leader);
        fleet.nodes[0].wait_for_more(3);
        fleet.engine.wait_for_replicas();
        fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    }
    let verdict = judge(&mut fleet, clients);
    Row {
        fault: "the server that leads the stream is paused for 12 s",
        n_injected: silences.len(),
        n_lost: verdict.n_lost,
        n_repeated: verdict.n_repeated,
        recovered: Recovered::Words(format!("next roll after {}", median_and_max(&mut silences))),
        control: "two publishers that do not name the place (above)".into(),
        test: "outage::a_leader",
    }
    .write();
    verdict.assert_sound();
}

#[test]
fn after_a_kill_of_all_nodes_and_servers_at_once_every_roll_that_was_seen_is_there() {
    let mut fleet = Fleet::start(3, 3);
    let clients = Clients::start(&fleet, 3);
    let mut times_to_roll = Vec::new();
    for n in 0..times(1, 30) {
        fleet.nodes[n % 3].wait_for_more(3);
        fleet.nodes.iter_mut().for_each(Node::kill);
        fleet.engine.kill_all();
        let (head, start) = (fleet.head(), Instant::now());
        fleet.engine.restart_all();
        fleet.start_all();
        wait_for("the next roll", || (fleet.head() > head).then_some(()));
        times_to_roll.push(start.elapsed());
        fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    }
    fleet.nodes[0].wait_for_more(3);
    let verdict = judge(&mut fleet, clients);
    Row {
        fault: "`kill -9` of all nodes and all servers at once",
        n_injected: times_to_roll.len(),
        n_lost: verdict.n_lost,
        n_repeated: verdict.n_repeated,
        recovered: Recovered::Words(format!(
            "next roll {} after the restart",
            median_and_max(&mut times_to_roll)
        )),
        control: "two publishers that do not name the place (above)".into(),
        test: "outage::after_a_kill",
    }
    .write();
    verdict.assert_sound();
}
