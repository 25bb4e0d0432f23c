//! The store's read connections on a slow disk: which queries get one, and for how long.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use rusqlite::Connection;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::common::events::{Ask, Frame, Stream};
use crate::common::{Door, Instance, Server, at_each_door, http, wait_for};
use crate::kills::head;
use crate::shim::{Calls, Failure, Fault, Shim};

/// More rolls than the server keeps in memory.
const N_ROLLS: i64 = 20_000;
/// Searches 5,000 rolls for a result that does not occur.
const SEARCH: &str = "/rolls?die=1D12&result=7";
const N_SEARCHES: usize = 200;
const N_PROBES: usize = 40;

at_each_door!(
    pages_and_resumes_get_a_connection_however_many_searches_run,
    a_stream_that_waits_for_a_hanging_read_gets_heartbeats_and_its_permit_is_released,
);

fn get(instance: &Instance, path: &str) -> (u16, String) {
    let mut answer = http().get(instance.url(path)).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// Requests a page and does not wait for the response.
fn send_request(instance: &Instance, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", instance.port())).unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    socket
}

/// A stream whose reads have a timeout.
fn stream(instance: &Instance, path: &str) -> Stream {
    let mut socket = BufReader::new(instance.connect());
    // HTTP/1.0, so that the events come without chunks.
    write!(socket.get_mut(), "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(socket.read_line(&mut line).unwrap() > 0, "expected a response");
    }
    Stream::read(socket)
}

fn pages_and_resumes_get_a_connection_however_many_searches_run(door: Door) {
    let (instance, shim) = (door.instance("every = '1h'"), Shim::new());
    instance.fill(N_ROLLS, 1);
    let server = instance.start_with(&mut shim.command(&instance));
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    let _searches: Vec<TcpStream> =
        (0..N_SEARCHES).map(|_| send_request(&instance, SEARCH)).collect();
    // Enough slow reads to block all connections, if searches could use all of them.
    wait_for("searches to read", || (shim.n_injected() >= 8).then_some(()));
    for path in ["/", "/rolls", "/rolls/19000", "/api/rolls?limit=10"] {
        let (status, page) = get(&instance, path);
        assert_eq!(status, 200, "{path}: {page}; {:#?}", server.log());
    }
    let mut stream = Stream::open(&instance.url("/stream/?after=19990"), Ask::default()).unwrap();
    assert_eq!(stream.frames(2)[1].sync().unwrap()["mode"], "resumed");
}

fn a_stream_that_waits_for_a_hanging_read_gets_heartbeats_and_its_permit_is_released(door: Door) {
    let config = "every = '1h'\nheartbeat = '1s'\nmax_streams = 1";
    let (instance, shim) = (door.instance(config), Shim::new());
    instance.fill(N_ROLLS, 1);
    let _server = instance.start_with(&mut shim.command(&instance));
    wait_for("the roll of the start", || (head(&instance) > N_ROLLS).then_some(()));
    // Now the read connection has what the start of the stream needs, but not its rolls. The page of
    // a roll reads its tile, so this is the last roll of one.
    for _ in 0..8 {
        assert_eq!(get(&instance, "/rolls/10240").0, 200);
    }
    shim.inject(Fault::for_ever(Calls::Read, Failure::Hang));
    let mut replaying = stream(&instance, "/stream/?after=10240");
    let start = replaying.frames(2);
    assert_eq!(start[1].sync().unwrap()["replay"], 9_761);
    assert_eq!(replaying.frames(3), [Frame::Comment, Frame::Comment, Frame::Comment]);
    assert!(shim.n_injected() > 0, "nothing hangs");

    // A live stream reads nothing from the database.
    let is_refused = || {
        let mut live = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
        live.frames(2)[1].sync().is_none()
    };
    assert!(is_refused(), "control: heartbeats do not release the permit of an open stream");
    drop(replaying);
    wait_for("a free permit", || (!is_refused()).then_some(()));
    shim.clear_fault();
}

#[test]
fn a_query_that_takes_too_long_is_interrupted_and_reported() {
    let (instance, shim) = (Instance::new("every = '1h'"), Shim::new());
    instance.fill(N_ROLLS, 1);
    let _server = instance.start_with(&mut shim.command(&instance));
    let control = get(&instance, SEARCH);
    assert_eq!(control.0, 200, "{}", control.1);
    // Other rolls, which no connection has cached: about a hundred pages, 0.3 s each.
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    let (status, page) = get(&instance, &format!("{SEARCH}&before=10000"));
    assert_eq!(status, 503, "{page}");
    assert!(page.contains("try again soon"), "{page}");
    // The interrupted connection works again.
    shim.clear_fault();
    for _ in 0..8 {
        assert_eq!(get(&instance, &format!("{SEARCH}&before=10000")).0, 200);
    }
}

#[test]
fn a_download_with_an_interrupted_batch_continues_and_is_complete() {
    let (instance, shim) = (Instance::new("every = '1h'"), Shim::new());
    instance.fill(N_ROLLS, 1);
    // Rolls so large that a batch spans forty pages.
    let large: Vec<String> = (2..=14).map(|n| format!("'{n}D1000', 1000")).collect();
    let large = large.join(", ");
    let sql = format!("update rolls set dice = json_object({large}) where id < 1000");
    Connection::open(instance.database()).unwrap().execute(&sql, []).unwrap();
    let _server = instance.start_with(&mut shim.command(&instance));
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    thread::scope(|scope| {
        let file = scope.spawn(|| get(&instance, "/api/rolls.ndjson?before=1000"));
        // At 0.3 s each, these reads take longer than the query timeout.
        wait_for("a batch to be interrupted", || (shim.n_injected() >= 25).then_some(()));
        shim.clear_fault();
        assert_eq!(file.join().unwrap(), get(&instance, "/api/rolls.ndjson?before=1000"));
    });
}

#[test]
fn without_free_file_descriptors_every_connection_can_read_the_history() {
    let (instance, shim) = (Instance::new("every = '1h'"), Shim::new());
    instance.fill(N_ROLLS, 1);
    let server = instance.start_with(&mut shim.command(&instance));
    // One client for each read connection, connected while there are free descriptors.
    let clients: Vec<ureq::Agent> = (0..4).map(|_| http()).collect();
    for client in &clients {
        let mut answer = client.get(instance.url("/healthz")).call().unwrap();
        assert_eq!(answer.body_mut().read_to_string().unwrap(), "healthy\n");
    }
    allow_no_more_files(&server);
    let waiting = send_request(&instance, "/healthz");
    // Slow reads, so that each request gets its own connection.
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    thread::scope(|scope| {
        for (n, client) in (1..).zip(&clients) {
            let url = instance.url(&format!("/api/rolls?after={}", n * 1_000));
            let server = &server;
            scope.spawn(move || {
                let mut answer = client.get(url).call().unwrap();
                assert_eq!(answer.status(), 200, "{:#?}", server.log());
                // Read to the end, so that the HTTP connection stays open.
                answer.body_mut().read_to_string().unwrap();
            });
        }
    });
    // Control: there was no free descriptor for another client.
    waiting.set_nonblocking(true).unwrap();
    let error =
        (&waiting).read(&mut [0]).expect_err("no response, because the connection is not accepted");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// Limits a server to the file descriptors that it already uses.
fn allow_no_more_files(server: &Server) {
    let is_used = |n: &u64| fs::exists(format!("/proc/{}/fd/{n}", server.pid())).unwrap();
    let current = (0..).find(|n| !is_used(n));
    let pid = Pid::from_raw(server.pid().try_into().unwrap());
    let limit = getrlimit(Resource::Nofile);
    prlimit(pid, Resource::Nofile, Rlimit { current, ..limit }).unwrap();
}

#[test]
fn probes_of_an_unresponsive_disk_are_answered_with_503_and_use_one_thread() {
    let (instance, shim) = (Instance::new("every = '1h'"), Shim::new());
    let server = instance.start_with(&mut shim.command(&instance));
    let n_threads = || fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().count();
    assert_eq!(get(&instance, "/readyz"), (200, "ready\n".into()), "control");
    let before = n_threads();

    shim.inject(Fault::for_ever(Calls::Stat, Failure::Slow));
    let _probes: Vec<TcpStream> =
        (0..N_PROBES).map(|_| send_request(&instance, "/readyz")).collect();
    let (status, reasons) = get(&instance, "/readyz");
    assert_eq!(status, 503, "{reasons}");
    assert!(reasons.contains("the database's disk does not answer"), "{reasons}");
    let grown = n_threads() - before;
    assert!(grown < N_PROBES / 2, "{grown} more threads for {N_PROBES} probes");

    shim.clear_fault();
    wait_for("the disk to answer", || (get(&instance, "/readyz").0 == 200).then_some(()));
}
