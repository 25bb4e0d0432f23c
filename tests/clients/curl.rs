//! `curl -N`, the first client that most people try.

use std::process::Command;

use crate::client::{Client, N_MISSED, json, wait_until_rolled};
use crate::common::{Door, Instance, at_each_door};
use crate::oracle::{Seen, compare, head};

at_each_door!(
    curl_reads_the_stream_and_resumes_after_a_last_event_id,
    curl_resumes_after_the_server_was_killed,
    curl_exits_with_success_when_the_server_stops,
    curl_listens_by_post,
    curl_gets_only_the_headers_for_head_and_the_response_ends,
    rolls_reach_curl_unbuffered_even_if_it_accepts_compression,
);

fn curl_reads_the_stream_and_resumes_after_a_last_event_id(door: Door) {
    let instance = door.instance("every = '50ms'");
    let _server = instance.start();
    let first = twenty_rolls(curl(&instance).arg(instance.url("/stream/")));
    wait_until_rolled(&instance, head(&instance) + N_MISSED);
    let header = format!("Last-Event-ID: {}", first.last_event_id());
    let second = twenty_rolls(curl(&instance).args(["-H", &header]).arg(instance.url("/stream")));
    let both = first.and_then(second);
    both.assert_modes(&["live", "resumed"]);
    compare(&both.rolls, Seen::first_after(&both.syncs[0]), &instance).unwrap();
}

fn curl_resumes_after_the_server_was_killed(door: Door) {
    let instance = door.instance("every = '50ms'");
    let mut server = instance.start();
    let mut client = listen(curl(&instance).arg(instance.url("/stream")));
    client.see("20 rolls", |seen| seen.rolls.len() >= 20);
    server.kill();
    let status = client.wait();
    let broken_off = [Some(18), Some(56)];
    assert!(broken_off.contains(&status.code()), "expected status 18 or 56, got {status}");
    let first = client.seen();

    server = instance.start();
    wait_until_rolled(&instance, head(&instance) + N_MISSED);
    let header = format!("Last-Event-ID: {}", first.last_event_id());
    let second = twenty_rolls(curl(&instance).args(["-H", &header]).arg(instance.url("/stream")));
    let both = first.and_then(second);
    both.assert_modes(&["live", "resumed"]);
    compare(&both.rolls, Seen::first_after(&both.syncs[0]), &instance).unwrap();
    drop(server);
}

fn curl_exits_with_success_when_the_server_stops(door: Door) {
    let instance = door.instance("every = '50ms'");
    let mut server = instance.start();
    let mut client = listen(curl(&instance).arg(instance.url("/stream/")));
    let seen = client.see("20 rolls", |seen| seen.rolls.len() >= 20);
    let first = Seen::first_after(&seen.syncs[0]);
    server.stop();
    let status = client.wait();
    assert!(status.success(), "expected the end of the stream, got {status}");
    compare(&client.seen().rolls, first, &instance).unwrap();
}

fn curl_listens_by_post(door: Door) {
    let instance = door.instance("every = '50ms'");
    let _server = instance.start();
    let post = ["-X", "POST"];
    let first = twenty_rolls(curl(&instance).args(post).arg(instance.url("/stream/")));
    wait_until_rolled(&instance, head(&instance) + N_MISSED);
    // Resume with a form body, as the script of a page would send it.
    let header = format!("Last-Event-ID: {}", first.last_event_id());
    let second = twenty_rolls(
        curl(&instance).args(["-d", "a=b", "-H", &header]).arg(instance.url("/stream/")),
    );

    let both = first.and_then(second);
    both.assert_modes(&["live", "resumed"]);
    compare(&both.rolls, Seen::first_after(&both.syncs[0]), &instance).unwrap();
}

fn curl_gets_only_the_headers_for_head_and_the_response_ends(door: Door) {
    let instance = door.instance("every = '50ms'");
    let _server = instance.start();
    // Two requests on one connection: the second would wait forever if the first did not end.
    let urls = [instance.url("/stream/"), instance.url("/stream")];
    let mut client = listen(curl(&instance).arg("--head").args(urls));
    let status = client.wait();
    assert!(status.success(), "expected the end at once, got {status}");

    let output = client.output();
    let answers: Vec<&[String]> = output.split(|line| line.is_empty()).collect();
    let [first, second, []] = answers[..] else {
        panic!("expected headers twice and no body, got {output:#?}")
    };
    for answer in [first, second] {
        assert!(answer[0].starts_with("HTTP/1.1 200 "), "expected status 200, got {answer:#?}");
        let headers: Vec<String> = answer.iter().map(|line| line.to_ascii_lowercase()).collect();
        for header in [
            "content-type: text/event-stream",
            "cache-control: no-cache, no-transform",
            "x-accel-buffering: no",
            "access-control-allow-origin: *",
        ] {
            let is_there = headers.iter().any(|line| line == header);
            assert!(is_there, "expected `{header}`, got {answer:#?}");
        }
    }
}

/// The server sends nothing after these rolls, so a buffered roll would never arrive.
fn rolls_reach_curl_unbuffered_even_if_it_accepts_compression(door: Door) {
    let instance = door.instance("every = '1h'");
    instance.fill(3, 1);
    let _server = instance.start();
    wait_until_rolled(&instance, 4);
    for options in [[].as_slice(), &["--compressed"], &["--http2"]] {
        let mut client =
            listen(curl(&instance).args(options).arg(instance.url("/stream/?after=0")));
        let seen = client.see_roll(4);
        assert!(client.is_running(), "expected a stream that stays open with {options:?}");
        seen.assert_modes(&["resumed"]);
        compare(&seen.rolls, 1, &instance).unwrap();
    }
}

/// An unbuffered curl that ignores the user's configuration. It exits after 300 s, so it does not
/// outlive the test process for long.
fn curl(instance: &Instance) -> Command {
    let mut command = Command::new("curl");
    command.args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--no-buffer"]);
    command.args(["--max-time", "300"]).current_dir(instance.path());
    command
}

fn listen(command: &mut Command) -> Client {
    Client::spawn(command, raw)
}

fn twenty_rolls(command: &mut Command) -> Seen {
    listen(command).see("20 rolls", |seen| seen.rolls.len() >= 20)
}

/// Parses the raw stream. An event counts once its blank line has arrived.
fn raw(lines: &[String]) -> Seen {
    let mut seen = Seen::default();
    let (mut name, mut id, mut data) = ("message", None, None);
    for line in lines {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value,
            "id" => id = Some(value),
            "data" => assert_eq!(data.replace(value), None, "expected one line of data"),
            "retry" => assert!(value.parse::<u32>().is_ok(), "expected milliseconds: `{line}`"),
            "" if line.starts_with(':') => {}
            "" => {
                match (name, id, data) {
                    ("message", Some(id), Some(dice)) => seen.see_roll(id, dice),
                    ("sync", None, Some(data)) => seen.syncs.push(json(data)),
                    ("closing", None, Some(data)) => {
                        assert_eq!(json(data), serde_json::json!({ "reason": "shutdown" }));
                    }
                    // Some clients turn blocks without data into empty events.
                    event => panic!("expected a roll, a sync or a closing, got {event:?}"),
                }
                (name, id, data) = ("message", None, None);
            }
            _ => panic!("expected a field of an event, got `{line}`"),
        }
    }
    seen
}
