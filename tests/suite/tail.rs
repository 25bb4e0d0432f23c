//! `rollcast tail`, as people and scripts run it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use lab::script::Reply;

use crate::api::lines;
use crate::common::replies::{Replies, event_stream, reply, rolls_file};
use crate::common::tail::Tail;
use crate::common::{Instance, ROLLCAST, run, wait_for};
use crate::pages::quiet_instance;

#[test]
fn tail_continues_where_it_was_when_the_server_is_killed() {
    let instance = Instance::new("every = '20ms'");
    let mut server = instance.start();
    let mut tail = Tail::start(&instance, &["--json", "--after", "0"]);
    let before = tail.wait_for_lines(20).len();
    server.kill();
    let _server = instance.start();
    tail.wait_for_lines(before + 50);
    assert_eq!(tail.interrupt(), 0, "{}", tail.stderr());
    let written = tail.lines();
    assert_eq!(written, lines(&instance)[..written.len()]);
    assert!(tail.stderr().contains("reconnecting in"), "{}", tail.stderr());
}

#[test]
fn tail_starts_where_its_options_say() {
    let (instance, _server) = quiet_instance(21);
    let stored = lines(&instance);
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
        let mut tail = Tail::start(&instance, &[options, &["--json"]].concat());
        let written = tail.wait_for_lines(n);
        assert_eq!(written, stored[101 - n..], "{options:?}");
        assert_eq!(tail.interrupt(), 0, "{options:?}");
        assert_eq!(tail.lines().len(), n, "{options:?}");
    }
    let mut by_url = Tail::spawn(instance.command().args(["tail", "-n", "1", &instance.url("/")]));
    let newest = instance.stored().pop().unwrap();
    let words: Vec<String> =
        by_url.wait_for_lines(1)[0].split_whitespace().map(String::from).collect();
    assert_eq!(words[..2], [newest.0.to_string(), newest.1], "in columns");
    assert_eq!((words[2].as_str(), words[4].as_str()), ("1D6", "1D20"), "in columns");
    assert_eq!(by_url.interrupt(), 0);
}

#[test]
fn tail_exits_with_3_if_rolls_are_lost_or_the_history_is_another_one() {
    let (instance, _server) = quiet_instance(21);
    let mut pruned = Tail::start(&instance, &["--json", "--after", "5"]);
    assert_eq!(pruned.wait_for_lines(101), lines(&instance));
    assert_eq!(pruned.interrupt(), 3);
    assert!(pruned.stderr().contains("gap: 15 rolls lost (pruned)"), "{}", pruned.stderr());

    let mut other = Tail::start(&instance, &["--after", "60-1"]);
    wait_for("the notice", || other.stderr().contains("gap:").then_some(()));
    assert_eq!(other.interrupt(), 3);
    assert!(other.stderr().contains("the cursor is unknown"), "{}", other.stderr());
}

#[test]
fn tail_exits_with_0_when_its_output_is_closed() {
    let instance = Instance::new("every = '20ms'");
    let _server = instance.start();
    let mut command = instance.command();
    let mut child = command.args(["tail", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let status = wait_for("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn tail_fails_at_once_without_a_server_and_on_wrong_options() {
    let instance = Instance::new("");
    let mut unreachable = Tail::start(&instance, &[]);
    assert_eq!(unreachable.wait(), 1);
    assert!(unreachable.stderr().contains("cannot reach"), "{}", unreachable.stderr());
    let _server = instance.start();
    for (options, code, text) in [
        (["--since", "soon"], 2, "soon"),
        (["--after", "x"], 2, "x"),
        (["-n", "1001"], 2, "1001"),
        (["--silence", "0"], 2, "0"),
    ] {
        let mut refused = Tail::start(&instance, &options);
        assert_eq!(refused.wait(), code, "{options:?}: {}", refused.stderr());
        assert!(refused.stderr().contains(text), "{}", refused.stderr());
    }
}

#[test]
fn nothing_that_a_server_sends_steers_the_terminal() {
    // Sets the title, clears the screen, changes colour, and turns text round.
    let evil = "\u{1b}]0;t\u{7}\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\t";
    let json = r"\u001b[2J\u009b31m\u202e\nrollcast: x";
    let file = |content_type: &str, text: String| rolls_file(content_type, 1, &text);
    let events = format!(
        "event: busy\ndata: {evil}\ndata: x\n\nevent: sync\ndata: {evil}\n\n\
         event: sync\ndata: {{\"mode\":\"reset\",\"reason\":\"{json}\",\"head\":\"1-1\",\"replay\":0,\"lost\":1}}\n\n\
         id: 2-1{evil}\ndata: {evil}\n\nid: 3-1\ndata: {{\"1D6{json}\":1}}\n\n"
    );
    let error = format!(r#"{{"error":{{"code":"x","message":"{json}"}}}}"#);
    let error = reply("500 Internal Server Error", "application/json", error);
    let roll = "1,2026-11-23T00:00:01.123Z";
    let ndjson = r#"{"id":1,"rolled_at":"2026-11-23T00:00:01.123Z","dice":{"#;
    let table: [(&[&str], Reply, i32); 8] = [
        (&["tail", "-n", "0"], event_stream(&events), 0),
        (&["tail", "-n", "0"], error.clone(), 1),
        (&["tail", "-n", "1"], error.clone(), 1),
        (&["tail", "-n", "0"], file("text/x\u{9b}31m\u{202e}", String::new()), 1),
        (&["export"], error, 1),
        (&["export"], file("text/csv", format!("id,rolled_at,{evil}\r\n{roll},4\r\n")), 1),
        (&["export"], file("text/csv", format!("id,rolled_at,1D6\r\n{roll},{evil}\r\n")), 1),
        (
            &["export", "--format", "ndjson"],
            file("application/x-ndjson", format!("{ndjson}\"{evil}\":4}}}}\n")),
            1,
        ),
    ];
    for (arguments, answer, expected) in table {
        let server = Replies::start([answer]);
        let instance = Instance::new("");
        let url = server.url("/");
        let mut command = instance.command();
        let mut tail = Tail::spawn(command.args(arguments).arg(&url));
        let code = if expected == 0 {
            wait_for("the last notice", || tail.stderr().contains("not a roll: 3-1").then_some(()));
            tail.interrupt();
            0
        } else {
            tail.wait()
        };
        assert_eq!(code, expected, "{arguments:?}: {}", tail.stderr());
        wait_for("a quotation", || {
            let stderr = tail.stderr();
            (stderr.contains(r"\u{9b}31m") && stderr.contains(r"\u{202e}")).then_some(())
        });
        for text in [tail.stderr(), tail.lines().join("\n")] {
            let steers =
                |c: &char| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{2069}').contains(c);
            assert_eq!(text.chars().find(steers), None, "{arguments:?}: {text:?}");
            assert!(!text.contains("\nrollcast: x"), "{arguments:?}: {text}");
        }
    }
}

/// The follower's own tests cover reconnection in every detail; this one covers the threads, the
/// sockets and the headers below it.
#[test]
fn tail_gives_up_a_silent_connection_and_resumes_after_its_last_roll() {
    let sync = |json: &str| format!("retry: 700\nevent: sync\ndata: {json}\n\n");
    let live = sync(r#"{"mode":"live","head":"0","replay":0,"lost":0}"#);
    let rolls = "id: 1-1795392001123\ndata: {\"1D6\":4}\n\nid: 2-1795392002123\ndata: ";
    let bad_gateway = || Reply::empty("502 Bad Gateway", "Content-Length: 0\r\n");
    let resumed = sync(r#"{"mode":"resumed","head":"2-1795392002123","replay":1,"lost":0}"#);
    let server = Replies::start([
        event_stream(&format!("{live}{rolls}")),
        bad_gateway(),
        bad_gateway(),
        event_stream(&format!("{resumed}id: 2-1795392002123\ndata: {{\"1D6\":5}}\n\n")),
    ]);
    let instance = Instance::new("");
    let options = ["tail", "--json", "-n", "0", "--silence", "1s", &server.url("/")];
    let mut tail = Tail::spawn(instance.command().args(options));
    let requests = server.wait_for_requests(4);
    let last_event_ids: Vec<Option<&[u8]>> =
        requests.iter().map(|request| request.last_event_id.as_deref()).collect();
    let after_1 = Some(&b"1-1795392001123"[..]);
    assert_eq!(last_event_ids, [None, after_1, after_1, after_1]);
    let pauses: Vec<u128> =
        requests.windows(2).map(|pair| (pair[1].at - pair[0].at).as_millis()).collect();
    assert!(pauses[0] >= 1_700, "1 s of silence and a retry of 700 ms, {pauses:?}");
    assert!(pauses[1] >= 500 && pauses[2] >= 1_000, "pauses double from 1 s, {pauses:?}");
    let expected = [
        r#"{"id":1,"rolled_at":"2026-11-23T00:00:01.123Z","dice":{"1D6":4}}"#,
        r#"{"id":2,"rolled_at":"2026-11-23T00:00:02.123Z","dice":{"1D6":5}}"#,
    ];
    assert_eq!(tail.wait_for_lines(2), expected);
    assert_eq!(tail.interrupt(), 0, "{}", tail.stderr());
    assert!(tail.stderr().contains("silent for 1 s"), "{}", tail.stderr());
}

#[test]
fn a_server_below_a_path_is_refused() {
    for command in ["tail", "export"] {
        let mut rollcast = Command::new(ROLLCAST);
        let (code, _, stderr) = run(rollcast.args([command, "http://127.0.0.1:1/dice/"]));
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("got the path `/dice/`"), "{stderr}");
        assert!(stderr.contains("does not work below a path"), "{stderr}");
    }
}
