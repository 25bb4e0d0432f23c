//! The PROXY protocol, as a proxy that forwards TCP speaks it.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{Instance, wait_for};

use super::{Server, both_doors, connect, metric, n_cut, read_until, rest, wait_for_cuts};

const GET: &str = "GET /stream/ HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";

/// A door whose connections begin with the PROXY protocol. It trusts this machine.
fn proxied(rollcast: &str) -> (Instance, Server) {
    both_doors(&format!(
        "every = '1h'\ntrusted_proxies = ['127.0.0.1']\nfanout.proxy_protocol = true\n{rollcast}"
    ))
}

/// Version 1: a line.
fn version_1(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let own = if client.contains(':') { "::1" } else { "127.0.0.1" };
    format!("PROXY {family} {client} {own} 4711 5001\r\n").into_bytes()
}

/// Version 2: a command (0: LOCAL, 1: PROXY), the family, and the addresses.
fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend((addresses.len() as u16).to_be_bytes());
    header.extend(addresses);
    header
}

/// Version 2 for the client 203.0.113.7, with an extension at the end as HAProxy may send it.
fn version_2_of_client() -> Vec<u8> {
    let ports = [0x12, 0x67, 0x13, 0x89];
    let noop = [4, 0, 1, 0];
    version_2(1, 0x11, &[&[203, 0, 113, 7, 127, 0, 0, 1][..], &ports, &noop].concat())
}

/// Opens a stream with this header before the request. Returns the beginning of the answer.
fn open(instance: &Instance, header: &[u8], request: &str) -> (TcpStream, String) {
    let mut socket = connect(instance.stream_port(), [header, request.as_bytes()].concat());
    let answer = read_until(&mut socket, "\n\n");
    (socket, answer)
}

/// The client in the head of an answer.
fn client_of(answer: &str) -> &str {
    answer.lines().find_map(|line| line.strip_prefix("rollcast-client: ")).unwrap()
}

#[test]
fn a_header_of_either_version_names_the_client_and_no_other_header_is_believed() {
    let (instance, server) = proxied("");
    let claims = GET.replace("\r\n\r\n", "\r\nX-Real-IP: 198.51.100.9\r\n\r\n");
    for (header, client) in [
        (version_1("203.0.113.7"), "203.0.113.7"),
        (version_1("2001:db8::1"), "2001:db8::1"),
        (version_1("::ffff:203.0.113.7"), "203.0.113.7"),
        (version_2_of_client(), "203.0.113.7"),
    ] {
        for request in [GET, &claims] {
            let (_socket, answer) = open(&instance, &header, request);
            assert!(answer.contains("event: sync"), "{client}: {answer}");
            assert_eq!(client_of(&answer), client);
        }
    }
    // Control: at Rocket's door, the same header of this trusted machine is believed.
    let answer = read_until(&mut connect(instance.port(), &claims), "\n\n");
    assert_eq!(client_of(&answer), "198.51.100.9");
    wait_for("the log lines of the streams", || {
        let log = server.log();
        let opened = log.iter().filter(|line| line.contains("stream opened, client 203.0.113.7"));
        (opened.count() == 6).then_some(())
    });
}

#[test]
fn the_named_client_counts_towards_the_limit_per_address() {
    let (instance, _server) = proxied("max_streams_per_address = 1");
    let (_first, answer) = open(&instance, &version_1("203.0.113.7"), GET);
    assert!(answer.contains("event: sync"), "{answer}");
    let busy = r#"data: {"reason":"address","limit":1}"#;
    for header in [version_1("203.0.113.7"), version_2_of_client()] {
        let (_, answer) = open(&instance, &header, GET);
        assert!(answer.contains(busy), "{answer}");
    }
    let (_other, answer) = open(&instance, &version_1("203.0.113.8"), GET);
    assert!(answer.contains("event: sync"), "{answer}");
}

#[test]
fn a_header_in_pieces_is_read_and_nothing_after_it() {
    let (instance, _server) = proxied("fanout.head_timeout = '10m'");
    for header in [version_1("203.0.113.7"), version_2_of_client()] {
        let both = [&header[..], GET.as_bytes()].concat();
        for n_bytes in [1, 12, header.len() - 1, header.len(), header.len() + 5] {
            let (first, second) = both.split_at(n_bytes);
            let mut socket = connect(instance.stream_port(), first);
            // Long enough for the door to look at the first piece.
            std::thread::park_timeout(Duration::from_millis(30));
            socket.write_all(second).unwrap();
            let answer = read_until(&mut socket, "\n\n");
            assert_eq!(client_of(&answer), "203.0.113.7", "{n_bytes} bytes first");
        }
    }
}

#[test]
fn a_connection_without_a_header_is_closed_counted_and_logged() {
    let (instance, server) = proxied("fanout.head_timeout = '1s'");
    let long = [&version_1("203.0.113.7")[..8], &[b'1'; 2_000]].concat();
    let senders: [&[u8]; 4] =
        [GET.as_bytes(), b"PROXY TCP4 nobody 127.0.0.1 1 2\r\n", &long, &[0x16, 3, 1, 0, 5]];
    for (n, bytes) in (1..).zip(senders) {
        let mut socket = connect(instance.stream_port(), bytes);
        assert_eq!(rest(&mut socket), "", "{}", bytes.escape_ascii());
        wait_for_cuts(&instance, &server, "proxy_protocol", n);
    }
    // Nothing at all, or a part of a header.
    for (n, bytes) in (5..).zip(["", "PROXY TCP4 203.0"]) {
        assert_eq!(rest(&mut connect(instance.stream_port(), bytes)), "", "{bytes}");
        wait_for_cuts(&instance, &server, "proxy_protocol", n);
    }
    assert_eq!(metric(&instance, "rollcast_streams_open"), 0);
    // A client that is named, and then sends no request.
    let mut silent = connect(instance.stream_port(), version_1("203.0.113.7"));
    assert_eq!(rest(&mut silent), "");
    wait_for_cuts(&instance, &server, "head", 1);
}

#[test]
fn a_client_over_ipv4_is_logged_by_its_address_also_where_the_door_has_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("skipped: this machine has no IPv6");
    }
    let (instance, server) = proxied("fanout.address = '::'");
    rest(&mut connect(instance.stream_port(), GET));
    wait_for("the log line", || {
        let log = server.log().join("\n");
        log.contains("connection of 127.0.0.1 closed (proxy_protocol)").then_some(())
    });
}

#[test]
fn the_header_of_a_machine_that_is_not_trusted_is_refused() {
    let (instance, server) =
        both_doors("every = '1h'\ntrusted_proxies = ['10.0.0.0/8']\nfanout.proxy_protocol = true");
    let request = [&version_1("203.0.113.7")[..], GET.as_bytes()].concat();
    assert_eq!(rest(&mut connect(instance.stream_port(), request)), "");
    wait_for_cuts(&instance, &server, "proxy_protocol", 1);
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("rollcast.trusted_proxies")), "{log:#?}");
}

#[test]
fn a_health_check_of_the_proxy_itself_is_answered() {
    let (instance, _server) = proxied("");
    for header in [version_2(0, 0, &[]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let head = "HEAD /stream/ HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut socket = connect(instance.stream_port(), [&header, head.as_bytes()].concat());
        let answer = read_until(&mut socket, "\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        // It is the proxy, which names no client.
        assert_eq!(client_of(&answer), "unknown");
        // A check that only connects is no fault.
        drop(connect(instance.stream_port(), &header));
    }
    wait_for("all connections to be closed", || {
        (metric(&instance, "rollcast_fanout_connections") == 0).then_some(())
    });
    assert_eq!((n_cut(&instance, "proxy_protocol"), n_cut(&instance, "head")), (0, 0));
}

#[test]
fn without_proxy_protocol_a_header_is_a_broken_request() {
    let (instance, _server) = both_doors("every = '1h'\ntrusted_proxies = ['127.0.0.1']");
    let request = [&version_1("203.0.113.7")[..], GET.as_bytes()].concat();
    let answer = rest(&mut connect(instance.stream_port(), request));
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}
