//! Clients that have seen more than the node that they reach, as after a change of nodes.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::events::{Ask, Frame, Stream};
use crate::common::listener::{Behaviour, Listener};
use crate::common::{Instance, http, wait_for};
use crate::engine::{Engine, STREAM};
use crate::entries::Author;
use crate::fleet::Fleet;
use crate::gate::Gate;
use crate::nodes::{Node, Settings, new_secret};
use crate::oracle::{Replica, differences};
use crate::report::{Recovered, Row, times};

/// A fleet of two nodes on one server. The second node is behind a gate.
fn gated() -> (Fleet, Gate) {
    let engine = Engine::start(1);
    let gate = Gate::to(engine.address(0));
    let (secret, settings) = (new_secret(), Settings::of(&engine));
    let behind = Settings { servers: vec![gate.url()], ..settings.clone() };
    let nodes = vec![Node::new(&secret, settings), Node::new(&secret, behind)];
    let mut fleet = Fleet { nodes, engine, secret };
    fleet.begin();
    fleet.wait_until_equal();
    (fleet, gate)
}

/// The cursor of a node's newest roll.
fn cursor(node: &Node) -> (i64, String) {
    let (id, rolled_at, _) = node.instance.stored().pop().unwrap();
    let rolled_at: jiff::Timestamp = rolled_at.parse().unwrap();
    (id, format!("{id}-{}", rolled_at.as_millisecond()))
}

/// What a stream says first about a cursor: the mode of its `sync`, or why it is closing.
fn first_answer(url: &str, cursor: &str) -> (String, Stream) {
    let ask = Ask { last_event_id: Some(cursor), ..Ask::default() };
    let mut stream = Stream::open(url, ask).unwrap();
    let mut has_retry = false;
    let answer = stream.by_ref().find_map(|frame| {
        has_retry |= matches!(frame, Frame::Retry(_));
        let sync = frame.sync().map(|sync| match sync["reason"].as_str() {
            None => sync["mode"].as_str().unwrap().to_owned(),
            Some(reason) => format!("{} {reason}", sync["mode"].as_str().unwrap()),
        });
        sync.or_else(|| frame.closing().map(|reason| format!("closing {reason}")))
    });
    assert!(has_retry, "an answer without `retry:`");
    (answer.expect("a sync or the end"), stream)
}

/// Reads a stream from a cursor as a browser does until it gets a roll. Returns all first answers,
/// and that roll.
fn resume(url: &str, cursor: &str) -> (Vec<String>, String) {
    let mut answers = Vec::new();
    let roll = wait_for("a stream that resumes", || {
        let (answer, stream) = first_answer(url, cursor);
        answers.push(answer);
        stream.filter_map(|frame| frame.roll()).map(|(id, _)| id).next()
    });
    (answers, roll)
}

/// What a single machine says about a cursor that is ahead.
fn single_machine(ahead: &str) -> String {
    let instance = Instance::new("every = '200ms'");
    let _server = instance.start();
    first_answer(&instance.url("/stream/"), ahead).0
}

#[test]
fn a_client_from_a_node_that_is_ahead_resumes_after_its_last_roll() {
    let (mut fleet, gate) = gated();
    let mut longest = Duration::ZERO;
    let n_times = times(3, 30);
    let mut answers = Vec::new();
    for _ in 0..n_times {
        fleet.wait_until_equal();
        gate.close();
        let behind = fleet.nodes[1].head();
        fleet.nodes[0].wait_for_roll(behind + 5);
        let (id, ahead) = cursor(&fleet.nodes[0]);
        assert!(fleet.nodes[1].head() < id, "the node is not behind");
        let url = fleet.nodes[1].url("/stream/");
        let start = Instant::now();
        let client = thread::spawn(move || resume(&url, &ahead));
        // The request is there before the node catches up.
        thread::park_timeout(Duration::from_millis(200));
        gate.open();
        let (modes, roll) = client.join().unwrap();
        longest = longest.max(start.elapsed());
        let number: i64 = roll.split('-').next().unwrap().parse().unwrap();
        assert_eq!(number, id + 1, "{modes:?}");
        answers.extend(modes);
    }
    // On a slow machine the node may need longer than the 5 s that a request waits.
    assert!(
        answers.iter().all(|answer| answer == "resumed" || answer == "closing behind"),
        "{answers:?}"
    );
    let control = single_machine("1000000-1795397860123");
    assert_eq!(control, "reset unknown");
    fleet.stop_rolling();
    fleet.stop_all();
    let replicas: Vec<Replica> =
        fleet.nodes.iter().map(|node| Replica::read(&node.instance)).collect();
    assert_eq!(differences(&replicas), [""; 0]);
    Row {
        fault: "a client reaches a node that has not seen the client's last roll",
        n_injected: n_times,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::Words(format!("resumed within {:.1} s", longest.as_secs_f64())),
        control: format!("a single machine answers `{control}`"),
        test: "cursors::a_client",
    }
    .write();
}

#[test]
fn a_node_that_stays_behind_ends_the_stream_and_never_answers_a_false_reset() {
    let (fleet, gate) = gated();
    gate.close();
    let behind = fleet.nodes[1].head();
    fleet.nodes[0].wait_for_roll(behind + 5);
    let (id, ahead) = cursor(&fleet.nodes[0]);
    let node = &fleet.nodes[1];
    let paths =
        [format!("/api/rolls/{id}"), format!("/rolls/{id}"), format!("/api/rolls?after={ahead}")];
    thread::scope(|scope| {
        let stream = scope.spawn(|| first_answer(&node.url("/stream/"), &ahead));
        // Many more than there are connections to the database.
        for path in paths.iter().cycle().take(36) {
            scope.spawn(move || {
                let mut response = http().get(node.url(path)).call().unwrap();
                let body = response.body_mut().read_to_string().unwrap();
                assert_eq!(response.status(), 503, "{path}: {body}");
                assert!(response.headers().contains_key("retry-after"), "{path}");
            });
        }
        // Requests for older rolls do not wait, and find a free connection.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            for path in [format!("/api/rolls/{behind}"), "/rolls".into(), "/".into()] {
                assert_eq!(node.get(&path).0, 200, "{path}");
            }
        }
        let (answer, mut stream) = stream.join().unwrap();
        assert_eq!((answer.as_str(), stream.next()), ("closing behind", None));
    });
    gate.open();
    assert_eq!(resume(&node.url("/stream/"), &ahead).0.pop().unwrap(), "resumed");
    assert_eq!(node.get(&format!("/api/rolls/{id}")).0, 200);
}

#[test]
fn a_node_that_is_a_few_rolls_behind_never_answers_a_false_reset_however_long_the_interval() {
    let mut fleet = Fleet::start_silent(1);
    let author = Author::new(&fleet.secret);
    for _ in 0..3 {
        let entry = author.next(&fleet.engine);
        fleet.engine.nats().append(STREAM, &entry.text()).unwrap();
        fleet.nodes[0].wait_for_roll(entry.id);
    }
    let (id, ahead) = cursor(&fleet.nodes[0]);
    // A new node that compares the histories, and then gets no entry.
    let gate = Gate::to(fleet.engine.address(0));
    gate.close_at("STREAM.MSG.GET");
    let settings = Settings { servers: vec![gate.url()], ..fleet.nodes[0].settings.clone() };
    let mut node = Node::new(&fleet.secret, settings);
    node.start();
    wait_for("the end of the comparison", || {
        let state = node.state();
        (state == "following" || state == "catching_up").then_some(())
    });
    let (answer, behind) = thread::scope(|scope| {
        let client = scope.spawn(|| first_answer(&node.url("/stream/"), &ahead).0);
        // The request is there before the node catches up.
        thread::park_timeout(Duration::from_millis(500));
        let behind = node.head();
        gate.open();
        (client.join().unwrap(), behind)
    });
    assert!(behind < id, "the node is not behind");
    assert!(answer == "resumed" || answer == "closing behind", "{answer}");
    node.wait_for_roll(id);
    assert_eq!(first_answer(&node.url("/stream/"), &ahead).0, "resumed");
    fleet.nodes.push(node);
    fleet.stop_all();
}

#[test]
fn a_roll_that_no_node_has_is_answered_as_by_a_single_machine_however_long_the_interval() {
    let fleet = Fleet::start_silent(1);
    let node = &fleet.nodes[0];
    let paths = ["/api/rolls/1", "/rolls/1", "/api/rolls/16", "/rolls/16", "/rolls/17"];
    thread::scope(|scope| {
        for path in paths {
            scope.spawn(move || {
                let (status, body) = node.get(path);
                assert_eq!(status, 404, "{path}: {body}");
            });
        }
        // A client that names the roll as seen is not told that there is none.
        let answer = scope.spawn(|| first_answer(&node.url("/stream/"), "1-1795397860123").0);
        assert_eq!(answer.join().unwrap(), "closing behind");
    });
}

#[test]
fn a_request_for_a_roll_that_comes_soon_waits_and_one_for_a_distant_roll_does_not() {
    let fleet = Fleet::start(1, 1);
    let node = &fleet.nodes[0];
    for path in ["/api/rolls/", "/rolls/"] {
        let next = node.head() + 3;
        let (status, body) = node.get(&format!("{path}{next}"));
        assert_eq!(status, 200, "{body}");
        assert!(node.head() >= next);
    }
    let next = node.head() + 3;
    let (status, body) = node.get(&format!("/api/rolls?after={next}"));
    assert_eq!(status, 200, "{body}");
    assert!(node.head() >= next);
    // More than 15 s of rolls ahead.
    let distant = node.head() + 100_000;
    assert_eq!(node.get(&format!("/api/rolls/{distant}")).0, 404);
    assert_eq!(node.get(&format!("/rolls/{distant}")).0, 404);
    let answer = first_answer(&node.url("/stream/"), &format!("{distant}-1795397860123")).0;
    assert_eq!(answer, "reset unknown");
    // Another time for a stored roll is of another history.
    let answer = first_answer(&node.url("/stream/"), "1-1795397860123").0;
    assert_eq!(answer, "reset unknown");
    // Control: a single machine does not wait.
    let instance = Instance::new("every = '200ms'");
    let _server = instance.start();
    let listener = Listener::start(instance.url("/stream/"), Behaviour::EAGER);
    wait_for("a roll", || (listener.received().last() > 0).then_some(()));
    let head = listener.received().last();
    let response = http().get(instance.url(&format!("/api/rolls/{}", head + 10))).call().unwrap();
    assert_eq!(response.status(), 404);
    drop(listener);
}
