//! Clients that are slow: to send a request, and to read a stream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::events::{Ask, Stream};
use crate::common::sockets::narrow_connection;
use crate::common::{Door, TIMEOUT};

use super::{both_doors, connect, is_open, metric, n_cut, read_until, rest, wait_for_cuts};

/// `head_timeout` of the test.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// How much earlier than that a connection may be closed, as seen from here.
const EARLY: Duration = Duration::from_millis(50);

fn park(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        thread::park_timeout(time.saturating_sub(start.elapsed()));
    }
}

/// Connections that do not get a request done: silent, with half a head, one byte at a time, and
/// silent after a request. The third one needs [`drip`].
fn slow_connections(port: u16) -> [TcpStream; 4] {
    let mut kept = connect(port, "HEAD /stream/ HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(&mut kept, "\r\n\r\n");
    let half = "GET /stream/ HTTP/1.1\r\nHost: x\r\n";
    [connect(port, ""), connect(port, half), connect(port, format!("{half}X: ")), kept]
}

/// Sends a byte every 20 ms until the server closes the connection.
fn drip(mut socket: &TcpStream) {
    let start = Instant::now();
    while is_open(socket) && start.elapsed() < TIMEOUT {
        // The server may close the connection at any moment.
        let _ = socket.write(b"x");
        park(Duration::from_millis(20));
    }
}

#[test]
fn a_client_that_sends_no_request_is_cut_off_after_head_timeout_and_an_open_stream_is_not() {
    let (instance, server) =
        both_doors("every = '1h'\nheartbeat = '10m'\nfanout.head_timeout = '1s'");
    let start = Instant::now();
    let get = "GET /stream/?after=0 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = connect(instance.stream_port(), get);
    read_until(&mut stream, "id: 1-");
    let at_rocket = slow_connections(instance.port());
    let connected = Instant::now();
    let mut slow = slow_connections(instance.stream_port());
    drip(&slow[2]);
    assert!(connected.elapsed() + EARLY >= HEAD_TIMEOUT, "cut off after {:?}", connected.elapsed());
    for socket in &mut slow {
        assert_eq!(rest(socket), "");
    }
    wait_for_cuts(&instance, &server, "head", 4);

    // Nothing is sent on the stream, for much longer than the timeout.
    park((4 * HEAD_TIMEOUT).saturating_sub(start.elapsed()));
    assert!(is_open(&stream), "an open stream was cut off");
    assert_eq!((n_cut(&instance, "head"), n_cut(&instance, "send")), (4, 0));
    assert_eq!(metric(&instance, "rollcast_fanout_connections"), 1);
    // Control: without a timeout, they are still open.
    assert!(at_rocket.iter().all(is_open), "Rocket closed a connection");
}

#[test]
fn a_request_that_arrives_in_pieces_within_head_timeout_is_answered() {
    let (instance, _server) = both_doors("every = '1h'\nfanout.head_timeout = '10m'");
    let mut socket = connect(instance.stream_port(), "");
    for byte in b"GET /stream/?after=0 HTTP/1.1\r\nHost: x\r\n\r\n" {
        socket.write_all(&[*byte]).unwrap();
        park(Duration::from_millis(2));
    }
    read_until(&mut socket, "id: 1-");
}

/// Opens a stream of the whole history over a connection that buffers little, and reads its
/// beginning.
fn open_slow_stream(port: u16) -> TcpStream {
    let mut socket = narrow_connection(port);
    socket.write_all(b"GET /stream/?after=0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    read_until(&mut socket, "event: sync");
    socket
}

#[test]
fn a_client_that_stops_reading_is_cut_off_after_send_timeout_and_a_slow_one_is_not() {
    let timeout = Duration::from_secs(3);
    let instance = Door::Fanout.instance("every = '20ms'\nfanout.send_timeout = '3s'");
    // More than the kernel's buffers hold.
    instance.fill(40_000, 1);
    let server = instance.start();
    let mut healthy = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    healthy.rolls(1);
    let at_rocket = open_slow_stream(instance.port());
    let slow = open_slow_stream(instance.stream_port());
    let n_streams = || metric(&instance, "rollcast_streams_open");
    assert_eq!(n_streams(), 3);

    // It reads far less within the timeout than a third of the kernel's buffers.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                let n_bytes = (&slow).read(&mut [0; 256]).unwrap();
                assert!(n_bytes > 0, "the slow client was cut off");
                park(Duration::from_millis(100));
            }
        });
        let start = Instant::now();
        let mut stalled = open_slow_stream(instance.stream_port());
        wait_for_cuts(&instance, &server, "send", 1);
        assert!(start.elapsed() + EARLY >= timeout, "cut off after {:?}", start.elapsed());
        assert!(!rest(&mut stalled).ends_with("\r\n0\r\n\r\n"), "the stream ended in order");
        park(2 * timeout);
        is_over.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
    wait_for_cuts(&instance, &server, "send", 1);
    assert_eq!(n_streams(), 3, "the healthy one, the slow one and Rocket's");
    healthy.rolls(50);
    // Control: Rocket's door keeps a client that does not read.
    assert!(is_open(&at_rocket), "Rocket closed the connection");
}
