//! The HTTP client of the crate `event-stream`, against servers that misbehave.

use std::io::{ErrorKind, Read, Write};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use event_stream::client::{Certificates, Client, Config, Method, Request};
use event_stream::parser::Frame;
use event_stream::proxy::Proxies;
use lab::script::Reply;

use crate::common::TIMEOUT;
use crate::common::hand_server::HandServer;
use crate::common::replies::{Replies, event_stream, silence};

fn client(max_redirects: u32) -> Client {
    Client::new(Config {
        user_agent: "test".into(),
        certificates: Certificates::Public,
        max_redirects,
        proxies: Proxies::default(),
    })
}

/// Requests `url`; the head and the body may each take `timeout`.
fn get(
    client: &Client,
    url: &str,
    timeout: Duration,
) -> Result<event_stream::client::Response, event_stream::client::ClientError> {
    client.send(&Request {
        method: Method::Get,
        url: &url.parse().unwrap(),
        headers: &[("Accept", "text/event-stream")],
        timeout,
        body_timeout: Some(timeout),
    })
}

#[test]
fn a_head_that_does_not_arrive_in_time_is_a_timeout() {
    let silent = Replies::start([silence()]);
    let start = Instant::now();
    let error = get(&client(0), &silent.url("/"), Duration::from_millis(300)).err().unwrap();
    assert!(error.is_timeout(), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < TIMEOUT);
    let closed = Replies::start([]);
    let error = get(&client(0), &closed.url("/"), TIMEOUT).err().unwrap();
    assert!(!error.is_timeout(), "{error}");
}

#[test]
fn a_stream_yields_its_frames_until_the_time_for_it_is_over() {
    let server = Replies::start([event_stream(": hello\nid: 4\ndata: x\n\ndata: half")]);
    let response = get(&client(0), &server.url("/"), Duration::from_millis(700)).unwrap();
    assert!(response.is_event_stream());
    let mut stream = response.into_stream();
    let mut frames = Vec::new();
    let error = loop {
        match stream.next_frames() {
            Ok(more) => frames.extend(more.expect("the server does not end the stream")),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let (name, id, data) = ("message".into(), Some("4".into()), "x".into());
    assert_eq!(frames, [Frame::Comment, Frame::Event { name, id, data }]);
}

#[test]
fn a_body_that_breaks_off_is_an_error_and_no_timeout() {
    let server = Replies::start([Reply::empty("200 OK", "Content-Length: 9\r\n").write("half")]);
    let response = get(&client(0), &server.url("/"), TIMEOUT).unwrap();
    let mut text = String::new();
    let error = response.into_body().read_to_string(&mut text).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(text, "half");
}

#[test]
fn redirects_are_followed_up_to_the_limit() {
    let server = HandServer::answering(|_, request, mut client| {
        let n: u32 = request.path[1..].parse().unwrap();
        let head = match n {
            0 => "HTTP/1.1 204 No Content\r\n".into(),
            n => format!("HTTP/1.1 302 Found\r\nLocation: /{}\r\n", n - 1),
        };
        write!(client, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n")
    });
    for (n, limit, status) in [(0, 0, 204), (1, 0, 302), (2, 2, 204), (3, 2, 302)] {
        let response = get(&client(limit), &server.url(&format!("/{n}")), TIMEOUT).unwrap();
        assert_eq!(response.status.as_u16(), status, "{n} redirects, limit {limit}");
    }
}

#[test]
fn a_password_in_the_url_becomes_a_header_and_is_in_no_error() {
    let server = HandServer::answering(|_, _, client| {
        // Resets the connection after the request.
        park_timeout(Duration::from_millis(1));
        drop(client);
        Ok(())
    });
    let url = server.url("/x").replace("http://", "http://me:p%40ss@");
    let error = get(&client(0), &url, TIMEOUT).err().unwrap().to_string();
    assert!(!error.contains("p%40ss") && !error.contains("p@ss"), "{error}");
    let request = &server.requests()[0];
    // `me:p@ss`, in lower case as the server keeps headers.
    assert_eq!(request.header("authorization"), Some("basic bwu6cebzcw=="));
    assert_eq!(request.path, "/x");
}
