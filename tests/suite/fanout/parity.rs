//! Both doors of one server give the same answers, byte for byte.

use crate::common::Instance;
use crate::common::events::{Ask, Stream};
use crate::stream::{cursor_table, header_of, quiet_instance};

use super::answers::{Answer, is_kept};
use super::{Door, both_doors};

/// Sends a request to both doors and compares the answers, and whether the connection stays open.
/// Returns the answer.
fn same_answer(instance: &Instance, request: &str) -> Answer {
    let (expected, rockets) = Answer::to(instance.port(), request);
    let (answer, doors) = Answer::to(instance.stream_port(), request);
    assert_eq!(answer, expected, "{request}");
    if answer.is_whole {
        assert_eq!(is_kept(&doors), is_kept(&rockets), "{request}");
    }
    answer
}

/// A request with a valid host and these headers.
fn request(start: &str, headers: &str) -> String {
    format!("{start}\r\nHost: rolls.example\r\n{headers}\r\n")
}

fn form(body: &str) -> String {
    let headers = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        body.len()
    );
    request("POST /stream/ HTTP/1.1", &headers) + body
}

#[test]
fn both_doors_send_the_same_bytes_for_each_row_of_the_cursor_table() {
    let (instance, _server) = quiet_instance(Door::Fanout);
    let table = cursor_table(&instance);
    for (query, sync, from) in &table {
        let answer = same_answer(&instance, &request(&format!("GET /stream/{query} HTTP/1.1"), ""));
        let n_rolls = usize::try_from(102 - from).unwrap();
        assert_eq!(answer.body.matches("\nid: ").count(), n_rolls, "{query}: {}", answer.body);
        let sync = sync["mode"].as_str().unwrap();
        assert!(answer.body.contains(&format!(r#"{{"mode":"{sync}""#)), "{query}: {}", answer.body);
        let same = same_answer(&instance, &form(query.trim_start_matches('?')));
        assert_eq!(same, answer, "the form {query}");
        if let Some(after) = header_of(query) {
            let header = format!("Last-Event-ID: {after}\r\n");
            let same = same_answer(&instance, &request("GET /stream HTTP/1.1", &header));
            assert_eq!(same, answer, "the header {after}");
        }
    }
    assert!(table.len() > 25, "{} rows", table.len());
}

#[test]
fn both_doors_send_the_same_bytes_for_every_method_and_spelling_of_the_address() {
    let (instance, _server) = quiet_instance(Door::Fanout);
    let json = "Accept: application/json\r\n";
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        for path in ["/stream/", "/stream", "//stream//", "/%73tream/", "http://x/stream/?after=99"]
        {
            for (method, status) in [
                ("GET", "200 OK"),
                ("POST", "200 OK"),
                ("HEAD", "200 OK"),
                ("OPTIONS", "204 No Content"),
                ("PUT", "405 Method Not Allowed"),
                ("PATCH", "405 Method Not Allowed"),
                ("DELETE", "405 Method Not Allowed"),
                ("TRACE", "405 Method Not Allowed"),
            ] {
                let request = request(&format!("{method} {path} {version}"), json);
                let answer = same_answer(&instance, &request);
                assert_eq!(answer.status, format!("{version} {status}"), "{method} {path}");
            }
        }
    }
}

#[test]
fn both_doors_send_the_same_bytes_for_other_starts_clients_and_bodies() {
    let (instance, _server) = quiet_instance(Door::Fanout);
    let get = |headers: &str| request("GET /stream/?after=99 HTTP/1.1", headers);
    let post = |headers: &str| request("POST /stream/ HTTP/1.1", headers);
    let table = [
        // Contradictions and names that are not known.
        (request("GET /stream/?after=5&after=6 HTTP/1.1", ""), "malformed"),
        (request("GET /stream/?atfer=5 HTTP/1.1", ""), "malformed"),
        (request("GET /stream/?since=2026-11-23T00:01:39Z HTTP/1.1", ""), "resumed"),
        (get("Last-Event-ID: 1\r\nLast-Event-ID: 2\r\n"), "malformed"),
        (get("Last-Event-ID: \u{e4}\r\n"), "malformed"),
        // Clients behind a trusted proxy: known, contradictory, unreadable.
        (get("X-Real-IP: 203.0.113.9\r\n"), "resumed"),
        (get("X-Real-IP: 203.0.113.9\r\nX-Forwarded-For: 203.0.113.8\r\n"), "resumed"),
        (get("X-Real-IP: somebody\r\n"), "resumed"),
        // Connections that the client wants closed or kept.
        (get("Connection: close\r\n"), "resumed"),
        (request("GET /stream/?after=99 HTTP/1.0", "Connection: keep-alive\r\n"), "resumed"),
        (get("Connection: upgrade\r\nUpgrade: websocket\r\n"), "resumed"),
        // Bodies.
        (get("Content-Length: 3\r\n") + "abc", "resumed"),
        (form("last_event_id=99"), "resumed"),
        (form("after=99&_method=PUT"), "malformed"),
        (form("_method=PUT"), "malformed"),
        (form(&format!("after=99&_={}", "9".repeat(4 << 10))), "malformed"),
        (post("Content-Type: application/json\r\nContent-Length: 2\r\n") + "{}", "malformed"),
        (post("Content-Length: 8\r\n") + "after=99", "malformed"),
        (
            post(
                "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n",
            ) + "8\r\nafter=99\r\n0\r\n\r\n",
            "resumed",
        ),
    ];
    for (request, word) in table {
        let answer = same_answer(&instance, &request);
        assert!(answer.body.contains(&format!("\"{word}\"")), "{request}: {}", answer.body);
    }
}

#[test]
fn both_doors_send_the_same_bytes_for_a_host_that_is_missing_repeated_or_invalid() {
    let (instance, _server) = both_doors("every = '1h'");
    let hosts = ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: u@a\r\n", "Host:\r\n"];
    for headers in hosts {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "PUT"] {
            for version in ["HTTP/1.1", "HTTP/1.0"] {
                let start = format!("{method} /stream/ {version}");
                let request = format!("{start}\r\n{headers}Accept: application/json\r\n\r\n");
                let answer = same_answer(&instance, &request);
                assert_eq!(answer.status, format!("{version} 400 Bad Request"), "{request}");
                let is_json = answer.body.contains(r#""code":"invalid_host""#);
                assert_eq!(is_json, method != "HEAD", "{request}: {}", answer.body);
            }
        }
    }
}

#[test]
fn both_doors_send_the_same_bytes_to_a_client_over_a_limit() {
    for (limit, reason) in [("max_streams", "total"), ("max_streams_per_address", "address")] {
        let (instance, _server) =
            both_doors(&format!("every = '1h'\n{limit} = 1\ntrusted_proxies = []"));
        let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
        assert!(stream.frames(2)[1].sync().is_some());
        for method in ["GET", "POST"] {
            let start = format!("{method} /stream/ HTTP/1.1");
            let answer = same_answer(&instance, &request(&start, "Accept: text/event-stream\r\n"));
            let busy =
                format!("retry: N\nevent: busy\ndata: {{\"reason\":\"{reason}\",\"limit\":1}}\n\n");
            assert!(answer.body == busy && answer.is_whole, "{answer:#?}");
            let answer = same_answer(&instance, &request(&start, "Accept: application/json\r\n"));
            assert_eq!(answer.status, "HTTP/1.1 503 Service Unavailable");
            assert!(answer.headers.contains(&"retry-after: N".into()), "{answer:#?}");
            assert!(answer.body.contains(r#""code":"too_many_streams""#), "{answer:#?}");
        }
        // HTTP/1.0 has no chunks: the end of the connection ends the event.
        let start = "GET /stream/ HTTP/1.0";
        let answer = same_answer(&instance, &request(start, "Accept: text/event-stream\r\n"));
        assert!(answer.body.contains("event: busy") && answer.is_whole, "{answer:#?}");
    }
}

#[test]
fn errors_of_the_door_are_json_also_for_clients_that_prefer_pages() {
    let (instance, _server) = both_doors("every = '1h'");
    let page = "Accept: text/html\r\n";
    for (request, code) in [
        (request("PUT /stream/ HTTP/1.1", page), "method_not_allowed"),
        (format!("GET /stream/ HTTP/1.1\r\n{page}\r\n"), "invalid_host"),
        (request("GET / HTTP/1.1", page), "not_found"),
    ] {
        let (answer, _) = Answer::to(instance.stream_port(), &request);
        let code = format!(r#"{{"error":{{"code":"{code}","message":""#);
        assert!(answer.body.starts_with(&code), "{request}: {answer:#?}");
        let json = "content-type: application/json".to_string();
        assert!(answer.headers.contains(&json), "{request}: {answer:#?}");
        // Control: Rocket's door sends a page.
        if !request.starts_with("GET / ") {
            let (answer, _) = Answer::to(instance.port(), &request);
            assert!(answer.body.contains("<!doctype html>"), "{request}: {answer:#?}");
        }
    }
}
