//! One of three hosts, each with a server and a node, is cut off from the others. The majority goes
//! on, the minority makes no roll, and after the partition all are equal.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clients::Clients;
use crate::common::wait_for;
use crate::engine::{Engine, Options};
use crate::fleet::Fleet;
use crate::hosts::hosts;
use crate::kills::longest_silence;
use crate::nodes::{Node, Settings, new_secret};
use crate::oracle::{judge, median_and_max};
use crate::own_network::ran_in_own_network;
use crate::report::{Recovered, Row, times};

/// How long a host is cut off: longer than an election, and than every time limit of a node.
const PARTITION: Duration = Duration::from_secs(16);

#[test]
fn a_host_that_is_cut_off_makes_no_roll_and_is_equal_again_soon_after() {
    const NAME: &str =
        "partitions::a_host_that_is_cut_off_makes_no_roll_and_is_equal_again_soon_after";
    if ran_in_own_network(NAME, true) {
        return;
    }
    let hosts = hosts(3);
    let engine =
        Engine::start_at(hosts.iter().map(|host| host.place()).collect(), Options::default());
    let (secret, settings) = (new_secret(), Settings::of(&engine));
    let nodes = hosts.iter().map(|host| {
        let mut node = Node::new(&secret, settings.clone()).launched(host.launch());
        node.address = host.address();
        node
    });
    let mut fleet = Fleet { nodes: nodes.collect(), engine, secret };
    fleet.begin();
    let clients = Clients::start(&fleet, 0);
    let (mut silences, mut healed) = (Vec::new(), Vec::new());
    let n_partitions = times(1, 7);
    for n in 0..n_partitions {
        fleet.nodes[0].wait_for_more(3);
        // The leader's host in turn with the others.
        let leader = fleet.engine.leader();
        let minority = (leader + n / 2 * (n % 2)) % 3;
        let start = Instant::now();
        hosts[minority].disconnect();
        silences.push(longest_silence(&fleet.nodes[(minority + 1) % 3], 3));
        // What was decided before the link went down may still be stored.
        let head = fleet.nodes[minority].head();
        while start.elapsed() < PARTITION {
            std::thread::park_timeout(PARTITION.saturating_sub(start.elapsed()));
        }
        let others = [(minority + 1) % 3, (minority + 2) % 3].map(|n| &fleet.nodes[n]);
        assert!(others.iter().all(|node| node.state() == "following"));
        assert!(others.iter().all(|node| node.head() > head), "the majority made no roll");
        assert_eq!(fleet.nodes[minority].head(), head, "the minority made a roll");
        let log = fleet.nodes[minority].log().join("\n");
        assert!(log.contains("lost touch with the fleet"), "{log}");
        hosts[minority].connect();
        let (end, newest) = (Instant::now(), fleet.head());
        wait_for("all nodes to be equal", || {
            fleet.nodes.iter().all(|node| node.head() >= newest).then_some(())
        });
        healed.push(end.elapsed());
        let seconds = end.elapsed().as_secs_f64();
        println!(
            "host {minority} (leader {leader}): equal {seconds:.1} s after the partition, at {}",
            Timestamp::now()
        );
        fleet.engine.wait_for_replicas();
        fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    }
    let verdict = judge(&mut fleet, clients);
    Row {
        fault: "one of three hosts is cut off for 16 s",
        n_injected: n_partitions,
        n_lost: verdict.n_lost,
        n_repeated: verdict.n_repeated,
        recovered: Recovered::Words(format!(
            "next roll after {}; equal {} after the partition",
            median_and_max(&mut silences),
            median_and_max(&mut healed)
        )),
        control: "two publishers that do not name the place (above)".into(),
        test: "partitions::a_host",
    }
    .write();
    verdict.assert_sound();
}
