//! The client's address behind a proxy, as the stream reports it and as the limit counts it.

use std::io::{Read, Write};
use std::net::TcpStream;

use ureq::http::{Method, Request};

use crate::common::{Instance, Server, http, wait_for};

/// The client's address as the stream reports it for a request with these headers, to a `GET` and
/// to a `HEAD`.
fn reported_addresses(instance: &Instance, headers: &[(&str, &str)]) -> [String; 2] {
    [Method::GET, Method::HEAD].map(|method| {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.uri(instance.url("/stream/")).body(()).unwrap();
        let response = http().run(request).unwrap();
        let values: Vec<_> = response.headers().get_all("rollcast-client").iter().collect();
        assert_eq!(values.len(), 1, "{response:?}");
        values[0].to_str().unwrap().to_owned()
    })
}

/// The name of the first event of a stream with these header lines, and its open connection.
fn first_event(instance: &Instance, headers: &str) -> (String, TcpStream) {
    let mut socket = instance.connect();
    let request = format!(
        "GET /stream/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{headers}\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    while !text.contains("\"}") && !text.contains("0}") && !text.contains("1}") {
        let mut bytes = [0; 512];
        let n = socket.read(&mut bytes).unwrap();
        assert!(n > 0, "the stream ended early: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    let name = text.lines().find_map(|line| line.strip_prefix("event: ").map(String::from));
    (name.unwrap_or_else(|| panic!("no event in {text}")), socket)
}

/// How many lines of the log contain a text, after a warning that is sure to come.
fn n_warnings(instance: &Instance, server: &Server, text: &str) -> usize {
    let count = || server.log().iter().filter(|line| line.contains(text)).count();
    wait_for("a warning", || (count() > 0).then_some(()));
    // The access line marks a later point in the log.
    http().get(instance.url("/rolls/1")).call().unwrap();
    wait_for("the access line", || {
        server.log().iter().any(|line| line.contains("/rolls/1")).then_some(())
    });
    count()
}

#[test]
fn a_response_header_shows_the_client_address_that_the_server_uses() {
    let client_address = |instance: &Instance, forwarded: &[&str]| {
        let headers: Vec<_> = forwarded.iter().map(|address| ("X-Real-IP", *address)).collect();
        reported_addresses(instance, &headers)
    };
    let behind_proxy = Instance::new("every = '1h'");
    let _server = behind_proxy.start();
    for (forwarded, expected) in [
        (&["192.0.2.1"][..], "192.0.2.1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["nonsense"], "unknown"),
        // The proxy appends its value to a header of the client, so the last value counts.
        (&["198.51.100.6", "192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1", "nonsense"], "unknown"),
        (&["198.51.100.6, 192.0.2.1"], "192.0.2.1"),
        (&["nonsense,192.0.2.1"], "192.0.2.1"),
        (&["198.51.100.6", "198.51.100.7 , 2001:db8::1"], "2001:db8::1"),
        (&["192.0.2.1, nonsense"], "unknown"),
        (&["192.0.2.1,"], "unknown"),
        (&["192.0.2.1:4711"], "192.0.2.1"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&[], "unknown"),
    ] {
        assert_eq!(client_address(&behind_proxy, forwarded), [expected; 2], "{forwarded:?}");
    }
    // A network that contains the proxy, and one that does not.
    let own = Instance::new("every = '1h'\ntrusted_proxies = ['127.0.0.0/8', 'fd00::/8']");
    let _server = own.start();
    let chain = [("X-Forwarded-For", "198.51.100.6, 192.0.2.1, fd00::2, 127.9.9.9")];
    assert_eq!(reported_addresses(&own, &chain), ["192.0.2.1"; 2]);
    let other = Instance::new("every = '1h'\ntrusted_proxies = ['127.0.0.8/29']");
    let _server = other.start();
    assert_eq!(reported_addresses(&other, &chain), ["127.0.0.1"; 2]);
    let open = Instance::new("every = '1h'\ntrusted_proxies = []");
    let _server = open.start();
    let seen = client_address(&open, &["192.0.2.1"]);
    assert_eq!(seen, ["127.0.0.1"; 2], "a forged address was accepted");
}

#[test]
fn a_forwarded_address_counts_only_behind_a_trusted_proxy() {
    let behind_proxy = Instance::new("every = '1h'\nmax_streams_per_address = 1");
    let server = behind_proxy.start();
    let one = first_event(&behind_proxy, "X-Real-IP: 192.0.2.1\r\n");
    let again = first_event(&behind_proxy, "X-Real-IP: 192.0.2.1\r\n");
    let other = first_event(&behind_proxy, "X-Real-IP: 192.0.2.2\r\n");
    assert_eq!([&one.0, &again.0, &other.0], ["sync", "busy", "sync"]);
    // A forged address before the one that the proxy appends to the same line.
    let forged = ["198.51.100.6", "x"]
        .map(|claimed| first_event(&behind_proxy, &format!("X-Real-IP: {claimed}, 192.0.2.3\r\n")));
    assert_eq!([&forged[0].0, &forged[1].0], ["sync", "busy"]);
    // An IPv6 /64 network counts as one client.
    let same = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"]
        .map(|address| first_event(&behind_proxy, &format!("X-Real-IP: {address}\r\n")));
    assert_eq!([&same[0].0, &same[1].0, &same[2].0], ["sync", "busy", "sync"]);
    // Without a forwarded address, streams are not counted per address.
    let silent = [first_event(&behind_proxy, ""), first_event(&behind_proxy, "")];
    assert_eq!([&silent[0].0, &silent[1].0], ["sync", "sync"]);
    assert_eq!(n_warnings(&behind_proxy, &server, "without a client address"), 1);

    let open = Instance::new("every = '1h'\nmax_streams_per_address = 1\ntrusted_proxies = []");
    let _server = open.start();
    let honest = first_event(&open, "X-Real-IP: 192.0.2.1\r\n");
    let forged = first_event(&open, "X-Real-IP: 192.0.2.2\r\n");
    assert_eq!([&honest.0, &forged.0], ["sync", "busy"], "a forged address was accepted");
}

#[test]
fn headers_that_contradict_each_other_are_not_believed_and_count_as_one_client() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    // What Apache, lighttpd and others send by default: only X-Forwarded-For is their own.
    let own = ("X-Forwarded-For", "192.0.2.1");
    assert_eq!(reported_addresses(&instance, &[own]), ["192.0.2.1"; 2]);
    assert_eq!(reported_addresses(&instance, &[own, ("X-Real-IP", "6.6.6.6")]), ["unknown"; 2]);
    assert_eq!(reported_addresses(&instance, &[own, ("Forwarded", "for=6.6.6.6")]), ["unknown"; 2]);
    assert_eq!(reported_addresses(&instance, &[own, ("X-Real-IP", "192.0.2.1")]), ["192.0.2.1"; 2]);
    // However many addresses a client claims, it gets one stream.
    let instance = Instance::new("every = '1h'\nmax_streams_per_address = 1");
    let server = instance.start();
    let forged = ["6.6.6.6", "6.6.6.7", "6.6.6.8"].map(|claimed| {
        let headers = format!("X-Real-IP: {claimed}\r\nX-Forwarded-For: {claimed}, 192.0.2.1\r\n");
        first_event(&instance, &headers)
    });
    assert_eq!([&forged[0].0, &forged[1].0, &forged[2].0], ["sync", "busy", "busy"]);
    let honest = ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
        .map(|address| first_event(&instance, &format!("X-Forwarded-For: {address}\r\n")));
    assert_eq!([&honest[0].0, &honest[1].0, &honest[2].0], ["sync", "sync", "busy"]);
    let warning = "`6.6.6.6` in X-Real-IP and `192.0.2.1` in X-Forwarded-For";
    assert_eq!(n_warnings(&instance, &server, warning), 1, "{:#?}", server.log());
}

#[test]
fn an_address_that_cannot_be_read_is_quoted_and_counts_as_one_client() {
    let instance = Instance::new("every = '1h'\nmax_streams_per_address = 1");
    let server = instance.start();
    let unreadable = ["a\u{9b}2Jb\u{202e}c", "", "203.0.113.8:x", "203.0.113.8, unknown"]
        .map(|claimed| first_event(&instance, &format!("X-Real-IP: {claimed}\r\n")));
    let names: Vec<_> = unreadable.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sync", "busy", "busy", "busy"]);
    let with_port = ["203.0.113.8:4711", "203.0.113.8:4712"]
        .map(|claimed| first_event(&instance, &format!("X-Real-IP: {claimed}\r\n")));
    assert_eq!([&with_port[0].0, &with_port[1].0], ["sync", "busy"]);
    let log = |text: &str| n_warnings(&instance, &server, text);
    assert_eq!(log("expected a client address in X-Real-IP"), 1, "{:#?}", server.log());
    // Escaped once more by the JSON of the log.
    assert_eq!(log(r"got `a\\u{9b}2Jb\\u{202e}c`"), 1, "{:#?}", server.log());
}
