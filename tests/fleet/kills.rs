//! `kill -9` of nodes, of servers, and of the server that leads the stream, at random moments while
//! clients read.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::clients::Clients;
use crate::common::wait_for;
use crate::engine::STREAM;
use crate::entries::Author;
use crate::fleet::Fleet;
use crate::nodes::Node;
use crate::oracle::{faults_of_log, judge, median_and_max};
use crate::report::{Recovered, Row, times};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Node,
    Follower,
    Leader,
}

/// The longest time without a roll, from now until a node has stored `n_rolls` more.
pub fn longest_silence(node: &Node, n_rolls: i64) -> Duration {
    let (mut head, mut since, mut longest) = (node.head(), Instant::now(), Duration::ZERO);
    let end = head + n_rolls;
    while head < end {
        head = wait_for("the next roll", || Some(node.head()).filter(|newer| *newer > head));
        longest = longest.max(since.elapsed());
        since = Instant::now();
    }
    longest
}

/// Kills and restarts one victim, and returns the longest time without a roll elsewhere.
fn kill(fleet: &mut Fleet, victim: Victim, n: usize) -> Duration {
    let n_nodes = fleet.nodes.len();
    match victim {
        Victim::Node => {
            fleet.nodes[n % n_nodes].kill();
            let silence = longest_silence(&fleet.nodes[(n + 1) % n_nodes], 3);
            fleet.nodes[n % n_nodes].start();
            silence
        }
        Victim::Follower | Victim::Leader => {
            let leader = fleet.engine.leader();
            let server = match victim {
                Victim::Leader => leader,
                _ => (leader + 1 + n % (fleet.engine.len() - 1)) % fleet.engine.len(),
            };
            fleet.engine.kill(server);
            let silence = longest_silence(&fleet.nodes[n % n_nodes], 3);
            fleet.engine.restart(server);
            fleet.engine.wait_until_ready();
            silence
        }
    }
}

/// Two publishers that do not name the place, as a node without `Nats-Expected-Last-Sequence`.
/// Returns how many faults the oracle of the log finds. All nodes stop following, and say so.
fn proposals_without_a_place() -> usize {
    let mut fleet = Fleet::start_silent(2);
    let author = Author::new(&fleet.secret);
    let mut nats = fleet.engine.nats();
    let (one, mut two) = (author.next(&fleet.engine), author.next(&fleet.engine));
    two.rolled_at = "2026-11-23T01:37:40.123Z".into();
    nats.append(STREAM, &one.text()).unwrap();
    nats.append(STREAM, &two.text()).unwrap();
    for node in &fleet.nodes {
        let reason = node.wait_for_refusal();
        assert!(reason.contains(&format!("roll {}", one.id + 1)), "{reason}");
        assert_eq!(node.get(&format!("/rolls/{}", one.id)).0, 200, "it goes on serving");
    }
    let entries = fleet.engine.entries();
    fleet.stop_all();
    faults_of_log(&entries, &fleet.nodes[0].instance.stored()).len()
}

#[test]
fn after_kills_of_nodes_servers_and_the_leader_no_roll_is_lost_twice_or_different() {
    let n_faults = proposals_without_a_place();
    assert!(n_faults > 0, "the oracle did not notice two rolls for one place");

    let mut fleet = Fleet::start(3, 3);
    let clients = Clients::start(&fleet, times(3, 30));
    let seed = u64::from(std::process::id());
    println!("random delays use seed {seed}");
    let mut moments = StdRng::seed_from_u64(seed);
    use Victim::{Follower, Leader, Node};
    let mut silences: Vec<(Victim, Duration)> = Vec::new();
    // 6 kills, or 200.
    let rounds = [Node, Leader, Follower, Node, Follower, Node];
    for n in 0..times(rounds.len(), 200) {
        let victim = rounds[n % rounds.len()];
        let (start, moment) = (Instant::now(), Duration::from_millis(moments.random_range(0..300)));
        while start.elapsed() < moment {
            std::thread::park_timeout(moment.saturating_sub(start.elapsed()));
        }
        let silence = kill(&mut fleet, victim, n);
        println!("{victim:?}: {silence:?}");
        silences.push((victim, silence));
        // The next kill must leave a majority that has everything.
        fleet.engine.wait_for_replicas();
        fleet.nodes.iter().for_each(|node| node.wait_until_it_follows());
    }
    let verdict = judge(&mut fleet, clients);
    let control = "two publishers that do not name the place: all nodes stop following and say so";
    for (victim, fault, test) in [
        (Leader, "`kill -9` of the server that leads the stream", "kills::leader"),
        (Follower, "`kill -9` of another server", "kills::follower"),
        (Node, "`kill -9` of a node", "kills::node"),
    ] {
        let of_victim = silences.iter().filter(|(other, _)| *other == victim);
        let mut times: Vec<Duration> = of_victim.map(|(_, silence)| *silence).collect();
        Row {
            fault,
            n_injected: times.len(),
            n_lost: verdict.n_lost,
            n_repeated: verdict.n_repeated,
            recovered: Recovered::Words(format!("next roll after {}", median_and_max(&mut times))),
            control: control.into(),
            test,
        }
        .write();
    }
    verdict.assert_sound();
}
