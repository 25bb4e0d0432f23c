//! The limits that both doors share, other addresses, and the limit of connections.

use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::common::events::{Ask, Frame, Stream};
use crate::common::{Instance, http, wait_for};

use super::answers::Answer;
use super::{both_doors, connect, is_open, metric, read_until, rest, wait_for_cuts};

#[test]
fn the_door_serves_nothing_but_the_stream() {
    let (instance, _server) = both_doors("every = '1h'");
    let message =
        |path: &str| format!("There is nothing at `{path}`. This address serves only `/stream/`.");
    for path in ["/", "/rolls", "/api/rolls", "/healthz", "/readyz", "/metrics", "/streams"] {
        for method in ["GET", "POST", "HEAD", "OPTIONS", "DELETE"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let (answer, _) = Answer::to(instance.stream_port(), &request);
            assert_eq!(answer.status, "HTTP/1.1 404 Not Found", "{method} {path}");
            if method != "HEAD" {
                let error: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(error["error"]["code"], "not_found", "{method} {path}");
                assert_eq!(error["error"]["message"], message(path), "{method} {path}");
            }
        }
    }
    for path in ["/stream/x", "/stream/../stream/", "/stream;x", "/%2Fstream"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let (answer, _) = Answer::to(instance.stream_port(), &request);
        assert_eq!(answer.status, "HTTP/1.1 404 Not Found", "{path}");
        assert!(answer.body.contains(&message(path)), "{path}: {}", answer.body);
    }
    // Control: the server has these addresses.
    assert_eq!(http().get(instance.url("/healthz")).call().unwrap().status(), 200);
}

/// What a stream at a port begins with: the name of its first event, and the data.
fn first_event(instance: &Instance, port: u16) -> (String, Value, Stream) {
    let url = instance.url("/").replace(&instance.port().to_string(), &port.to_string());
    let mut stream = Stream::open(&format!("{url}stream/"), Ask::default()).unwrap();
    let event = stream.find_map(|frame| match frame {
        Frame::Event { name, data, .. } => Some((name, serde_json::from_str(&data).unwrap())),
        _ => None,
    });
    let (name, data) = event.unwrap();
    (name, data, stream)
}

#[test]
fn a_stream_at_one_door_counts_towards_the_limits_of_the_other() {
    for (limit, reason) in [("max_streams", "total"), ("max_streams_per_address", "address")] {
        let limits = format!("{limit} = 2\ntrusted_proxies = []");
        let (instance, _server) = both_doors(&format!("every = '1h'\nheartbeat = '1s'\n{limits}"));
        let doors = [instance.port(), instance.stream_port()];
        let mut streams = doors.map(|port| {
            let (name, _, stream) = first_event(&instance, port);
            assert_eq!(name, "sync", "{limit}");
            Some(stream)
        });
        assert_eq!(metric(&instance, "rollcast_streams_open"), 2);
        for (n, port) in doors.into_iter().enumerate() {
            for port in doors {
                let (name, data, _) = first_event(&instance, port);
                let busy = json!({"reason": reason, "limit": 2});
                assert_eq!((name.as_str(), data), ("busy", busy), "{limit}");
            }
            // A stream that ends at this door leaves its place to the other one, and back.
            streams[n] = None;
            let other = doors[1 - n];
            let open = |port: u16| {
                wait_for("a free place", || {
                    let (name, _, stream) = first_event(&instance, port);
                    (name == "sync").then_some(stream)
                })
            };
            drop(open(other));
            streams[n] = Some(open(port));
        }
    }
}

#[test]
fn connections_beyond_max_streams_and_1_024_more_are_closed_and_counted() {
    const N_CONNECTIONS: usize = 2 + 1_024;
    // The other tests of this process have open files too.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let (instance, server) =
        both_doors("every = '50ms'\nmax_streams = 2\nfanout.head_timeout = '10m'");
    let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    stream.rolls(1);
    let n_open = || metric(&instance, "rollcast_fanout_connections") as usize;
    assert_eq!(n_open(), 1, "the stream");
    let mut idle: Vec<TcpStream> =
        (1..N_CONNECTIONS).map(|_| connect(instance.stream_port(), "")).collect();
    wait_for("all connections to be open", || (n_open() == N_CONNECTIONS).then_some(()));

    let request = "GET /stream/ HTTP/1.1\r\nHost: x\r\n\r\n";
    for n in 1..=3 {
        assert_eq!(rest(&mut connect(instance.stream_port(), request)), "", "connection {n}");
        wait_for_cuts(&instance, &server, "connections", n);
    }
    assert!(idle.iter().all(is_open), "an open connection was closed");
    assert_eq!(n_open(), N_CONNECTIONS);
    // Open connections work.
    stream.rolls(5);
    std::io::Write::write_all(&mut idle[0], request.as_bytes()).unwrap();
    read_until(&mut idle[0], "event: sync");

    drop(idle.split_off(10));
    wait_for("the connections to be closed", || (n_open() == 11).then_some(()));
    let mut next = connect(instance.stream_port(), "PUT /stream/ HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(&mut next, "405 Method Not Allowed");
}
