//! Streams and entries that a node refuses: it says why, stops following, and goes on serving.

use serde_json::json;

use crate::common::wait_for;
use crate::engine::{Engine, STREAM};
use crate::entries::{Author, Parts};
use crate::fleet::Fleet;
use crate::nodes::{Node, Settings, new_secret};

/// Changes an entry; the reason for which a node then refuses it contains the text.
type Falsify = (&'static str, fn(&Parts) -> String, &'static str);

const FALSIFIED: [Falsify; 9] = [
    ("junk", |_| "junk".into(), "is not a roll"),
    ("an empty message", |_| String::new(), "is not a roll"),
    (
        "the right roll, in another form",
        |parts| parts.text().replace("\":\"", "\": \""),
        "is not a roll",
    ),
    (
        "another time of the roll before",
        |parts| Parts { after: after_with_another_time(parts), ..parts.clone() }.text(),
        "follows",
    ),
    (
        "a roll too far ahead",
        |parts| {
            let (id, after) = (parts.id + 1, format!("{}-1795397860123", parts.id));
            Parts { id, after, ..parts.clone() }.text()
        },
        "roll",
    ),
    (
        "a roll that is already there",
        |parts| {
            let (id, after) = (parts.id - 1, format!("{}-1795397860123", parts.id - 2));
            Parts { id, after, ..parts.clone() }.text()
        },
        "roll",
    ),
    (
        "another key",
        |parts| Parts { key: "00000000".into(), ..parts.clone() }.text(),
        "rolls.secret",
    ),
    (
        "dice that do not follow from the seed",
        |parts| {
            let dice = if parts.dice.contains("\"1D20\":20") {
                parts.dice.replace("\"1D20\":20", "\"1D20\":19")
            } else {
                let (start, _) = parts.dice.split_once("\"1D20\":").unwrap();
                format!("{start}\"1D20\":20}}")
            };
            Parts { dice, ..parts.clone() }.text()
        },
        "do not follow from the secret",
    ),
    (
        "impossible dice",
        |parts| Parts { dice: "{\"1D6\":7}".into(), ..parts.clone() }.text(),
        "is not a roll",
    ),
];

fn after_with_another_time(parts: &Parts) -> String {
    let (id, millis) = parts.after.split_once('-').unwrap();
    format!("{id}-{}", millis.parse::<i64>().unwrap() + 1)
}

#[test]
fn junk_and_entries_with_a_wrong_part_are_refused_and_the_node_goes_on_serving() {
    let mut fleet = Fleet::start_silent(1);
    let author = Author::new(&fleet.secret);
    for (what, falsify, expected) in FALSIFIED {
        println!("{what}");
        let mut nats = fleet.engine.nats();
        // Control: entries with the right parts are taken. The first one has a roll before it.
        for _ in 0..3 {
            let entry = author.next(&fleet.engine);
            nats.append(STREAM, &entry.text()).unwrap();
            fleet.nodes[0].wait_for_roll(entry.id);
        }
        let head = fleet.nodes[0].head();
        nats.append(STREAM, &falsify(&author.next(&fleet.engine))).unwrap();
        let reason = fleet.nodes[0].wait_for_refusal();
        assert!(reason.contains(expected), "{what}: expected `{expected}` in `{reason}`");
        assert!(reason.contains(&(head + 1).to_string()), "{what}: no place in `{reason}`");
        assert_eq!(fleet.nodes[0].head(), head, "{what} was stored");
        assert_eq!(fleet.nodes[0].get(&format!("/rolls/{head}")).0, 200, "{what}");
        // A person replaces the log. The restart only saves the node's pause between two attempts.
        fleet.nodes[0].stop();
        fleet.nodes[0].create(&["--replicas", "1", "--replace"]);
        fleet.nodes[0].start();
        fleet.nodes[0].wait_until_it_follows();
    }
    fleet.stop_all();
}

#[test]
fn a_stream_of_something_else_is_refused_and_left_as_it_is() {
    let engine = Engine::start(1);
    let mut node = Node::new(&new_secret(), Settings::of(&engine));
    node.start();
    let reason = node.wait_for_refusal();
    assert!(reason.contains("no stream `ROLLS`"), "{reason}");
    assert!(reason.contains("rollcast fleet create"), "{reason}");

    let shape = json!({ "name": STREAM, "subjects": ["orders.*"], "storage": "file" });
    let created = engine.api(&format!("STREAM.CREATE.{STREAM}"), &shape);
    assert!(created["error"].is_null(), "{created}");
    wait_for("the reason of a foreign stream", || {
        let reason = node.wait_for_state("refused");
        reason.contains("was not created by `rollcast fleet create`").then_some(())
    });
    // `fleet create` leaves it alone, and so does the node.
    let (code, _, stderr) = node.run(&["fleet", "create", "--replicas", "1"]);
    assert!(code == 1 && stderr.contains("--replace"), "{code}: {stderr}");
    assert_eq!(engine.stream_info()["config"]["subjects"], json!(["orders.*"]));
    assert_eq!(node.head(), 0);
    // Control: a stream that rollcast creates.
    node.create(&["--replicas", "1", "--replace"]);
    node.wait_until_it_follows();
    node.wait_for_roll(2);
}

#[test]
fn a_second_fleet_on_the_same_stream_is_refused() {
    let fleet = Fleet::start(1, 1);
    fleet.nodes[0].wait_for_roll(5);
    // A machine with a history of its own, of another secret.
    let mut second = Node::new(&new_secret(), fleet.nodes[0].settings.clone());
    second.instance.configure("every = '20ms'");
    second.start();
    second.wait_for_roll(10);
    second.stop();
    let head = second.head();
    second.configure(fleet.nodes[0].settings.clone());
    second.start();
    let reason = second.wait_for_refusal();
    assert!(reason.contains("different histories") || reason.contains("rolls.secret"), "{reason}");
    assert_eq!(second.head(), head);
    fleet.nodes[0].wait_for_more(3);
    assert_eq!(fleet.nodes[0].state(), "following");
}
