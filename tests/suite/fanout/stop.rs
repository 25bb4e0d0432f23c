//! How the door stops.

use std::net::TcpStream;
use std::time::Instant;

use crate::common::events::{Ask, Stream};
use crate::common::{TIMEOUT, wait_for};

use super::{both_doors, connect, metric, read_until, rest};

/// A stop that waits for connections takes longer than any test does.
const LONG_GRACE: &str = "[default.shutdown]\ngrace = 300\nmercy = 300";

#[test]
fn a_stop_ends_streams_and_does_not_wait_for_idle_connections() {
    let (instance, mut server) =
        both_doors(&format!("every = '1h'\nfanout.head_timeout = '10m'\n{LONG_GRACE}"));
    let port = instance.stream_port();
    let mut streams: Vec<Stream> =
        (0..5).map(|_| Stream::open(&instance.url("/stream/"), Ask::default()).unwrap()).collect();
    for stream in &mut streams {
        assert!(stream.frames(2)[1].sync().is_some());
    }
    let mut idle: Vec<TcpStream> = (0..5).map(|_| connect(port, "")).collect();
    idle.extend((0..5).map(|_| {
        let mut socket = connect(port, "HEAD /stream/ HTTP/1.1\r\nHost: x\r\n\r\n");
        read_until(&mut socket, "\r\n\r\n");
        socket
    }));
    wait_for("all connections", || {
        (metric(&instance, "rollcast_fanout_connections") == 15).then_some(())
    });
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < TIMEOUT);
    for stream in streams {
        let last = stream.last().unwrap();
        assert_eq!(last.closing().as_deref(), Some("shutdown"), "{last:?}");
    }
    for mut socket in idle {
        assert_eq!(rest(&mut socket), "");
    }
}

#[test]
fn a_stop_waits_for_the_grace_period_at_most_for_half_sent_requests() {
    let (instance, mut server) = both_doors("every = '1h'\nfanout.head_timeout = '10m'");
    let mut half = connect(instance.stream_port(), "GET /stream/ HTTP/1.1\r\nHost: x\r\n");
    wait_for("the connection", || {
        (metric(&instance, "rollcast_fanout_connections") == 1).then_some(())
    });
    server.stop();
    assert_eq!(rest(&mut half), "");
}

#[test]
fn the_door_refuses_new_connections_once_the_server_stops() {
    let (instance, mut server) = both_doors("every = '1h'");
    let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    stream.frames(2);
    server.signal("TERM");
    assert_eq!(stream.last().and_then(|frame| frame.closing()).as_deref(), Some("shutdown"));
    wait_for("a refused connection", || {
        TcpStream::connect(("127.0.0.1", instance.stream_port())).is_err().then_some(())
    });
    assert!(server.wait().success(), "{:#?}", server.log());
}
