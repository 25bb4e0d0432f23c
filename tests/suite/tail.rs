//! `rollcast tail`, as people and scripts run it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::api::lines;
use crate::common::tail::Tail;
use crate::common::{House, PATIENCE, wait_for};
use crate::pages::quiet_house;

pub fn tail(house: &House, options: &[&str]) -> Tail {
    Tail::spawn(house.command().arg("tail").args(options))
}

#[test]
fn tail_goes_on_where_it_was_when_the_server_is_killed_under_it() {
    let house = House::new("every = '20ms'");
    let mut server = house.start();
    let mut tail = tail(&house, &["--json", "--after", "0"]);
    let before = tail.wait_for_lines(20).len();
    server.kill();
    let _server = house.start();
    tail.wait_for_lines(before + 50);
    assert_eq!(tail.interrupt(), 0, "{}", tail.said());
    let seen = tail.lines();
    assert_eq!(seen, lines(&house)[..seen.len()]);
    assert!(tail.said().contains("coming back in"), "{}", tail.said());
}

#[test]
fn tail_starts_where_it_is_told_to() {
    let (house, _server) = quiet_house(21);
    let stored = lines(&house);
    let table: [(&[&str], usize); 7] = [
        (&[], 10),
        (&["-n", "3"], 3),
        (&["-n", "1000"], 101),
        (&["--since", "1h"], 1),
        (&["--since", "2026-11-23T01:01:00+01:00"], 62),
        (&["--after", "118"], 3),
        (&["--after", "20"], 101),
    ];
    for (options, n) in table {
        let mut tail = tail(&house, &[options, &["--json"]].concat());
        let seen = tail.wait_for_lines(n);
        assert_eq!(seen, stored[101 - n..], "{options:?}");
        assert_eq!(tail.interrupt(), 0, "{options:?}");
        assert_eq!(tail.lines().len(), n, "{options:?}");
    }
    let mut elsewhere = Tail::spawn(house.command().args(["tail", "-n", "1", &house.url("/")]));
    let newest = house.stored().pop().unwrap();
    let words: Vec<String> =
        elsewhere.wait_for_lines(1)[0].split_whitespace().map(String::from).collect();
    assert_eq!(words[..2], [newest.0.to_string(), newest.1], "for people");
    assert_eq!((words[2].as_str(), words[4].as_str()), ("1D6", "1D20"), "for people");
    assert_eq!(elsewhere.interrupt(), 0);
}

#[test]
fn the_exit_code_of_tail_tells_a_gap() {
    let (house, _server) = quiet_house(21);
    let mut pruned = tail(&house, &["--json", "--after", "5"]);
    assert_eq!(pruned.wait_for_lines(101), lines(&house));
    assert_eq!(pruned.interrupt(), 3);
    assert!(pruned.said().contains("gap: 15 rolls are gone (pruned)"), "{}", pruned.said());

    let mut other = tail(&house, &["--after", "60-1"]);
    wait_for("the news", || other.said().contains("gap:").then_some(()));
    assert_eq!(other.interrupt(), 3);
}

#[test]
fn tail_ends_in_order_when_nobody_reads_on() {
    let house = House::new("every = '20ms'");
    let _server = house.start();
    let mut command = house.command();
    let mut child = command.args(["tail", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let status = wait_for("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn tail_says_at_once_that_there_is_nobody_to_follow() {
    let house = House::new("");
    let mut nobody = tail(&house, &[]);
    assert_eq!(nobody.wait(), 1);
    assert!(nobody.said().contains("cannot reach"), "{}", nobody.said());
    let _server = house.start();
    for (options, code, text) in [
        (["--since", "soon"], 2, "soon"),
        (["--after", "x"], 2, "x"),
        (["-n", "1001"], 2, "1001"),
        (["--silence", "0"], 2, "0"),
    ] {
        let mut refused = tail(&house, &options);
        assert_eq!(refused.wait(), code, "{options:?}: {}", refused.said());
        wait_for("the reason", || refused.said().contains(text).then_some(()));
    }
}

/// Answers each connection in turn, and leaves it open while the test lasts; tells what each
/// asked for.
fn answer_in_turn(answers: Vec<String>) -> (String, mpsc::Receiver<(Instant, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, asked) = mpsc::channel();
    thread::spawn(move || {
        let mut open = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = String::new();
            let mut lines = BufReader::new(connection.try_clone().unwrap());
            while lines.read_line(&mut request).unwrap() > 2 {}
            let _ = sender.send((Instant::now(), request.to_lowercase()));
            connection.write_all(answer.as_bytes()).unwrap();
            if !answer.contains("connection: close") {
                open.push(connection);
            }
        }
        thread::park_timeout(PATIENCE);
    });
    (url, asked)
}

fn stream(events: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{events}")
}

#[test]
fn a_stream_that_falls_silent_is_taken_for_dead_and_resumed() {
    let sync = "event: sync\ndata: {\"mode\":\"live\",\"head\":\"0\",\"replay\":0,\"lost\":0}\n\n";
    let first = stream(&format!(
        "retry: 700\n\n{sync}id: 1-1795392001123\ndata: {{\"1D6\":4}}\n\nid: 2-1795392002123\ndata: "
    ));
    let bad = "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let resumed = "event: sync\ndata: {\"mode\":\"resumed\",\"head\":\"2-1795392002123\",\"replay\":1,\"lost\":0}\n\n";
    let second = stream(&format!("{resumed}id: 2-1795392002123\ndata: {{\"1D6\":5}}\n\n"));
    let (url, asked) = answer_in_turn(vec![first, bad.into(), bad.into(), second]);
    let house = House::new("");
    let options = ["tail", "--json", "-n", "0", "--silence", "1s", &url];
    let mut tail = Tail::spawn(house.command().args(options));
    let asked: Vec<(Instant, String)> =
        (0..4).map(|_| asked.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(!asked[0].1.contains("last-event-id"), "{}", asked[0].1);
    for (_, request) in &asked[1..] {
        assert!(request.contains("last-event-id: 1-1795392001123\r\n"), "{request}");
    }
    let pauses: Vec<u128> =
        asked.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_millis()).collect();
    assert!(pauses[0] >= 1_700, "1 s of silence and the retry of 700 ms, {pauses:?}");
    assert!(pauses[1] >= 500 && pauses[2] >= 1_000, "delays grow from 1 s, {pauses:?}");
    let expected = [
        r#"{"id":1,"rolled_at":"2026-11-23T00:00:01.123Z","dice":{"1D6":4}}"#,
        r#"{"id":2,"rolled_at":"2026-11-23T00:00:02.123Z","dice":{"1D6":5}}"#,
    ];
    assert_eq!(tail.wait_for_lines(2), expected);
    assert_eq!(tail.interrupt(), 0, "{}", tail.said());
    assert!(tail.said().contains("silent for 1 s"), "{}", tail.said());
}

#[test]
fn a_roll_that_does_not_come_is_a_gap_though_the_server_says_nothing_of_it() {
    let sync = "event: sync\ndata: {\"mode\":\"live\",\"head\":\"4-1795392004123\",\"replay\":0,\"lost\":0}\n\n";
    let events = format!("{sync}id: 7-1795392007123\ndata: {{\"1D6\":4}}\n\n");
    let (url, _asked) = answer_in_turn(vec![stream(&events)]);
    let house = House::new("");
    let mut tail = Tail::spawn(house.command().args(["tail", "-n", "0", &url]));
    tail.wait_for_lines(1);
    assert_eq!(tail.interrupt(), 3);
    assert!(tail.said().contains("gap: 2 rolls before roll 7"), "{}", tail.said());
}

#[test]
fn a_stream_that_breaks_before_its_first_roll_is_resumed_where_it_would_have_begun() {
    let sync = |json: &str| format!("retry: 50\nevent: sync\ndata: {json}\n\n");
    let cut =
        |json: &str| stream(&sync(json)).replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    let house = House::new("");
    // What follows the sync begins behind so many; the roll after it is no gap of its own.
    for (options, first, last_event_id, n_gaps) in [
        (
            ["--after", "3"],
            r#"{"mode":"reset","reason":"pruned","head":"9-1795392009123","replay":2,"lost":4}"#,
            "7",
            1,
        ),
        (
            ["--since", "10m"],
            r#"{"mode":"resumed","head":"9-1795392009123","replay":2,"lost":0}"#,
            "7",
            0,
        ),
    ] {
        let resumed = sync(r#"{"mode":"resumed","head":"9-1795392009123","replay":2,"lost":0}"#);
        let roll = "id: 8-1795392008123\ndata: {\"1D6\":4}\n\n";
        let (url, asked) = answer_in_turn(vec![cut(first), stream(&format!("{resumed}{roll}"))]);
        let arguments = ["tail", "--json", options[0], options[1], &url];
        let mut tail = Tail::spawn(house.command().args(arguments));
        asked.recv_timeout(PATIENCE).unwrap();
        let (_, request) = asked.recv_timeout(PATIENCE).unwrap();
        let header = format!("last-event-id: {last_event_id}\r\n");
        assert!(request.contains(&header), "{options:?}: {request}");
        tail.wait_for_lines(1);
        assert_eq!(tail.interrupt(), if n_gaps > 0 { 3 } else { 0 }, "{}", tail.said());
        assert_eq!(tail.said().matches("gap:").count(), n_gaps, "{}", tail.said());
    }
}
