//! Nodes that join a fleet, and nodes that may not.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::clients::Clients;
use crate::common::{Server, wait_at_most};
use crate::engine::{Engine, STREAM};
use crate::entries::Author;
use crate::fleet::Fleet;
use crate::nodes::{Node, Settings, new_secret};
use crate::oracle::{Replica, differences, differing_files, judge};
use crate::report::times;

#[test]
fn a_new_node_joins_with_a_backup_of_another_one_or_with_an_empty_history() {
    let mut fleet = Fleet::start(1, 1);
    fleet.nodes[0].wait_for_roll(20);
    for from_backup in [true, false] {
        let settings = fleet.nodes[0].settings.clone();
        let mut node = Node::new(&fleet.secret, settings);
        if from_backup {
            node.take_backup_of(&fleet.nodes[0]);
            assert!(node.head() >= 20);
        }
        node.start();
        node.wait_until_it_follows();
        node.wait_for_roll(fleet.nodes[0].head());
        assert!(node.n_logged("following the fleet's log from roll") > 0, "{:#?}", node.log());
        fleet.nodes.push(node);
    }
    let clients = Clients::start(&fleet, 0);
    fleet.nodes[0].wait_for_more(5);
    judge(&mut fleet, clients).assert_sound();
}

/// How long the first start with a long history may take. It adds all rolls to the signed log.
const FIRST_START: Duration = Duration::from_mins(30);

/// Starts a server alone, waits until it has added its history to the log, and stops it.
fn begin_log(node: &Node) {
    let mut server = Server::spawn(&mut node.instance.command());
    wait_at_most(FIRST_START, || {
        assert!(!server.has_ended(), "the server ended: {:#?}", server.log());
        TcpStream::connect(("127.0.0.1", node.instance.port())).ok()
    })
    .expect("the first start");
    server.stop();
}

/// `make torture` does this with 10,000,000 rolls, and prints what each step takes.
#[test]
fn a_single_machine_with_a_long_history_becomes_a_fleet_and_servers_may_restart() {
    let engine = Engine::start(3);
    let mut first = Node::new(&new_secret(), Settings::of(&engine));
    let n_rolls = times(10_000, 10_000_000) as i64;
    let mut since = Instant::now();
    let mut took = |step: &str| {
        println!("{n_rolls} rolls: {step} took {:.1} s", since.elapsed().as_secs_f64());
        since = Instant::now();
    };
    first.instance.configure("every = '1h'");
    first.instance.fill(n_rolls, 1);
    took("to fill the database");
    // It creates a secret, which the other nodes get.
    begin_log(&first);
    took("the first start, which makes the signed log");
    first.configure(first.settings.clone());
    let (code, stdout, stderr) = first.run(&["fleet", "create"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    first.start();
    first.wait_until_it_follows();
    first.wait_for_roll(n_rolls + 1);
    took("`fleet create`, and the start up to the first roll of the fleet");
    let secret = fs::read_to_string(first.instance.path().join("rolls.secret")).unwrap();
    let mut second = Node::new(&secret, first.settings.clone());
    second.take_backup_of(&first);
    took("a backup for the second node");
    second.start();
    second.wait_until_it_follows();
    took("the start of the second node");
    let size = fs::metadata(second.instance.database()).unwrap().len();
    println!("{n_rolls} rolls: each database has {:.2} GB", size as f64 / 1e9);
    let mut fleet = Fleet { nodes: vec![first, second], engine, secret };
    for n in 0..times(1, 5) {
        fleet.nodes[n % 2].wait_for_more(3);
        fleet.engine.stop_all();
        fleet.engine.restart_all();
        fleet.nodes[n % 2].wait_for_more(3);
    }
    took("the restarts of the servers");
    fleet.stop_rolling();
    fleet.stop_all();
    let [one, other] = [0, 1].map(|n: usize| &fleet.nodes[n].instance);
    assert_eq!(differing_files(one, other), [""; 0]);
    assert!(fleet.nodes[0].head() > n_rolls);
    // Control: a row that differs.
    let changed = "update rolls set rolled_at = substr(rolled_at, 1, 20) || '999Z' where id = 7";
    assert_eq!(Connection::open(other.database()).unwrap().execute(changed, []).unwrap(), 1);
    assert_eq!(differing_files(one, other), ["roll 7 differs"]);
    took("the comparison");
}

#[test]
fn a_node_whose_history_ends_before_the_log_begins_is_refused() {
    let mut fleet = Fleet::start(1, 1);
    fleet.nodes[0].wait_for_roll(5);
    fleet.nodes[0].stop();
    let last_in_log =
        |fleet: &Fleet| fleet.engine.stream_info()["state"]["last_seq"].as_i64().unwrap();
    // A node may stop before it has stored its last roll of the log. It stores it at the next start.
    while fleet.nodes[0].head() < last_in_log(&fleet) {
        let last = last_in_log(&fleet);
        fleet.nodes[0].start();
        fleet.nodes[0].wait_for_roll(last);
        fleet.nodes[0].stop();
    }
    let head = fleet.nodes[0].head();
    fleet.nodes[0].create(&["--replicas", "1", "--replace"]);
    let mut late = Node::new(&fleet.secret, fleet.nodes[0].settings.clone());
    late.start();
    let reason = late.wait_for_refusal();
    for part in [format!("begins with roll {}", head + 1), "backup of another node".into()] {
        assert!(reason.contains(&part), "expected `{part}` in `{reason}`");
    }
    assert_eq!((late.get("/").0, late.get("/healthz").0, late.head()), (200, 200, 0));
    // Control: the node with the history goes on.
    fleet.nodes[0].start();
    fleet.nodes[0].wait_for_roll(head + 3);
}

#[test]
fn a_node_that_was_away_catches_up_and_one_that_was_away_for_too_long_is_refused() {
    let engine = Engine::start(1);
    // A log that holds few rolls, as a log of 1,000,000 does after some days.
    let shape = json!({
        "name": STREAM, "subjects": [format!("rollcast.{STREAM}")], "storage": "file",
        "max_msgs": 1_000, "discard": "old", "deny_delete": true, "deny_purge": true,
        "max_msg_size": 4_096, "first_seq": 1, "metadata": { "rollcast.origin": "0" }
    });
    let created = engine.api(&format!("STREAM.CREATE.{STREAM}"), &shape);
    assert!(created["error"].is_null(), "{created}");
    let secret = new_secret();
    let settings = Settings { every: "1h".into(), ..Settings::of(&engine) };
    let nodes = (0..2).map(|_| Node::new(&secret, settings.clone())).collect();
    let mut fleet = Fleet { nodes, engine, secret };
    fleet.start_all();
    fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    let author = Author::new(&fleet.secret);
    let mut nats = fleet.engine.nats();
    let mut last = author.next(&fleet.engine).text();
    nats.append(STREAM, &last).unwrap();
    fleet.wait_until_equal();
    for (n_missed, is_refused) in [(900, false), (1_100, true)] {
        fleet.nodes[1].stop();
        for _ in 0..n_missed {
            last = author.after(&last).text();
            nats.append(STREAM, &last).unwrap();
        }
        let newest = fleet.nodes[1].head() + n_missed;
        fleet.nodes[0].wait_for_roll(newest);
        let start = Instant::now();
        fleet.nodes[1].start();
        if is_refused {
            let reason = fleet.nodes[1].wait_for_refusal();
            assert!(reason.contains("backup of another node"), "{reason}");
        } else {
            fleet.nodes[1].wait_for_roll(newest);
            println!("started and caught up {n_missed} rolls in {:?}", start.elapsed());
            fleet.nodes[1].wait_until_it_follows();
        }
    }
    fleet.nodes[1].stop();
    fleet.nodes[1].take_backup_of(&fleet.nodes[0]);
    fleet.nodes[1].start();
    fleet.nodes[1].wait_until_it_follows();
    fleet.stop_all();
    let replicas: Vec<Replica> =
        fleet.nodes.iter().map(|node| Replica::read(&node.instance)).collect();
    assert_eq!(differences(&replicas), [""; 0]);
}

#[test]
fn a_node_with_another_secret_is_refused_and_never_rolls() {
    let fleet = Fleet::start(1, 1);
    fleet.nodes[0].wait_for_roll(3);
    let mut stranger = Node::new(&new_secret(), fleet.nodes[0].settings.clone());
    stranger.start();
    let reason = stranger.wait_for_refusal();
    assert!(reason.contains("rolls.secret"), "{reason}");
    assert_eq!((stranger.get("/").0, stranger.head()), (200, 0));
    // Another origin is another key, too.
    let mut settings = fleet.nodes[0].settings.clone();
    settings.rollcast = "origin = 'dice.example.org'".into();
    let mut renamed = Node::new(&fleet.secret, settings);
    renamed.start();
    let reason = renamed.wait_for_refusal();
    assert!(reason.contains("origin"), "{reason}");
    // Control: the same secret and origin.
    let mut node = Node::new(&fleet.secret, fleet.nodes[0].settings.clone());
    node.start();
    node.wait_until_it_follows();
    fleet.nodes[0].wait_for_more(3);
}

#[test]
fn a_node_with_a_different_roll_in_its_history_stops_following_and_goes_on_serving() {
    let mut fleet = Fleet::start(1, 2);
    fleet.nodes[1].wait_for_roll(5);
    fleet.nodes[1].stop();
    // The newest roll, so that the other one is compared. The signed log would refuse an older one.
    let head = fleet.nodes[1].head();
    let database = Connection::open(fleet.nodes[1].instance.database()).unwrap();
    let other = "update rolls set rolled_at = substr(rolled_at, 1, 20) || '000Z' where id = ?1";
    assert_eq!(database.execute(other, [head]).unwrap(), 1);
    drop(database);
    // The signed checkpoint covers the roll as it was.
    let _ = fs::remove_file(fleet.nodes[1].instance.path().join("rolls.secret.checkpoint"));
    fleet.nodes[1].start();
    let reason = fleet.nodes[1].wait_for_refusal();
    assert!(reason.contains("different histories"), "{reason}");
    assert!(reason.contains(&format!("roll {head}")), "{reason}");
    assert_eq!(fleet.nodes[1].get(&format!("/rolls/{head}")).0, 200);
    fleet.nodes[0].wait_for_more(3);
    assert_eq!(fleet.nodes[1].head(), head, "a node that does not follow made a roll");
}
