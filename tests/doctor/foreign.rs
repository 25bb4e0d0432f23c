//! Event streams that are not ours: small servers that send what a test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use crate::common::ROLLCAST;
use crate::doctor;
use crate::nginx::Nginx;

/// How a foreign server behaves.
#[derive(Clone, Copy)]
struct Manners {
    /// Before each `Date` header; `None` sends none.
    date: Option<&'static str>,
    /// Between events.
    every: Duration,
    /// Sent together.
    n_together: usize,
    /// Whether events have ids, and it goes on after the last one that a client had.
    has_ids: bool,
}

const PLAIN: Manners =
    Manners { date: None, every: Duration::from_millis(50), n_together: 1, has_ids: false };

/// A server that streams events to whoever asks; gone when dropped.
struct Foreign {
    port: u16,
    gone: Arc<AtomicBool>,
}

impl Foreign {
    fn start(manners: Manners) -> Foreign {
        Foreign::start_with(move |client| serve(client, manners))
    }

    /// One that answers each connection so.
    fn start_with(
        serve: impl Fn(TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
    ) -> Foreign {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let gone = Arc::new(AtomicBool::new(false));
        let stop = gone.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away ends its thread.
                let serve = serve.clone();
                std::thread::spawn(move || serve(client));
            }
        });
        Foreign { port, gone }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/events", self.port)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(mut client: TcpStream, manners: Manners) -> std::io::Result<()> {
    let (mut n, mut method) = (0_u64, String::new());
    for line in BufReader::new(client.try_clone()?).lines() {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if method.is_empty() {
            method = line.split(' ').next().unwrap_or_default().to_string();
        }
        if let (true, Some(id)) = (manners.has_ids, line.strip_prefix("last-event-id: e")) {
            n = id.parse().unwrap_or(0);
        }
    }
    let date = manners.date.map(|date| format!("Date: {date}\r\n")).unwrap_or_default();
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{date}\
         Cache-Control: no-cache\r\nConnection: close\r\n\r\n"
    )?;
    if method == "head" {
        return Ok(());
    }
    loop {
        let mut piece = String::new();
        for _ in 0..manners.n_together {
            n += 1;
            let id = if manners.has_ids { format!("id: e{n}\n") } else { String::new() };
            piece += &format!("{id}event: tick\ndata: something {n}\n\n");
        }
        client.write_all(piece.as_bytes())?;
        park_timeout(manners.every);
    }
}

#[test]
fn a_stream_without_ids_is_judged_as_far_as_it_can_be() {
    let foreign = Foreign::start(PLAIN);
    let report = doctor(&foreign.url(), &["--for", "2"]);
    report.assert_quiet();
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
    let resuming = Foreign::start(Manners { has_ids: true, ..PLAIN });
    let report = doctor(&resuming.url(), &["--for", "1"]);
    report.assert_quiet();
    assert_eq!(report.finding("resume").0, "fine", "{:#}", report.json);

    // The same behind a proxy that drops the header: it could be the server's own way.
    let nginx = Nginx::start(
        resuming.port,
        &[
            ("location /stream", "location /events"),
            ("gzip off;", "gzip off; proxy_pass_request_headers off;"),
        ],
    );
    let report = doctor(&nginx.url("/events"), &["--for", "1"]);
    report.assert_quiet();
    let (verdict, why, _) = report.finding("resume");
    assert_eq!(verdict, "unknown", "{:#}", report.json);
    assert!(why.contains("Last-Event-ID is lost on the way"), "{why}");
}

#[test]
fn a_stream_may_be_named_where_the_page_does_not() {
    let foreign = Foreign::start(PLAIN);
    let nginx =
        Nginx::start(foreign.port, &[("proxy_pass http://app;\n        }", "return 204; }")]);
    let page = nginx.url("/");
    // By default it asks where ours would be.
    let report = doctor(&page, &["--for", "1"]);
    assert_eq!(report.json["stream"], nginx.url("/stream/"));
    assert_eq!(report.finding("answer").0, "fine", "{:#}", report.json);
    // The foreign server's own address is another origin, which does not let the page read it.
    let report = doctor(&page, &["--for", "1", "--stream", &foreign.url()]);
    assert_eq!(report.json["stream"], foreign.url());
    assert_eq!(report.finding("redirect").0, "fault", "{:#}", report.json);
}

#[test]
fn events_that_come_in_bursts_are_noted_and_not_called_a_fault() {
    let bursts =
        Foreign::start(Manners { every: Duration::from_millis(500), n_together: 10, ..PLAIN });
    let report = doctor(&bursts.url(), &["--for", "2"]);
    report.assert_quiet();
    let (verdict, _, change) = report.finding("buffering");
    assert_eq!(verdict, "note");
    assert!(change.contains("`proxy_buffering off;`"), "{change}");
}

#[test]
fn a_clock_that_is_wrong_is_told_by_the_date() {
    let late = Some("Wed, 25 Nov 2020 00:00:00 GMT");
    let foreign = Foreign::start(Manners { date: late, ..PLAIN });
    let report = doctor(&foreign.url(), &["--for", "1"]);
    report.assert_faults(&["clock"], "chronyd");
}

#[test]
fn a_stream_cut_off_while_idle_is_a_fault_whoever_made_it() {
    let foreign = Foreign::start(Manners { every: Duration::from_secs(3600), ..PLAIN });
    let nginx = Nginx::start(
        foreign.port,
        &[
            ("location /stream", "location /events"),
            ("proxy_read_timeout 1h;", "proxy_read_timeout 2s;"),
        ],
    );
    let report = doctor(&nginx.url("/events"), &["--for", "10"]);
    report.assert_faults(&["idle"], "`proxy_read_timeout 1h;`");
}

/// Runs the doctor, which gets no longer than tests wait for anything; its exit code.
fn ends(arguments: &[&str]) -> Option<i32> {
    let mut doctor =
        Command::new(ROLLCAST).arg("doctor").args(arguments).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    loop {
        if let Some(status) = doctor.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > Duration::from_secs(60) {
            doctor.kill().unwrap();
            doctor.wait().unwrap();
            panic!("{arguments:?}: no end in {:?}", start.elapsed());
        }
        park_timeout(Duration::from_millis(20));
    }
}

/// Sends a byte each tenth of a second, which keeps any timeout of a single read from passing.
fn drip(mut client: TcpStream, start: &[u8]) -> std::io::Result<()> {
    client.write_all(start)?;
    loop {
        client.write_all(b"x")?;
        park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn a_server_that_drips_does_not_hold_the_doctor() {
    // The start of a long record of a TLS handshake, of a response's head, and of a page.
    let tls = Foreign::start_with(|client| drip(client, b"\x16\x03\x03\x40\x00"));
    let url = tls.url().replace("http:", "https:");
    assert_eq!(ends(&[&url, "--timeout", "1", "--for", "1"]), Some(2));
    let head = Foreign::start_with(|client| drip(client, b"HTTP/1.1 200 OK\r\nX: "));
    assert_eq!(ends(&[&head.url(), "--timeout", "1", "--for", "1"]), Some(1));
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
    let page = Foreign::start_with(|client| drip(client, page));
    assert_eq!(ends(&[&page.url(), "--timeout", "1", "--for", "1"]), Some(1));
}

#[test]
fn redirects_share_the_time_of_one_answer() {
    // Any one of them is in time.
    let round = Foreign::start_with(|mut client| {
        let mut lines = BufReader::new(client.try_clone()?).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        park_timeout(Duration::from_millis(700));
        client.write_all(b"HTTP/1.1 302 Found\r\nLocation: /round\r\nConnection: close\r\n\r\n")
    });
    let report = doctor(&round.url(), &["--timeout", "2", "--for", "1"]);
    let (_, saw, _) = report.finding("answer");
    assert!(saw.contains("no answer in"), "{:#}", report.json);
}

#[test]
fn a_flood_of_events_is_not_kept() {
    let flood = Foreign::start(Manners { n_together: 2_000, every: Duration::ZERO, ..PLAIN });
    let report = doctor(&flood.url(), &["--for", "60"]);
    let (verdict, saw, _) = report.finding("idle");
    assert_eq!(verdict, "unknown", "{:#}", report.json);
    assert!(saw.contains("than is looked at"), "{saw}");
}
