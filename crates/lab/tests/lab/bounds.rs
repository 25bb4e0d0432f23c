//! A public lab: what hostile clients can use up, and what they can see of others.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab::server::{Audience, Lab};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::start;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a request, and returns the response until the server ends it or `is_enough`.
fn exchange(address: SocketAddr, request: &str, is_enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let _ = stream.write_all(request.as_bytes());
    let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
        }
        if is_enough(&String::from_utf8_lossy(&bytes)) {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn get(lab: &Arc<Lab>, path: &str) -> String {
    let (address, request) = (lab.address(), format!("GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n"));
    // A stream does not end soon. Everything else does.
    let is_stream = |text: &str| text.contains("text/event-stream") && text.contains("\r\n\r\n");
    tokio::task::spawn_blocking(move || exchange(address, &request, is_stream)).await.unwrap()
}

async fn post(lab: &Arc<Lab>, path: &str, body: &str) -> String {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: lab\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = lab.address();
    tokio::task::spawn_blocking(move || exchange(address, &request, |_| false)).await.unwrap()
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or("nothing")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ninth_run_from_an_address_has_to_wait_and_the_old_ones_go_on() {
    let lab = start(Audience::Public);
    for n in 0..8 {
        assert_eq!(status(&get(&lab, &format!("/lab/p-basic/mine-{n}")).await), "200");
    }
    let refused = get(&lab, "/lab/p-basic/mine-8").await;
    assert!(status(&refused) == "503" && refused.contains("too many runs"), "{refused}");
    assert_eq!(status(&get(&lab, "/lab/p-basic/mine-0").await), "200");
    // Control: a lab for this machine takes more.
    let local = start(Audience::Local);
    for n in 0..20 {
        assert_eq!(status(&get(&local, &format!("/lab/p-basic/mine-{n}")).await), "200");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_32_from_an_address_are_closed_until_others_end() {
    let lab = start(Audience::Public);
    let connect = |address: &str| {
        let stream = TcpStream::connect((address, lab.address().port())).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    };
    let idle: Vec<TcpStream> = (0..32).map(|_| connect("127.0.0.1")).collect();
    let mut refused = connect("127.0.0.1");
    let read = tokio::task::spawn_blocking(move || refused.read(&mut [0; 1])).await.unwrap();
    assert!(!read.is_ok_and(|n| n > 0), "it is closed at once");
    drop(idle);
    // The server notices that soon.
    let begun = Instant::now();
    while status(&get(&lab, "/lab/p-basic/after").await) != "200" {
        assert!(begun.elapsed() < TIMEOUT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_storms_is_stopped_after_400_requests() {
    let lab = start(Audience::Public);
    for _ in 0..400 {
        assert_eq!(status(&get(&lab, "/lab/r-storm-empty/storm").await), "200");
    }
    for _ in 0..2 {
        assert_eq!(status(&get(&lab, "/lab/r-storm-empty/storm").await), "429");
    }
    // The verdict is that of the moment at which the run was over.
    let verdict = get(&lab, "/lab/r-storm-empty/storm/verdict").await;
    assert!(verdict.contains("\"fails\"") && verdict.contains("13 requests in"), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_after_the_end_changes_no_verdict() {
    let lab = start(Audience::Public);
    for n in 0..12 {
        get(&lab, "/lab/r-storm-empty/calm").await;
        assert!(n > 0 || get(&lab, "/lab/r-storm-empty/calm/verdict").await.contains("running"));
    }
    let begun = Instant::now();
    while get(&lab, "/lab/r-storm-empty/calm/verdict").await.contains("running") {
        assert!(begun.elapsed() < TIMEOUT);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..5 {
        get(&lab, "/lab/r-storm-empty/calm").await;
    }
    let verdict = get(&lab, "/lab/r-storm-empty/calm/verdict").await;
    assert!(verdict.contains("\"verdict\":\"ok\""), "{verdict}");
}

/// Ends a run of the first case: its event, and the end of the case.
async fn finish(lab: &Arc<Lab>, run: &str) {
    get(lab, &format!("/lab/p-basic/{run}")).await;
    let all = "{\"data\":\"hello\"}\n{\"data\":\"end of case\"}\n";
    let verdict = post(lab, &format!("/lab/p-basic/{run}/heard"), all).await;
    assert!(verdict.contains("\"verdict\":\"ok\""), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_over_makes_room_for_another_one() {
    let lab = start(Audience::Public);
    for n in 0..30 {
        finish(&lab, &format!("done-{n}")).await;
    }
    assert_eq!(status(&get(&lab, "/lab/p-basic/done-29/verdict").await), "200");
    assert_eq!(status(&get(&lab, "/lab/p-basic/done-0/verdict").await), "404");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_are_remembered_and_beyond_the_bound_nothing_is_judged() {
    let lab = start(Audience::Public);
    let events: String = (0..1_000).map(|n| format!("{{\"data\":\"{n}\"}}\n")).collect();
    get(&lab, "/lab/p-many/many").await;
    let all = format!("{events}{{\"data\":\"end of case\"}}\n");
    let verdict = post(&lab, "/lab/p-many/many/heard", &all).await;
    assert!(verdict.contains("\"verdict\":\"ok\""), "{verdict}");

    get(&lab, "/lab/r-storm-empty/talker").await;
    let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat(30_000));
    let mut verdict = String::new();
    for _ in 0..3 {
        verdict = post(&lab, "/lab/r-storm-empty/talker/heard", &line).await;
    }
    assert!(verdict.contains("\"skipped\"") && verdict.contains("remembers"), "{verdict}");
}

/// Sends a request from this address.
async fn get_from(from: &str, lab: &Arc<Lab>, path: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(lab.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = [0; 4_096];
    let n = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_sees_and_uses_only_its_own_runs() {
    let lab = start(Audience::Public);
    finish(&lab, "same").await;
    let other = get_from("127.0.0.2", &lab, "/lab/p-basic/same/verdict").await;
    assert_eq!(status(&other), "404");
    assert_eq!(status(&get_from("127.0.0.2", &lab, "/lab/p-basic/same").await), "409");
    // Control: its own run, and the run of the first address.
    assert_eq!(status(&get_from("127.0.0.2", &lab, "/lab/p-basic/other").await), "200");
    assert_eq!(status(&get(&lab, "/lab/p-basic/same/verdict").await), "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_one_run_is_visible_in_another() {
    let lab = start(Audience::Public);
    for run in ["first", "second"] {
        get(&lab, &format!("/lab/p-basic/{run}")).await;
    }
    let secret = "{\"data\":\"only for the first\"}";
    let own = post(&lab, "/lab/p-basic/first/heard", secret).await;
    assert!(own.contains("only for the first"), "{own}");
    for path in
        ["/lab/p-basic/second/verdict", "/lab/", "/lab/cases.json", "/lab/p-cr/first/verdict"]
    {
        let other = post(&lab, path, "").await;
        assert!(!other.contains("only for the first"), "{path}: {other}");
        let other = get(&lab, path).await;
        assert!(!other.contains("only for the first"), "{path}: {other}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_reports_is_bounded() {
    let lab = start(Audience::Public);
    get(&lab, "/lab/p-basic/talker").await;
    let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat(1_000));
    let many = line.repeat(60);
    let mut length = 0;
    for _ in 0..20 {
        let verdict = post(&lab, "/lab/p-basic/talker/heard", &many).await;
        assert_eq!(status(&verdict), "200");
        length = verdict.len();
    }
    assert!(length < 80_000, "1.2 MB were reported, and the verdict has {length} bytes");
    let too_long = line.repeat(70);
    assert_eq!(status(&post(&lab, "/lab/p-basic/talker/heard", &too_long).await), "413");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_get_an_answer_or_a_close_and_the_lab_goes_on() {
    let lab = start(Audience::Public);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9_000));
    for (request, expected) in [
        ("GET /lab/p-basic/abc HTTP/1.1\r\n\r\n", "400"),
        ("GET /lab/p-basic/ABCD HTTP/1.1\r\n\r\n", "400"),
        ("GET /lab/p-basic/a%20bcd HTTP/1.1\r\n\r\n", "400"),
        ("GET /lab/p-none/abcd HTTP/1.1\r\n\r\n", "404"),
        ("GET /lab/../etc/passwd HTTP/1.1\r\n\r\n", "404"),
        ("GET / HTTP/1.1\r\n\r\n", "302"),
        ("POST /lab/r-away/abcd/port HTTP/1.1\r\n\r\n", "403"),
        ("DELETE /lab/p-cr/none/heard HTTP/1.1\r\n\r\n", "404"),
        ("\r\n\r\n", "400"),
        ("NONSENSE\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", "413"),
        (&*long, "431"),
    ] {
        let address = lab.address();
        let request = request.to_owned();
        let (sent, answer) = tokio::task::spawn_blocking(move || {
            let answer = exchange(address, &request, |_| false);
            (request, answer)
        })
        .await
        .unwrap();
        assert_eq!(status(&answer), expected, "{}", &sent[..sent.len().min(80)]);
    }
    assert_eq!(status(&get(&lab, "/lab/p-basic/still").await), "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_under_many_short_runs_and_stalled_clients() {
    let lab = start(Audience::Public);
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
    };
    let address = lab.address();
    // Clients that send half a request, and clients that never read a stream of 8 MiB.
    let stalled: Vec<TcpStream> = (0..24)
        .map(|n| {
            let mut stream = TcpStream::connect(address).unwrap();
            let request: &[u8] = if n % 2 == 0 {
                b"GET /lab/m-8m/stalled HTTP/1.1\r\n\r\n"
            } else {
                b"GET /lab/p-basic/half HTT"
            };
            stream.write_all(request).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    let mut before = 0;
    for n in 0..3_000 {
        // A run takes 400 requests.
        let run = format!("/lab/p-basic/short-{}", n / 300);
        let answer = get(&lab, &run).await;
        assert!(matches!(status(&answer), "200" | "503"), "{n}: {answer}");
        if n == 1_000 {
            before = memory();
        }
        assert!(begun.elapsed() < 10 * TIMEOUT, "{n} requests");
    }
    let after = memory();
    drop(stalled);
    assert!(after < before + 20_000, "{before} KiB, {after} KiB after 2,000 more requests");
}
