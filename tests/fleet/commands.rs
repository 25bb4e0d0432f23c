//! `rollcast fleet create`, and what `rollcast check` says about a fleet.

use serde_json::json;

use crate::engine::{Engine, STREAM};
use crate::fleet::Fleet;
use crate::nodes::{Node, Settings, new_secret};

#[test]
fn create_makes_the_stream_of_the_design_once_and_replaces_it_only_when_told_to() {
    let mut fleet = Fleet::start(3, 1);
    let config = fleet.engine.stream_info()["config"].clone();
    for (key, expected) in [
        ("name", json!(STREAM)),
        ("subjects", json!(["rollcast.ROLLS"])),
        ("num_replicas", json!(3)),
        ("storage", json!("file")),
        ("retention", json!("limits")),
        ("discard", json!("old")),
        ("deny_delete", json!(true)),
        ("deny_purge", json!(true)),
        ("max_msgs", json!(1_000_000)),
        ("max_msg_size", json!(4_096)),
        ("max_age", json!(0)),
        ("allow_direct", json!(false)),
    ] {
        assert_eq!(config[key], expected, "{key} in {config}");
    }
    assert_eq!(config["metadata"]["rollcast.origin"], json!("0"));

    // A second time, while the server runs and after it has stopped.
    fleet.nodes[0].wait_for_roll(5);
    for is_running in [true, false] {
        if !is_running {
            fleet.nodes[0].stop();
        }
        let (code, _, stderr) = fleet.nodes[0].run(&["fleet", "create"]);
        assert!(code == 1 && stderr.contains("--replace"), "{code}: {stderr}");
        assert!(fleet.engine.entries().len() >= 5, "the log is another one");
    }
    let (id, rolled_at, _) = fleet.nodes[0].instance.stored().pop().unwrap();
    fleet.nodes[0].create(&["--replace"]);
    let info = fleet.engine.stream_info();
    assert_eq!(info["state"]["first_seq"], json!(id + 1), "{info}");
    assert_eq!(info["state"]["messages"], json!(0), "{info}");
    let millis = rolled_at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert_eq!(info["config"]["metadata"]["rollcast.origin"], json!(format!("{id}-{millis}")));
    fleet.nodes[0].start();
    fleet.nodes[0].wait_for_roll(id + 3);
}

#[test]
fn create_without_servers_without_a_fleet_and_with_wrong_numbers_fails_with_the_reason() {
    let engine = Engine::start(1);
    let mut node = Node::new(&new_secret(), Settings::of(&engine));
    node.start();
    node.stop();
    for (arguments, expected) in [
        (&["--replicas", "0"][..], 2),
        (&["--replicas", "6"], 2),
        (&["--replicas", "three"], 2),
        (&["--purge"], 2),
        // One server cannot keep three replicas.
        (&["--replicas", "3"], 1),
    ] {
        let mut all = vec!["fleet", "create"];
        all.extend(arguments);
        let (code, stdout, stderr) = node.run(&all);
        assert_eq!(code, expected, "{arguments:?}: {stdout}{stderr}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
    let none = "nats://127.0.0.1:1".into();
    node.configure(Settings { servers: vec![none], ..node.settings.clone() });
    let (code, _, stderr) = node.run(&["fleet", "create"]);
    assert!(code == 1 && stderr.contains("127.0.0.1:1"), "{code}: {stderr}");
    node.instance.configure("");
    let (code, _, stderr) = node.run(&["fleet", "create"]);
    assert!(code == 2 && stderr.contains("fleet"), "{code}: {stderr}");
    // A single machine has no page of a fleet, and no such metrics.
    node.start();
    assert_eq!(node.get("/fleet").0, 404);
    let (_, metrics) = node.get("/metrics");
    assert!(!metrics.contains("rollcast_fleet_"), "{metrics}");
    assert!(!node.log().join("\n").contains("the fleet"), "{:#?}", node.log());
}

#[test]
fn check_shows_servers_log_and_replicas_and_fails_if_the_node_would_not_follow() {
    let mut fleet = Fleet::start(3, 1);
    fleet.nodes[0].wait_for_roll(5);
    let (code, running, stderr) = fleet.nodes[0].run(&["check"]);
    assert_eq!(code, 0, "{running}{stderr}");
    fleet.nodes[0].stop();
    let head = fleet.nodes[0].head();
    let (code, stdout, stderr) = fleet.nodes[0].run(&["check"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let head = head.to_string();
    for part in ["fleet", "2.1", "s0", "s1", "s2", "1 to ", head.as_str()] {
        assert!(stdout.contains(part), "expected `{part}` in {stdout}");
    }
    println!("{stdout}");
    // A server that is down is not current.
    let leader = fleet.engine.leader();
    fleet.engine.kill((leader + 1) % 3);
    let (code, stdout, stderr) = fleet.nodes[0].run(&["check"]);
    println!("{stdout}{stderr}");
    assert_eq!(code, 0, "two of three servers decide: {stdout}{stderr}");
    // No server.
    fleet.engine.kill_all();
    let (code, stdout, stderr) = fleet.nodes[0].run(&["check"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(format!("{stdout}{stderr}").contains("127.0.0.1"), "{stdout}{stderr}");
    fleet.engine.restart_all();
    fleet.engine.wait_for_replicas();
    // A node with another secret would not follow.
    let mut other = Node::new(&new_secret(), fleet.nodes[0].settings.clone());
    let (code, stdout, stderr) = other.run(&["check"]);
    assert!(code == 1 && stderr.contains("rolls.secret"), "{code}: {stdout}{stderr}");
    // Nor can it replace the log, which has rolls that it does not have.
    other.start();
    other.wait_for_refusal();
    let (code, _, stderr) = other.run(&["fleet", "create", "--replace"]);
    assert!(code == 1 && stderr.contains("has all of them"), "{code}: {stderr}");
    other.stop();
    // A node with a history of its own would not follow.
    let mut stranger = Node::new(&new_secret(), fleet.nodes[0].settings.clone());
    stranger.instance.configure("every = '20ms'");
    stranger.start();
    stranger.wait_for_roll(10);
    stranger.stop();
    stranger.configure(fleet.nodes[0].settings.clone());
    let (code, stdout, stderr) = stranger.run(&["check"]);
    println!("{stdout}{stderr}");
    assert_eq!(code, 1, "{stdout}{stderr}");
}
