//! Nodes whose clocks differ. Ids, cadence and replicas stay right, and timestamps step where another
//! node takes over.

use std::time::Duration;

use jiff::Timestamp;

use crate::clients::Clients;
use crate::common::wait_for;
use crate::engine::Engine;
use crate::fleet::Fleet;
use crate::kills::longest_silence;
use crate::nodes::{Node, Settings, new_secret};
use crate::oracle::{Roll, judge, median_and_max};
use crate::report::{Recovered, Row, times};
use crate::shim::Shim;

/// A node whose clock is ahead or behind by seconds.
fn node(secret: &str, settings: &Settings, seconds: i64) -> Node {
    let shim = Shim::new();
    let offset = Duration::from_secs(seconds.unsigned_abs());
    match seconds {
        0 => {}
        1.. => shim.put_clock_ahead(offset),
        _ => shim.put_clock_back(offset),
    }
    Node::new(secret, settings.clone()).launched(move |instance| shim.command(instance))
}

/// How many timestamps differ by more than 20 s from the one before.
fn n_steps(rolls: &[Roll]) -> usize {
    let seconds = |roll: &Roll| roll.1.parse::<Timestamp>().unwrap().as_second();
    rolls.windows(2).filter(|pair| (seconds(&pair[1]) - seconds(&pair[0])).abs() > 20).count()
}

#[test]
fn clocks_that_differ_by_minutes_change_timestamps_at_takeovers_and_nothing_else() {
    let engine = Engine::start(1);
    let (secret, settings) = (new_secret(), Settings::of(&engine));
    let nodes = [0, 90, -37].map(|seconds| node(&secret, &settings, seconds)).into();
    let mut fleet = Fleet { nodes, engine, secret };
    fleet.begin();
    let clients = Clients::start(&fleet, 2);
    let mut silences = Vec::new();
    let n_kills = times(3, 60);
    for n in 0..n_kills {
        // Each node in turn is alone for a while, so each takes over.
        let alone = n % 3;
        for other in [(n + 1) % 3, (n + 2) % 3] {
            fleet.nodes[other].kill();
        }
        silences.push(longest_silence(&fleet.nodes[alone], 3));
        fleet.start_all();
        fleet.nodes.iter().for_each(Node::wait_until_it_follows);
        if n < 3 {
            // The others see the rolls of the node that was alone.
            wait_for("a skew that a metric shows", || {
                let skew = |node: &Node| node.metric("rollcast_fleet_clock_skew_seconds");
                let is_large = |node| skew(node).is_some_and(|skew| skew.abs() > 20.0);
                fleet.nodes.iter().any(is_large).then_some(())
            });
        }
    }
    let verdict = judge(&mut fleet, clients);
    let n_steps = n_steps(&verdict.rolls);
    Row {
        fault: "clocks of three nodes differ by +90 s and -37 s; two of them are killed in turn",
        n_injected: n_kills,
        n_lost: verdict.n_lost,
        n_repeated: verdict.n_repeated,
        recovered: Recovered::Words(format!(
            "next roll after {}; {n_steps} steps of the timestamps",
            median_and_max(&mut silences)
        )),
        control: "two publishers that do not name the place (above)".into(),
        test: "clocks::clocks",
    }
    .write();
    verdict.assert_sound();
    // Control: the clocks differ, so timestamps must step.
    assert!(n_steps > 0, "no timestamp stepped");
    assert!(n_steps <= 3 * n_kills, "{n_steps} steps in {n_kills} takeovers");
}
