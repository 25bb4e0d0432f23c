//! Event streams that are not rollcast's.

use std::io::{self, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use crate::common::hand_server::{HandServer, Request};
use crate::common::{ROLLCAST, TIMEOUT};
use crate::doctor;
use crate::nginx::Nginx;

/// What a stream sends.
#[derive(Clone, Copy)]
struct Behaviour {
    /// The `Date` header, if there is one.
    date: Option<&'static str>,
    /// The time between writes.
    every: Duration,
    /// How many events there are in each write.
    n_together: usize,
    /// Whether events have ids and the stream resumes after a `Last-Event-ID`.
    has_ids: bool,
}

const PLAIN: Behaviour =
    Behaviour { date: None, every: Duration::from_millis(50), n_together: 1, has_ids: false };

/// A server whose every path is such a stream.
fn streaming(behaviour: Behaviour) -> HandServer {
    HandServer::answering(move |_, request, client| stream(request, client, behaviour))
}

fn stream(request: &Request, mut client: TcpStream, behaviour: Behaviour) -> io::Result<()> {
    let date = behaviour.date.map(|date| format!("Date: {date}\r\n")).unwrap_or_default();
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{date}\
         Cache-Control: no-cache\r\nConnection: close\r\n\r\n"
    )?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let last_event_id = request.header("last-event-id").filter(|_| behaviour.has_ids);
    let last = last_event_id.and_then(|id| id.strip_prefix('e')?.parse().ok());
    let mut n: u64 = last.unwrap_or(0);
    loop {
        let mut events = String::new();
        for _ in 0..behaviour.n_together {
            n += 1;
            let id = if behaviour.has_ids { format!("id: e{n}\n") } else { String::new() };
            events += &format!("{id}event: tick\ndata: something {n}\n\n");
        }
        client.write_all(events.as_bytes())?;
        park_timeout(behaviour.every);
    }
}

/// The URL of the stream on a server.
fn events(server: &HandServer) -> String {
    server.url("/events")
}

#[test]
fn a_stream_without_ids_leaves_checks_unknown_with_a_reason() {
    let foreign = streaming(PLAIN);
    let report = doctor(&events(&foreign), &["--for", "2"]);
    report.assert_no_fault();
    assert_eq!(report.json["rollcast"], false);
    assert_eq!(report.finding("buffering").0, "fine");
    assert_eq!(report.finding("idle").0, "fine");
    assert_eq!(report.all("unknown"), ["resume", "address", "clock", "roller"]);
    for check in report.all("unknown") {
        let (_, why, change) = report.finding(check);
        assert!(!why.is_empty() && change.is_empty(), "{check}: expected a reason, no order");
    }
}

#[test]
fn a_stream_with_ids_of_its_own_shows_whether_it_resumes() {
    let resuming = streaming(Behaviour { has_ids: true, ..PLAIN });
    let report = doctor(&events(&resuming), &["--for", "1"]);
    report.assert_no_fault();
    assert_eq!(report.finding("resume").0, "fine", "{:#}", report.json);

    // Behind a proxy that drops the header: the server could ignore it as well.
    let nginx = Nginx::start(
        resuming.port(),
        &[
            ("location /stream", "location /events"),
            ("gzip off;", "gzip off; proxy_pass_request_headers off;"),
        ],
    );
    let report = doctor(&nginx.url("/events"), &["--for", "1"]);
    report.assert_no_fault();
    let (verdict, why, _) = report.finding("resume");
    assert_eq!(verdict, "unknown", "{:#}", report.json);
    assert!(why.contains("Last-Event-ID is lost on the way"), "{why}");
}

#[test]
fn an_option_names_the_stream_if_the_page_does_not() {
    let foreign = streaming(PLAIN);
    let nginx =
        Nginx::start(foreign.port(), &[("proxy_pass http://app;\n        }", "return 204; }")]);
    let page = nginx.url("/");
    // Without the option it requests the path of rollcast's stream.
    let report = doctor(&page, &["--for", "1"]);
    assert_eq!(report.json["stream"], nginx.url("/stream/"));
    assert_eq!(report.finding("answer").0, "fine", "{:#}", report.json);
    // The other server is another origin, which does not let the page read its stream.
    let report = doctor(&page, &["--for", "1", "--stream", &events(&foreign)]);
    assert_eq!(report.json["stream"], events(&foreign));
    assert_eq!(report.finding("redirect").0, "fault", "{:#}", report.json);
}

#[test]
fn events_that_arrive_in_bursts_are_a_note_not_a_fault() {
    let bursts =
        streaming(Behaviour { every: Duration::from_millis(500), n_together: 10, ..PLAIN });
    let report = doctor(&events(&bursts), &["--for", "2"]);
    report.assert_no_fault();
    let (verdict, _, change) = report.finding("buffering");
    assert_eq!(verdict, "note");
    assert!(change.contains("`proxy_buffering off;`"), "{change}");
}

#[test]
fn a_wrong_clock_shows_in_the_date_header() {
    let late = Some("Wed, 25 Nov 2020 00:00:00 GMT");
    let foreign = streaming(Behaviour { date: late, ..PLAIN });
    let report = doctor(&events(&foreign), &["--for", "1"]);
    report.assert_faults(&["clock"], "chronyd");
}

#[test]
fn an_idle_stream_that_is_cut_off_is_a_fault_on_any_server() {
    let foreign = streaming(Behaviour { every: Duration::from_secs(3600), ..PLAIN });
    let nginx = Nginx::start(
        foreign.port(),
        &[
            ("location /stream", "location /events"),
            ("proxy_read_timeout 1h;", "proxy_read_timeout 2s;"),
        ],
    );
    let report = doctor(&nginx.url("/events"), &["--for", "10"]);
    report.assert_faults(&["idle"], "`proxy_read_timeout 1h;`");
}

/// Runs the doctor, which must end in time, and returns its exit code.
fn exit_code(arguments: &[&str]) -> Option<i32> {
    let mut doctor =
        Command::new(ROLLCAST).arg("doctor").args(arguments).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    loop {
        if let Some(status) = doctor.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > TIMEOUT {
            doctor.kill().unwrap();
            doctor.wait().unwrap();
            panic!("{arguments:?}: no end in {:?}", start.elapsed());
        }
        park_timeout(Duration::from_millis(20));
    }
}

/// Sends a byte every 100 ms, so that no single read times out.
fn drip(mut client: TcpStream, start: &[u8]) -> io::Result<()> {
    client.write_all(start)?;
    loop {
        client.write_all(b"x")?;
        park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn a_server_that_sends_byte_by_byte_does_not_delay_the_doctor() {
    // The beginning of a TLS record, of a response head, and of a page.
    let tls = HandServer::raw(|_, client| drip(client, b"\x16\x03\x03\x40\x00"));
    let url = events(&tls).replace("http:", "https:");
    assert_eq!(exit_code(&[&url, "--timeout", "1", "--for", "1"]), Some(2));
    let head = HandServer::raw(|_, client| drip(client, b"HTTP/1.1 200 OK\r\nX: "));
    assert_eq!(exit_code(&[&events(&head), "--timeout", "1", "--for", "1"]), Some(1));
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
    let page = HandServer::raw(|_, client| drip(client, page));
    assert_eq!(exit_code(&[&events(&page), "--timeout", "1", "--for", "1"]), Some(1));
}

#[test]
fn all_redirects_together_have_one_timeout() {
    // Each single redirect is in time.
    let round = HandServer::answering(|_, _, mut client| {
        park_timeout(Duration::from_millis(700));
        client.write_all(b"HTTP/1.1 302 Found\r\nLocation: /round\r\nConnection: close\r\n\r\n")
    });
    let report = doctor(&events(&round), &["--timeout", "2", "--for", "1"]);
    let (_, saw, _) = report.finding("answer");
    assert!(saw.contains("no answer in"), "{:#}", report.json);
}

#[test]
fn a_flood_of_events_is_read_up_to_a_limit() {
    let flood = streaming(Behaviour { n_together: 2_000, every: Duration::ZERO, ..PLAIN });
    let report = doctor(&events(&flood), &["--for", "60"]);
    let (verdict, saw, _) = report.finding("idle");
    assert_eq!(verdict, "unknown", "{:#}", report.json);
    assert!(saw.contains("reads no more"), "{saw}");
}
