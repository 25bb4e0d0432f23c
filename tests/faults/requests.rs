//! Mutated requests on raw sockets. The server answers or refuses each of them, keeps storing rolls,
//! and keeps no connection or memory of them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::common::events::{Ask, Stream};
use crate::common::hand_server::HandServer;
use crate::common::{Instance, Server, http, wait_for};
use crate::report::{Recovered, Row, times};

/// After this time without a response, the server counts as waiting for the rest of the request. A
/// later response shows in the server's log.
const SILENCE: Duration = Duration::from_millis(30);
const N_CLIENTS: usize = 4;
/// The maximum growth of the server's peak memory: the buffers of a few connections, each with at
/// most 400 KB of request head, and fragmentation.
const MAX_GROWTH_KB: i64 = 8_000;

/// The valid requests that are mutated.
const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n",
    "GET /rolls?before=60&die=1D20&result=17 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /rolls?at=2026-11-23T00%3A01%3A00%2B01%3A00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /rolls/41 HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"x\"\r\n\r\n",
    "GET /stats HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n",
    "GET /static/css/base.css HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: W/\"x\", *\r\n\r\n",
    "GET /stream/?after=41-1763861860123 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    "GET /stream?since=10m HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 41-1763861860123\r\n\r\n",
    "POST /stream/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\n_method=get",
    "HEAD /stream/ HTTP/1.1\r\nHost: localhost\r\nX-Real-IP: 2001:db8::1\r\n\r\n",
    "OPTIONS /stream/ HTTP/1.1\r\nHost: localhost\r\nOrigin: https://elsewhere.example\r\nAccess-Control-Request-Method: GET\r\n\r\n",
    "GET /api/rolls?after=41-1763861860123&limit=7 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /api/rolls?since=2026-11-23&before=60 HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
    "GET /api/rolls/41 HTTP/1.1\r\nHost: localhost\r\nAccept: */*;q=0.1\r\n\r\n",
    "GET /api/rolls.csv?after=100 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "DELETE /api/rolls/41 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /readyz HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
];

/// Bytes to insert.
const PIECES: &[&[u8]] = &[
    b"%",
    b"%00",
    b"%ff",
    b"%2e%2e%2f",
    b"%25",
    b"..",
    b"//",
    b"/",
    b"?",
    b"&",
    b"=",
    b"#",
    b"*",
    b"\0",
    b"\r\n",
    b"\r",
    b"\n",
    b"\n\n",
    b" ",
    b"\t",
    b":",
    b",",
    b"\xc3\xa4",
    b"\xff\xfe",
    b"\x1b[2J",
    b"{{7*7}}",
    b"' or 1=1--",
    b"<script>",
    b"-1",
    b"0",
    b"99999999999999999999",
    b"9223372036854775807",
    b"1e9",
    b"http://elsewhere.example/",
    b"[::1",
    b"\xef\xbb\xbf",
];

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PURGE", "get",
    "", "G\u{c4}T", "PRI",
];

const VERSIONS: &[&str] =
    &["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/9.9", "HTTP/1.1 ", "HTTP/", "", "ICY"];

const HEADERS: &[&str] = &[
    "Content-Length: 5",
    "Content-Length: 0",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Content-Length: 3, 4",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "Expect: 100-continue",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    "Upgrade: websocket\r\nConnection: Upgrade",
    "Connection: close",
    "Host: a\r\nHost: b",
    "Host: \u{e4}",
    "Last-Event-ID: 0",
    "Last-Event-ID: \u{e4}\u{1f3b2}",
    "Accept: text/event-stream",
    "Accept: ,;=q/*",
    "Accept: application/json;q=nan",
    "Range: bytes=5-1",
    "Cookie: =; a=b; \u{e4}",
    "If-None-Match: *",
    "X-Real-IP: nonsense",
    "X-Real-IP: 192.0.2.1",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: multipart/form-data",
    "Content-Type: /",
    ": empty",
    "No-Colon",
    " folded: yes",
    "Na me: x",
];

const BODIES: &[&[u8]] = &[
    b"hello",
    b"_method=delete",
    b"_method=\xff",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhel",
    b"FFFFFFFFFFFFFFFFF\r\n",
    b"-1\r\n",
    b"0\r\nTrailer: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
];

/// The mutated request of this number, which is always the same.
fn mutant(number: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(number);
    let mut request = pick(&mut rng, REQUESTS).as_bytes().to_vec();
    for _ in 0..pick(&mut rng, &[1, 1, 1, 2, 3]) {
        mutate(&mut request, &mut rng);
    }
    request
}

fn mutate(request: &mut Vec<u8>, rng: &mut StdRng) {
    let at = rng.random_range(0..=request.len());
    let line_end = request.windows(2).position(|pair| pair == b"\r\n").unwrap_or(0);
    match rng.random_range(0..14) {
        0 if at < request.len() => request[at] = rng.random(),
        1 => request.truncate(at),
        2 => drop(request.drain(at..(at + rng.random_range(0..20)).min(request.len()))),
        3 => insert(request, at, pick(rng, PIECES)),
        // More often in the target than elsewhere, so that the request often stays valid.
        4 => insert(request, at.min(line_end), pick(rng, PIECES)),
        5 => {
            let escape = |byte: &u8| format!("%{byte:02X}");
            let piece: String = pick(rng, PIECES).iter().map(escape).collect();
            insert(request, at.clamp(5.min(line_end), line_end), piece.as_bytes());
        }
        6 => {
            let target = request.iter().position(|byte| *byte == b' ').unwrap_or(0);
            request.splice(..target, pick(rng, METHODS).bytes());
        }
        7 => {
            let start = line_end.saturating_sub("HTTP/1.1".len());
            request.splice(start..line_end, pick(rng, VERSIONS).bytes());
        }
        8 | 9 => insert(request, line_end, format!("\r\n{}", pick(rng, HEADERS)).as_bytes()),
        10 => request.extend_from_slice(pick(rng, BODIES)),
        11 => {
            let copy = request.clone();
            request.extend(copy);
        }
        // Around the common limits of servers, and beyond.
        12 => {
            let n_bytes = pick(rng, &[1_000, 8_200, 65_600, 300_000]);
            let filling = pick(rng, b"a/%&\r: ");
            insert(request, at.min(line_end + 2), &vec![filling; n_bytes]);
        }
        13 => {
            let headers = "X: y\r\n".repeat(pick(rng, &[50, 99, 101, 1_000]));
            insert(request, (line_end + 2).min(request.len()), headers.as_bytes());
        }
        _ => {}
    }
}

fn pick<T: Copy>(rng: &mut StdRng, choices: &[T]) -> T {
    *choices.choose(rng).unwrap()
}

fn insert(request: &mut Vec<u8>, at: usize, piece: &[u8]) {
    request.splice(at..at, piece.iter().copied());
}

/// The status of the response, or `None` if none comes within [`SILENCE`].
fn send(port: u16, request: &[u8]) -> Option<u16> {
    let mut socket = wait_for("a connection", || TcpStream::connect(("127.0.0.1", port)).ok());
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.set_write_timeout(Some(SILENCE)).unwrap();
    // The server may close the connection before the end of the request.
    let _ = socket.write_all(request);
    let (mut answer, mut piece) = (Vec::new(), [0; 4_096]);
    while !is_whole(&answer) && answer.len() < 100_000 {
        match socket.read(&mut piece) {
            Ok(n @ 1..) => answer.extend_from_slice(&piece[..n]),
            _ => break,
        }
    }
    let line = answer.get(..12)?;
    std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

/// Whether a response is complete, or its body does not matter.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let body = &answer[head + 4..];
    let head = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let is_chunked = head.contains("transfer-encoding: chunked");
    head.contains("event-stream")
        || length.is_some_and(|length: usize| body.len() >= length)
        || (is_chunked && body.ends_with(b"0\r\n\r\n"))
        || (length.is_none() && !is_chunked)
}

/// Sends the mutants of these numbers. Returns the number and status of each response.
fn assault(port: u16, numbers: std::ops::Range<u64>) -> Vec<(u64, u16)> {
    let (next, seen) = (AtomicUsize::new(numbers.start as usize), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..N_CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if number >= numbers.end {
                        return;
                    }
                    if let Some(status) = send(port, &mutant(number)) {
                        seen.lock().unwrap().push((number, status));
                    }
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

/// Whether a status is a server error: 5xx, except a 503 of `/readyz`, which is correct while a
/// busy machine delays the rolls. These few clients reach no limit, so any other 503 is an error.
fn is_server_error(status: u16, request: &str) -> bool {
    status >= 500 && !(status == 503 && request.contains("/readyz"))
}

/// The log lines with a panic or a 5xx status, including responses after [`SILENCE`], except those of
/// [`stalled`] requests.
fn faults(log: &[String]) -> Vec<&String> {
    let is_fault = |line: &&String| {
        let status = serde_json::from_str::<Value>(line).ok().and_then(|l| l["status"].as_u64());
        let is_error = |status: u64| is_server_error(status as u16, line);
        line.contains("panicked") || status.is_some_and(is_error) && stalled(line).is_none()
    };
    log.iter().filter(is_fault).collect()
}

/// The address of a logged request that met the query timeout of 5 s. The machine may have stalled:
/// then the same request succeeds later.
fn stalled(line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let took_ms = entry["duration_ms"].as_f64()?;
    let is_stalled = entry["method"] == "GET" && entry["status"] == 503 && took_ms > 5_000.0;
    is_stalled.then(|| entry["uri"].as_str().unwrap_or_default().to_string())
}

/// A figure of `/proc/<pid>/status` in kB.
fn kilobytes(server: &Server, name: &str) -> i64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The number of a server's sockets, including the listening one.
fn n_sockets(server: &Server) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Follows the stream up to the roll `until`. Returns the ids in order of arrival.
fn follow(instance: &Instance, until: Arc<AtomicI64>) -> thread::JoinHandle<Vec<i64>> {
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    thread::spawn(move || {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id| *id < until.load(Ordering::SeqCst)) {
            let id = stream.rolls(1).remove(0).0;
            ids.push(id.split_once('-').unwrap().0.parse().unwrap());
        }
        ids
    })
}

fn newest(instance: &Instance) -> i64 {
    let newest = "select coalesce(max(id), 0) from rolls";
    instance.sqlite().query_row(newest, [], |row| row.get(0)).unwrap()
}

#[test]
fn mutated_requests_are_answered_or_refused_and_leave_nothing_behind() {
    let n_mutants = times(5_000, 100_000) as u64;
    let instance = Instance::new("every = '20ms'");
    instance.fill(200, 1);
    let mut server = instance.start();
    let until = Arc::new(AtomicI64::new(i64::MAX));
    let follower = follow(&instance, until.clone());

    let n_before = n_sockets(&server);

    // The first fifth fills templates, pools and caches, which do not count as growth.
    let mut answers = assault(instance.port(), 0..n_mutants / 5);
    let before_kb = kilobytes(&server, "VmHWM");
    let started = Instant::now();
    answers.extend(assault(instance.port(), n_mutants / 5..n_mutants));
    let (took, ended) = (started.elapsed(), Instant::now());

    let last = newest(&instance);
    wait_for("the next roll", || (newest(&instance) > last).then_some(()));
    let recovered = ended.elapsed();
    let page = http().get(instance.url("/rolls/1")).call().unwrap();
    assert_eq!(page.status(), 200, "a valid request afterwards");
    drop(page);
    let grown_kb = kilobytes(&server, "VmHWM") - before_kb;
    // All clients have closed their connections.
    wait_for("no connection to be left", || (n_sockets(&server) <= n_before).then_some(()));

    let head = newest(&instance);
    until.store(head, Ordering::SeqCst);
    let seen = follower.join().unwrap();
    for uri in server.log().iter().filter_map(|line| stalled(line)) {
        let again = http().get(instance.url(&uri)).call().unwrap();
        assert_ne!(again.status(), 503, "{uri} again");
    }
    server.stop();
    let log = server.log();
    let n_seen = |class: u16| answers.iter().filter(|(_, status)| status / 100 == class).count();
    println!(
        "{n_mutants} mutants, the last four fifths in {:.0} s: {} answered at once, 2xx {}, 3xx {}, 4xx {}, 5xx {}; {} access lines; the peak of memory grew by {grown_kb} kB",
        took.as_secs_f64(),
        answers.len(),
        n_seen(2),
        n_seen(3),
        n_seen(4),
        n_seen(5),
        log.iter().filter(|line| line.contains("\"status\":")).count(),
    );
    let server_errors: Vec<String> = answers
        .iter()
        .map(|(n, status)| (status, String::from_utf8_lossy(&mutant(*n)).into_owned()))
        .filter(|(status, request)| is_server_error(**status, request))
        .map(|(status, request)| format!("{status}: {request:?}"))
        .collect();
    assert!(server_errors.is_empty(), "{server_errors:#?}");
    assert!(faults(&log).is_empty(), "{:#?}", faults(&log));
    assert!(
        n_seen(2) > 0 && n_seen(4) > 0,
        "expected some mutants to be answered with 2xx and some with 4xx"
    );
    assert!(grown_kb < MAX_GROWTH_KB, "the peak of memory grew by {grown_kb} kB");
    let n_repeated = seen.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    let n_lost = (1..=*seen.last().unwrap()).filter(|id| seen.binary_search(id).is_err()).count();
    assert_eq!((n_lost, n_repeated), (0, 0), "a healthy client at the same time: {seen:?}");
    Row {
        fault: "a mutated HTTP request",
        n_injected: n_mutants as usize,
        n_lost,
        n_repeated,
        recovered: Recovered::In(recovered),
        control: planted_fault(),
        test: "requests::mutated_requests",
    }
    .write();
}

/// Control: a server that fails on some of the mutants is detected by its responses and its log.
fn planted_fault() -> String {
    let log = Arc::new(Mutex::new(Vec::new()));
    let written = log.clone();
    let server = HandServer::raw(move |_, mut socket| {
        socket.set_read_timeout(Some(SILENCE))?;
        let mut request = [0; 16_384];
        let n_bytes = socket.read(&mut request).unwrap_or(0);
        let is_planted = request[..n_bytes].windows(3).any(|bytes| bytes == b"%00");
        let status = if is_planted { 503 } else { 200 };
        written.lock().unwrap().push(format!("{{\"status\":{status}}}"));
        write!(socket, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")
    });
    let n_mutants = 1_000;
    let answers = assault(server.port(), 0..n_mutants);
    let n_errors = answers.iter().filter(|(_, status)| is_server_error(*status, "")).count();
    let log = log.lock().unwrap();
    assert!(n_errors > 0, "none of {n_mutants} mutants triggered the planted fault");
    assert!(faults(&log).len() >= n_errors, "the log of the planted fault was not detected");
    assert_eq!(faults(&["thread 'x' panicked at src/x.rs:1".into()]).len(), 1);
    format!("a server that answers 503 to `%00`: detected {n_errors} times")
}
