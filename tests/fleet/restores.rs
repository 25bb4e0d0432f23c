//! An engine that was put back to an older state, or that lost everything.

use std::time::Instant;

use crate::clients::Clients;
use crate::common::wait_for;
use crate::engine::{Engine, Snapshot};
use crate::fleet::Fleet;
use crate::kills::longest_silence;
use crate::nodes::{Node, Settings};
use crate::oracle::{Replica, differences, differing_checkpoints, judge, median_and_max};
use crate::report::{Recovered, Row, times};

/// Stops all servers, copies their folders and starts them again.
fn snapshot(engine: &mut Engine) -> Snapshot {
    engine.stop_all();
    let snapshot = engine.snapshot();
    engine.restart_all();
    snapshot
}

/// Puts the servers back to a copy.
fn restore(engine: &mut Engine, snapshot: &Snapshot) {
    engine.kill_all();
    engine.restore(snapshot);
    engine.restart_all();
}

/// A fork, which the oracle must notice: the engine is put back to an older state while only a node
/// with a shorter history runs, and that node goes on alone. Returns the fleet, in which node 2 is
/// the shorter one, and what the oracle found.
fn fork() -> (Fleet, Vec<String>) {
    let mut fleet = Fleet::start(1, 3);
    fleet.nodes[2].kill();
    let short = fleet.nodes[2].head();
    fleet.nodes[0].wait_for_roll(short + 3);
    let older = snapshot(&mut fleet.engine);
    fleet.nodes[0].wait_until_it_follows();
    fleet.nodes[0].wait_for_more(20);
    fleet.wait_for_two();
    fleet.nodes[0].kill();
    fleet.nodes[1].kill();
    restore(&mut fleet.engine, &older);
    fleet.nodes[2].start();
    fleet.nodes[2].wait_until_it_follows();
    // Beyond the log's place, so that it has rolls of its own.
    fleet.nodes[2].wait_for_more(8);
    fleet.start_all();
    for node in &fleet.nodes[..2] {
        let reason = node.wait_for_refusal();
        assert!(reason.contains("different histories"), "{reason}");
        let head = node.head();
        assert_eq!(node.get(&format!("/rolls/{head}")).0, 200, "it goes on serving");
        assert_eq!(node.get("/").0, 200);
    }
    let n = fleet.nodes[2].head();
    fleet.nodes[2].wait_for_roll(n + 3);
    assert_eq!(fleet.nodes[2].state(), "following");
    fleet.stop_all();
    let replicas: Vec<Replica> =
        fleet.nodes.iter().map(|node| Replica::read(&node.instance)).collect();
    let found = differences(&replicas);
    (fleet, found)
}

impl Fleet {
    /// Waits until the first two nodes have the same newest roll.
    fn wait_for_two(&self) {
        let head = self.nodes[0].head().max(self.nodes[1].head());
        self.nodes[..2].iter().for_each(|node| node.wait_for_roll(head));
    }
}

#[test]
fn a_fork_is_noticed_by_the_nodes_with_the_lost_rolls_and_a_person_ends_it() {
    let (mut fleet, found) = fork();
    assert!(!found.is_empty(), "the oracle did not notice the fork");
    // The longer one of the first two histories wins: its node makes a new log, and the others take
    // backups. Of two kills, the second one may leave a roll more.
    let longest = usize::from(fleet.nodes[1].head() > fleet.nodes[0].head());
    for other in [1 - longest, 2] {
        fleet.nodes[other].take_backup_of(&fleet.nodes[longest]);
    }
    fleet.nodes[longest].create(&["--replicas", "1", "--replace"]);
    fleet.start_all();
    fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    fleet.nodes[0].wait_for_more(5);
    fleet.stop_rolling();
    assert_eq!(differing_checkpoints(&fleet.nodes), [""; 0]);
    fleet.stop_all();
    let replicas: Vec<Replica> =
        fleet.nodes.iter().map(|node| Replica::read(&node.instance)).collect();
    assert_eq!(differences(&replicas), [""; 0]);
}

#[test]
fn rolls_that_the_engine_lost_are_given_back_by_the_nodes() {
    let mut fleet = Fleet::start(3, 3);
    let clients = Clients::start(&fleet, 3);
    let mut recovered = Vec::new();
    let n_restores = times(1, 10);
    for _ in 0..n_restores {
        fleet.nodes[0].wait_for_more(3);
        let older = snapshot(&mut fleet.engine);
        let last = fleet.engine.entries().len();
        fleet.nodes.iter().for_each(Node::wait_until_it_follows);
        fleet.nodes[0].wait_for_more(15);
        fleet.wait_until_equal();
        let n_before: f64 = returned(&fleet);
        fleet.engine.kill_all();
        let head = fleet.head();
        fleet.engine.restore(&older);
        fleet.engine.restart_all();
        assert!(last < head as usize, "the engine lost nothing");
        let start = Instant::now();
        wait_for("the next roll", || (fleet.head() > head).then_some(()));
        recovered.push(start.elapsed());
        wait_for("a node that says so", || (returned(&fleet) > n_before).then_some(()));
        fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    }
    let n_logged: usize = fleet.nodes.iter().map(|node| node.n_logged("back to the fleet")).sum();
    assert!(n_logged > 0, "no node logged that it gave rolls back");
    let verdict = judge(&mut fleet, clients);
    Row {
        fault: "all servers are put back to a state that is 15 rolls older",
        n_injected: n_restores,
        n_lost: verdict.n_lost,
        n_repeated: verdict.n_repeated,
        recovered: Recovered::Words(format!(
            "rolls given back, next roll after {}",
            median_and_max(&mut recovered)
        )),
        control: "with only a shorter node up the history forks: the oracle and the other nodes \
                  notice it"
            .into(),
        test: "restores::rolls",
    }
    .write();
    verdict.assert_sound();
}

#[test]
fn a_server_that_lost_its_disk_gets_the_log_from_the_others() {
    let mut fleet = Fleet::start(3, 2);
    let clients = Clients::start(&fleet, 2);
    let mut silences = Vec::new();
    for n in 0..times(2, 20) {
        fleet.nodes[0].wait_for_more(3);
        let leader = fleet.engine.leader();
        // A follower and the leader in turn.
        let server = (leader + 1 - n % 2) % 3;
        fleet.engine.kill(server);
        fleet.engine.wipe_one(server);
        silences.push(longest_silence(&fleet.nodes[n % 2], 3));
        fleet.engine.restart(server);
        fleet.engine.wait_until_ready();
        fleet.engine.wait_for_replicas();
        fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    }
    assert_eq!(returned(&fleet), 0.0, "the log lost rolls");
    let verdict = judge(&mut fleet, clients);
    Row {
        fault: "a server loses its disk, a follower and the leader in turn",
        n_injected: silences.len(),
        n_lost: verdict.n_lost,
        n_repeated: verdict.n_repeated,
        recovered: Recovered::Words(format!("next roll after {}", median_and_max(&mut silences))),
        control: "two publishers that do not name the place (above)".into(),
        test: "restores::a_server",
    }
    .write();
    verdict.assert_sound();
}

/// How many rolls all nodes have given back since their start.
fn returned(fleet: &Fleet) -> f64 {
    fleet.nodes.iter().map(|node| node.metric("rollcast_fleet_returned_total").unwrap()).sum()
}

#[test]
fn after_a_loss_of_the_whole_engine_the_node_with_the_longest_history_makes_a_new_log() {
    let mut fleet = Fleet::start(1, 3);
    let clients = Clients::start(&fleet, 2);
    // Node 2 is away, and its history ends before the new log begins.
    fleet.nodes[2].stop();
    fleet.nodes[0].wait_for_more(5);
    fleet.wait_for_two();
    fleet.engine.kill_all();
    fleet.engine.wipe();
    fleet.engine.restart_all();
    for node in &fleet.nodes[..2] {
        let reason = node.wait_for_refusal();
        assert!(reason.contains("rollcast fleet create"), "{reason}");
    }
    let head = fleet.head();
    let longest = fleet.nodes.iter().position(|node| node.head() == head).unwrap();
    fleet.nodes[longest].create(&["--replicas", "1"]);
    // The newest roll may have reached only one of them.
    if fleet.nodes[1 - longest].head() < head {
        fleet.nodes[1 - longest].stop();
        fleet.nodes[1 - longest].take_backup_of(&fleet.nodes[longest]);
        fleet.nodes[1 - longest].start();
    }
    for node in &fleet.nodes[..2] {
        node.wait_until_it_follows();
        node.wait_for_roll(head + 3);
    }
    fleet.nodes[2].start();
    let reason = fleet.nodes[2].wait_for_refusal();
    assert!(reason.contains("backup of another node"), "{reason}");
    assert_eq!(fleet.nodes[2].get("/").0, 200);
    fleet.nodes[2].stop();
    fleet.nodes[2].take_backup_of(&fleet.nodes[0]);
    let settings = Settings { every: "200ms".into(), ..fleet.nodes[2].settings.clone() };
    fleet.nodes[2].configure(settings);
    fleet.nodes[2].start();
    fleet.nodes[2].wait_until_it_follows();
    let verdict = judge(&mut fleet, clients);
    verdict.assert_sound();
    assert_eq!((verdict.n_lost, verdict.n_repeated), (0, 0));
}
