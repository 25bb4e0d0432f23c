//! The store's few readers, on a disk that is slow: who gets one, and for how long.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use rusqlite::Connection;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::common::events::{Ask, Stream};
use crate::common::{House, Server, http, wait_for};
use crate::shim::{Calls, Failure, Fault, Shim};

/// More than the server has in memory.
const N_ROLLS: i64 = 20_000;
/// Looks at 5,000 rolls for a face that never came up.
const SEARCH: &str = "/rolls?die=1D12&result=7";
const N_SEARCHES: usize = 200;
const N_PROBES: usize = 40;

fn get(house: &House, path: &str) -> (u16, String) {
    let mut answer = http().get(house.url(path)).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// Asks, and does not wait for the answer.
fn ask(house: &House, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", house.port())).unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    socket
}

#[test]
fn pages_and_resumes_find_a_reader_however_many_search_at_once() {
    let (house, shim) = (House::new("every = '1h'"), Shim::new());
    house.fill(N_ROLLS, 1);
    let server = house.start_with(&mut shim.command(&house));
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    let _searches: Vec<TcpStream> = (0..N_SEARCHES).map(|_| ask(&house, SEARCH)).collect();
    // As many as there are readers, were all of them to be had.
    wait_for("searches to read", || (shim.n_injected() >= 8).then_some(()));
    for path in ["/", "/rolls", "/rolls/19000", "/api/rolls?limit=10"] {
        let (status, page) = get(&house, path);
        assert_eq!(status, 200, "{path}: {page}; {:#?}", server.log());
    }
    let mut stream = Stream::open(&house.url("/stream/?after=19990"), Ask::default()).unwrap();
    assert_eq!(stream.frames(2)[1].sync().unwrap()["mode"], "resumed");
}

#[test]
fn a_read_that_takes_too_long_is_ended_and_told() {
    let (house, shim) = (House::new("every = '1h'"), Shim::new());
    house.fill(N_ROLLS, 1);
    let _server = house.start_with(&mut shim.command(&house));
    let control = get(&house, SEARCH);
    assert_eq!(control.0, 200, "{}", control.1);
    // Other rolls, which no reader has in memory: a hundred pages or so, of 0.3 s each.
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    let (status, page) = get(&house, &format!("{SEARCH}&before=10000"));
    assert_eq!(status, 503, "{page}");
    assert!(page.contains("try again soon"), "{page}");
    // The connection that was interrupted answers as ever.
    shim.clear_fault();
    for _ in 0..8 {
        assert_eq!(get(&house, &format!("{SEARCH}&before=10000")).0, 200);
    }
}

#[test]
fn a_download_whose_batch_takes_too_long_goes_on_and_is_whole() {
    let (house, shim) = (House::new("every = '1h'"), Shim::new());
    house.fill(N_ROLLS, 1);
    // So large that a batch is on forty pages.
    let large: Vec<String> = (2..=14).map(|n| format!("'{n}D1000', 1000")).collect();
    let large = large.join(", ");
    let sql = format!("update rolls set dice = json_object({large}) where id < 1000");
    Connection::open(house.database()).unwrap().execute(&sql, []).unwrap();
    let _server = house.start_with(&mut shim.command(&house));
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    thread::scope(|scope| {
        let file = scope.spawn(|| get(&house, "/api/rolls.ndjson?before=1000"));
        // Of 0.3 s each, and so longer than a read may take.
        wait_for("a batch to be ended", || (shim.n_injected() >= 25).then_some(()));
        shim.clear_fault();
        assert_eq!(file.join().unwrap(), get(&house, "/api/rolls.ndjson?before=1000"));
    });
}

#[test]
fn out_of_file_descriptors_every_reader_has_the_history_open() {
    let (house, shim) = (House::new("every = '1h'"), Shim::new());
    house.fill(N_ROLLS, 1);
    let server = house.start_with(&mut shim.command(&house));
    // As many clients as there are readers, connected while there is a descriptor for each.
    let clients: Vec<ureq::Agent> = (0..4).map(|_| http()).collect();
    for client in &clients {
        let mut answer = client.get(house.url("/healthz")).call().unwrap();
        assert_eq!(answer.body_mut().read_to_string().unwrap(), "healthy\n");
    }
    allow_no_more_files(&server);
    let unheard = ask(&house, "/healthz");
    // So that each gets a reader of its own.
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    thread::scope(|scope| {
        for (n, client) in (1..).zip(&clients) {
            let url = house.url(&format!("/api/rolls?after={}", n * 1_000));
            let server = &server;
            scope.spawn(move || {
                let mut answer = client.get(url).call().unwrap();
                assert_eq!(answer.status(), 200, "{:#?}", server.log());
                // To its end, so that the connection stays.
                answer.body_mut().read_to_string().unwrap();
            });
        }
    });
    // Control: there was indeed no descriptor for one more.
    unheard.set_nonblocking(true).unwrap();
    let error = (&unheard).read(&mut [0]).expect_err("it is not even accepted");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// Takes from a server all descriptors that it does not use.
fn allow_no_more_files(server: &Server) {
    let is_used = |n: &u64| fs::exists(format!("/proc/{}/fd/{n}", server.pid())).unwrap();
    let current = (0..).find(|n| !is_used(n));
    let pid = Pid::from_raw(server.pid().try_into().unwrap());
    let limit = getrlimit(Resource::Nofile);
    prlimit(pid, Resource::Nofile, Rlimit { current, ..limit }).unwrap();
}

#[test]
fn probes_of_a_disk_that_does_not_answer_are_told_so_and_hold_one_thread() {
    let (house, shim) = (House::new("every = '1h'"), Shim::new());
    let server = house.start_with(&mut shim.command(&house));
    let n_threads = || fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().count();
    assert_eq!(get(&house, "/readyz"), (200, "ready\n".into()), "control");
    let before = n_threads();

    shim.inject(Fault::for_ever(Calls::Look, Failure::Slow));
    let _probes: Vec<TcpStream> = (0..N_PROBES).map(|_| ask(&house, "/readyz")).collect();
    let (status, reasons) = get(&house, "/readyz");
    assert_eq!(status, 503, "{reasons}");
    assert!(reasons.contains("the database's disk does not answer"), "{reasons}");
    let grown = n_threads() - before;
    assert!(grown < N_PROBES / 2, "{grown} more threads for {N_PROBES} probes");

    shim.clear_fault();
    wait_for("the disk to answer", || (get(&house, "/readyz").0 == 200).then_some(()));
}
