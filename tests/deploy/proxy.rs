//! nginx in front of the real server: what the delivered files guarantee, and what fails without
//! each of their lines.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::events::{Ask, Frame, Stream};
use crate::common::hand_server::HandServer;
use crate::common::{Instance, Server, TIMEOUT, free_port, http, wait_for};
use crate::files::Files;
use crate::nginx::{HEADERS, LOCATIONS, MAIN, Nginx, SITE, TLS};
use crate::program::{children, run_well};

/// Restores nginx's default buffering and ignores rollcast's `X-Accel-Buffering`.
fn buffer(files: &mut Files) {
    files.replace(LOCATIONS, "proxy_buffering off;", "proxy_ignore_headers X-Accel-Buffering;");
    files.replace(HEADERS, "proxy_http_version 1.1;", "proxy_http_version 1.0;");
}

/// The id of the newest stored roll, or 0.
pub fn head(instance: &Instance) -> i64 {
    let newest = "select coalesce(max(id), 0) from rolls";
    instance.sqlite().query_row(newest, [], |row| row.get(0)).unwrap()
}

/// The id in a cursor.
pub fn number(id: &str) -> i64 {
    id.split('-').next().unwrap().parse().unwrap()
}

/// The frames of a stream as they arrive, or an error if it is refused.
fn frames(url: String) -> Receiver<Result<Frame, String>> {
    let (to, frames) = channel();
    thread::spawn(move || match Stream::open(&url, Ask::default()) {
        Ok(mut stream) => while stream.next().is_some_and(|frame| to.send(Ok(frame)).is_ok()) {},
        Err(error) => drop(to.send(Err(error))),
    });
    frames
}

/// Sends a request. Returns the parts of the response as they arrive.
fn answer(port: u16, request: &str) -> Receiver<Vec<u8>> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let (to, parts) = channel();
    thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = connection.read(&mut part) {
            if to.send(part[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    parts
}

/// Checks that every roll arrives before three newer ones are stored.
///
/// # Errors
/// Says how many rolls the stream was behind, or that it ended.
pub fn arrives_at_once(instance: &Instance, url: String) -> Result<(), String> {
    let (mut last, mut n_seen) = (head(instance), 0);
    let asked = Instant::now();
    let frames = frames(url);
    let mut first = None;
    while n_seen < 4 {
        match frames.recv_timeout(Duration::from_millis(20)) {
            Ok(frame) => {
                first.get_or_insert(asked.elapsed());
                if let Some((id, _)) = frame?.roll() {
                    (last, n_seen) = (number(&id), n_seen + 1);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the stream ended".into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let n_behind = head(instance) - last;
        if n_behind > 3 {
            return Err(format!("{n_behind} rolls were stored after the last one that arrived"));
        }
    }
    println!("first frame after {first:?}");
    Ok(())
}

#[test]
fn the_first_byte_and_each_event_arrive_at_once() {
    let instance = Instance::new("every = '1s'");
    let _server = instance.start_rolling();
    let nginx = Nginx::start(instance.port());
    arrives_at_once(&instance, nginx.url("/stream/")).unwrap();

    let buffering = Nginx::start_with(instance.port(), buffer);
    let late = arrives_at_once(&instance, buffering.url("/stream/")).unwrap_err();
    assert!(late.contains("rolls were stored"), "{late}");
}

#[test]
fn pages_are_compressed_and_the_stream_is_not() {
    let instance = Instance::new("every = '1s'");
    let _server = instance.start_rolling();
    let encoding = |nginx: &Nginx, path: &str| {
        let answer = http().get(nginx.url(path)).header("Accept-Encoding", "gzip").call().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        (header("content-encoding"), header("vary"))
    };
    let stream_is_plain = |nginx: &Nginx| {
        let start = head(&instance);
        let request = "GET /stream/ HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n";
        let (parts, mut text) = (answer(nginx.port(), request), String::new());
        loop {
            if let Ok(part) = parts.recv_timeout(Duration::from_millis(20)) {
                text += &String::from_utf8_lossy(&part);
            }
            if text.to_lowercase().contains("content-encoding: gzip") {
                return Err("it is compressed");
            }
            if text.contains("data: {\"1D6\"") {
                return Ok(());
            }
            if head(&instance) > start + 4 {
                return Err("it is buffered");
            }
        }
    };
    let compressed = (Some("gzip".into()), Some("Accept-Encoding".into()));
    let nginx = Nginx::start(instance.port());
    let read = |path: &str| {
        http().get(nginx.url(path)).call().unwrap().body_mut().read_to_string().unwrap()
    };
    let page = read("/");
    assert_eq!(encoding(&nginx, "/"), compressed);
    for kind in [".css", ".js"] {
        // nginx does not compress short files.
        let links = page.split('"').filter(|link| link.ends_with(kind));
        let links: Vec<&str> = links.filter(|link| read(link).len() > 1024).collect();
        assert!(!links.is_empty(), "no link to {kind} in {page}");
        for path in links {
            assert_eq!(encoding(&nginx, path), compressed, "{path}");
        }
    }
    stream_is_plain(&nginx).unwrap();

    let control = Nginx::start_with(instance.port(), |files| {
        buffer(files);
        files.replace(LOCATIONS, "gzip off;", "gzip_types text/event-stream;");
    });
    stream_is_plain(&control).unwrap_err();
    let control = Nginx::start_with(instance.port(), |files| {
        files.replace(LOCATIONS, "gzip on;", "");
    });
    assert_ne!(encoding(&control, "/"), compressed);
}

#[test]
fn the_heartbeat_keeps_a_silent_stream_open_beyond_the_proxy_timeout() {
    // Shortens the delivered hour.
    let short = |files: &mut Files| {
        files.replace(LOCATIONS, "proxy_read_timeout 1h;", "proxy_read_timeout 3s;");
    };
    let n_frames = |heartbeat: &str| {
        let instance = Instance::new(&format!("every = '1h'\nheartbeat = '{heartbeat}'"));
        let _server = instance.start();
        let nginx = Nginx::start_with(instance.port(), short);
        // The first roll arrives at once, then only comments.
        let stream = Stream::open(&nginx.url("/stream/"), Ask::default()).unwrap();
        let started = Instant::now();
        let n = stream.take_while(|_| started.elapsed() < Duration::from_secs(7)).count();
        (n, started.elapsed())
    };
    let (_, lasted) = n_frames("1s");
    assert!(lasted >= Duration::from_secs(7), "cut after {lasted:?}");
    let (_, lasted) = n_frames("10m");
    assert!(lasted < Duration::from_secs(7), "the control was not cut in {lasted:?}");
}

#[test]
fn a_client_cannot_claim_another_address() {
    let instance = Instance::new("every = '1h'");
    let server = instance.start();
    let client = |nginx: &Nginx, path: &str| {
        let request = http().get(nginx.url(path)).header("X-Real-IP", "6.6.6.6");
        request.header("X-Forwarded-For", "6.6.6.6").call().unwrap();
        wait_for("the access line", || {
            let log = server.log();
            let line = log.iter().find(|line| line.contains(&format!("GET {path}")))?;
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            Some(line["client"].as_str().unwrap().to_owned())
        })
    };
    let nginx = Nginx::start(instance.port());
    assert_eq!(client(&nginx, "/rolls?page=real"), "127.0.0.1");
    let control = Nginx::start_with(instance.port(), |files| {
        files.replace(HEADERS, "proxy_set_header X-Real-IP $remote_addr;", "");
    });
    assert_eq!(client(&control, "/rolls?page=control"), "6.6.6.6");
}

/// How an EventSource handles a response: `Ok` is an event stream, after which it reconnects.
///
/// # Errors
/// The status at which it gives up.
pub fn as_event_source(url: &str) -> Result<Vec<Frame>, u16> {
    let asked = http().get(url).header("Accept", "text/event-stream").call();
    // Without a response, an EventSource reconnects.
    let Ok(mut answer) = asked else { return Ok(Vec::new()) };
    if answer.status() != 200 {
        return Err(answer.status().as_u16());
    }
    assert_eq!(answer.headers().get("content-type").unwrap(), "text/event-stream");
    assert_eq!(answer.headers().get("cache-control").unwrap(), "no-cache, no-transform");
    assert_eq!(answer.headers().get("access-control-allow-origin").unwrap(), "*");
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    let frames: Vec<Frame> = Stream::read(std::io::Cursor::new(body)).collect();
    assert!(matches!(frames.first(), Some(Frame::Retry(_))), "no retry in {frames:?}");
    Ok(frames)
}

#[test]
fn while_the_server_is_down_event_sources_get_a_retry_and_reconnect() {
    let instance = Instance::new("every = '1h'");
    let nginx = Nginx::start(instance.port());
    let retries: BTreeSet<u64> = (0..40)
        .map(|_| match as_event_source(&nginx.url("/stream/")).unwrap()[..] {
            [Frame::Retry(retry), ref closing] => {
                assert_eq!(closing.closing().as_deref(), Some("unreachable"), "{closing:?}");
                retry
            }
            ref frames => panic!("expected a retry and a closing, got {frames:?}"),
        })
        .collect();
    let (first, last) = (*retries.first().unwrap(), *retries.last().unwrap());
    assert!((1_000..5_000).contains(&first) && (1_000..5_000).contains(&last), "{retries:?}");
    assert!(retries.len() > 10 && last - first > 2_000, "not spread out: {retries:?}");

    // Other clients get a 503, and browsers a page that reloads itself.
    assert_eq!(nginx.status("/stream/"), 503);
    let mut page = http().get(nginx.url("/")).call().unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()["retry-after"]),
        (503, &"2".parse().unwrap())
    );
    let page = page.body_mut().read_to_string().unwrap();
    assert!(page.contains("http-equiv=refresh"), "{page}");
    // Requests for JSON and for the API get rollcast's JSON error.
    let json = |nginx: &Nginx, path: &str, accept: &str| {
        let asked = http().get(nginx.url(path)).header("Accept", accept).call();
        let mut answer = asked.unwrap();
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.headers()["retry-after"], "2");
        let body = answer.body_mut().read_to_string().unwrap();
        let error = serde_json::from_str::<serde_json::Value>(&body).ok()?["error"].take();
        assert_eq!(answer.headers()["content-type"], "application/json");
        Some((error["code"].as_str()?.to_owned(), error["message"].is_string()))
    };
    let unavailable = Some(("restarting".to_owned(), true));
    assert_eq!(json(&nginx, "/rolls/1", "application/json"), unavailable);
    assert_eq!(json(&nginx, "/api/rolls", "*/*"), unavailable);
    assert_eq!(json(&nginx, "/rolls/1", "text/html,application/json;q=0.5"), None);
    let pages_alone = Nginx::start_with(instance.port(), |files| {
        files.replace(LOCATIONS, "= $rollcast_restarting;", "= @restarting;");
    });
    assert_eq!(json(&pages_alone, "/api/rolls", "application/json"), None);

    // After the server starts, streams work again.
    let _server = instance.start();
    let mut stream = Stream::open(&nginx.url("/stream/"), Ask::default()).unwrap();
    assert!(stream.frames(2)[1].sync().is_some());

    let control = Nginx::start_with(1, |files| {
        files.replace(LOCATIONS, "error_page 500 502 504 = @no_stream;", "");
    });
    assert_eq!(as_event_source(&control.url("/stream/")), Err(502));
}

#[test]
fn a_client_that_opens_streams_too_fast_gets_a_busy_event() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    let slow = |files: &mut Files| {
        files.replace(
            SITE,
            "zone=rollcast_streams:10m rate=20r/s",
            "zone=rollcast_streams:10m rate=1r/m",
        );
        files.replace(
            LOCATIONS,
            "zone=rollcast_streams burst=500",
            "zone=rollcast_streams burst=2",
        );
    };
    let nginx = Nginx::start_with(instance.port(), slow);
    let _open: Vec<_> =
        (0..3).map(|_| Stream::open(&nginx.url("/stream"), Ask::default())).collect();
    for path in ["/stream", "/stream/"] {
        let frames = as_event_source(&nginx.url(path)).unwrap();
        let Frame::Retry(retry) = frames[0] else { unreachable!() };
        assert!((15_000..45_000).contains(&retry), "{retry}");
        let busy = |frame: &Frame| matches!(frame, Frame::Event { name, .. } if name == "busy");
        assert!(busy(&frames[1]), "{frames:?}");
        assert_eq!(nginx.status(path), 429, "expected 429 without `Accept: text/event-stream`");
    }
    assert_eq!(nginx.status("/"), 200, "expected a separate limit for pages");

    let control = Nginx::start_with(instance.port(), |files| {
        slow(files);
        files.replace(LOCATIONS, "error_page 429 = @too_many_streams;", "");
    });
    let _open: Vec<_> =
        (0..3).map(|_| Stream::open(&control.url("/stream"), Ask::default())).collect();
    assert_eq!(as_event_source(&control.url("/stream/")), Err(429));
}

#[test]
fn pages_are_limited_by_address_and_an_ipv6_64_counts_as_one() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    // The test sets the client address by a header.
    let slow = |files: &mut Files| {
        let from = "set_real_ip_from 127.0.0.1;\nreal_ip_header X-Test-Address;\nlimit_req_status";
        files.replace(LOCATIONS, "limit_req_status", from);
        files.replace(
            SITE,
            "zone=rollcast_pages:10m rate=20r/s",
            "zone=rollcast_pages:10m rate=1r/m",
        );
        files.replace(LOCATIONS, "zone=rollcast_pages burst=200", "zone=rollcast_pages burst=1");
    };
    let status = |nginx: &Nginx, address: &str| {
        let request = http().get(nginx.url("/")).header("X-Test-Address", address);
        request.call().unwrap().status().as_u16()
    };
    let statuses = |nginx: &Nginx| {
        let addresses = [
            "2001:db8:0:1::1",
            "2001:db8:0:1::2",
            "2001:db8:0:1:ffff::3", // one /64
            "2001:db8:0:2::1",
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3", // four others
        ];
        addresses.map(|address| status(nginx, address))
    };
    let nginx = Nginx::start_with(instance.port(), slow);
    assert_eq!(statuses(&nginx), [200, 200, 429, 200, 200, 200, 200]);
    let control = Nginx::start_with(instance.port(), |files| {
        slow(files);
        files.replace(
            SITE,
            "limit_req_zone $rollcast_address",
            "limit_req_zone $binary_remote_addr",
        );
    });
    assert_eq!(statuses(&control), [200; 7]);
}

#[test]
fn an_event_source_reconnects_when_a_worker_runs_out_of_connections() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    // Opens streams until nginx runs out of connections. Returns their number, or the status that
    // ends an EventSource.
    let exhaust = |n_connections: u32, edit: fn(&mut Files)| {
        let nginx = Nginx::start_with(instance.port(), |files| {
            let few = format!("worker_connections {n_connections};");
            files.replace(MAIN, "worker_connections 2048;", &few);
            files.replace(MAIN, "worker_processes 2;", "worker_processes 1;");
            edit(files);
        });
        let mut open = Vec::new();
        for _ in 0..n_connections {
            match Stream::open(&nginx.url("/stream/"), Ask::default()) {
                Ok(mut stream) => {
                    if !stream.by_ref().take(2).any(|frame| frame.sync().is_some()) {
                        // A short stream with only a `retry`.
                        break;
                    }
                    open.push(stream);
                }
                Err(error) if error.contains("expected an event stream") => return Err(error),
                // Without a response, an EventSource reconnects.
                Err(_) => break,
            }
        }
        let errors = nginx.errors();
        assert!(errors.contains("worker_connections are not enough"), "{errors}");
        Ok(open.len())
    };
    // With an even and an odd number of connections, because a stream needs two.
    for n_connections in [20, 21] {
        let n_open = exhaust(n_connections, |_| {}).unwrap();
        assert!(n_open > 5, "{n_open} streams");
    }
    let control = |n_connections| {
        exhaust(n_connections, |files| {
            files.replace(LOCATIONS, "error_page 500 502 504 = @no_stream;", "");
        })
    };
    let refused = control(20).and(control(21)).unwrap_err();
    assert!(refused.contains("500"), "{refused}");
}

#[test]
fn a_reload_ends_old_workers_and_their_streams_resume_on_new_ones() {
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start_rolling();
    // Shortens the delivered 10 s. The control has no timeout.
    let gap_after_reload = |timeout: &str| {
        let nginx = Nginx::start_with(instance.port(), |files| {
            files.replace(MAIN, "worker_shutdown_timeout 10s;", timeout);
        });
        let workers = |besides: &BTreeSet<u32>| {
            wait_for("two workers", || {
                let all = children(nginx.pid()).into_iter();
                let workers = all.filter(|(_, line)| line.contains("worker process"));
                let ids: BTreeSet<u32> = workers.map(|(id, _)| id).collect();
                let new: BTreeSet<u32> = ids.difference(besides).copied().collect();
                (new.len() == 2).then_some((new, ids))
            })
        };
        let (old, _) = workers(&BTreeSet::new());
        let mut stream = Stream::open(&nginx.url("/stream/"), Ask::default()).unwrap();
        let (last, _) = stream.rolls(5).pop().unwrap();
        nginx.reload();
        workers(&old);
        let (to, ended) = channel();
        thread::spawn(move || {
            let rolls: Vec<_> = stream.filter_map(|frame| frame.roll()).collect();
            let _ = to.send(rolls.last().map_or(last, |(id, _)| id.clone()));
        });
        let last = ended.recv_timeout(Duration::from_secs(5)).ok()?;
        wait_for("the old workers to end", || workers(&old).1.is_disjoint(&old).then_some(()));
        let ask = Ask { last_event_id: Some(&last), ..Ask::default() };
        let (next, _) = Stream::open(&nginx.url("/stream/"), ask).unwrap().rolls(1).remove(0);
        Some(number(&next) - number(&last))
    };
    assert_eq!(gap_after_reload("worker_shutdown_timeout 1s;"), Some(1), "the next roll");
    assert_eq!(gap_after_reload(""), None, "expected the stream to stay open without the timeout");
}

#[test]
fn metrics_are_not_public() {
    let upstream = HandServer::answering(|_, _, mut client| {
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    let port = upstream.port();
    let ask = |nginx: &Nginx, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let parts = answer(nginx.port(), &request);
        String::from_utf8(parts.iter().flatten().collect()).unwrap()
    };
    let paths = [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/%6detrics",
        "/x/../metrics",
        "/metrics?x=/",
        "/./metrics",
    ];
    let nginx = Nginx::start(port);
    for path in paths {
        let answer = ask(&nginx, path);
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    assert_eq!(upstream.requests().len(), 0, "a request reached the server");
    let control = Nginx::start_with(port, |files| {
        files.replace(LOCATIONS, "location /metrics {", "location /no-metrics {");
    });
    for path in paths {
        assert!(ask(&control, path).starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[test]
fn half_sent_requests_end_at_the_proxy() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    let short = |files: &mut Files| {
        files.replace(LOCATIONS, "client_header_timeout 10s;", "client_header_timeout 1s;");
        files.replace(LOCATIONS, "client_body_timeout 10s;", "client_body_timeout 1s;");
    };
    let nginx = Nginx::start_with(instance.port(), short);
    let half = [
        "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        "POST /stream/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1",
        // Rocket waits for the body before it routes the request.
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n",
    ];
    let ends = |port: u16, request: &str, timeout: Duration| {
        let parts = answer(port, request);
        let start = Instant::now();
        while let Some(left) = timeout.checked_sub(start.elapsed()) {
            if let Err(RecvTimeoutError::Disconnected) = parts.recv_timeout(left) {
                return true;
            }
        }
        false
    };
    for request in half {
        assert!(ends(nginx.port(), request, TIMEOUT), "{request}");
    }
    // Control: the server itself does not end them.
    for request in [half[0], half[2]] {
        assert!(!ends(instance.port(), request, Duration::from_secs(4)), "{request}");
    }
}

#[test]
fn nginx_caches_static_files_as_the_server_allows_even_while_the_server_is_down() {
    let instance = Instance::new("every = '1h'");
    let n_markers = Cell::new(0);
    let count = |server: &Server, path: &str| {
        // The log is written in order, so this request appears after all earlier ones.
        n_markers.set(n_markers.get() + 1);
        let marker = format!("/rolls?marker={}.", n_markers.get());
        http().get(instance.url(&marker)).call().unwrap();
        wait_for("the log", || {
            server.log().iter().any(|line| line.contains(&marker)).then_some(())
        });
        server.log().iter().filter(|line| line.contains(&format!("GET {path}"))).count()
    };
    let headers = |url: String| {
        let answer = http().get(url).call().unwrap();
        let names = [
            "cache-control",
            "etag",
            "content-type",
            "content-security-policy",
            "x-content-type-options",
        ];
        let value = |name| Some(answer.headers().get(name)?.to_str().unwrap().to_owned());
        (answer.status().as_u16(), names.map(value))
    };
    let mut server = instance.start();
    let page = http().get(instance.url("/")).call().unwrap().body_mut().read_to_string().unwrap();
    let start = page.find("/static/").unwrap();
    let versioned = page[start..].split('"').next().unwrap().to_owned();
    let (_, name) = versioned["/static/".len()..].split_once('/').unwrap();
    let older = format!("/static/0123456789abcdef/{name}");
    let served = headers(instance.url(&versioned));
    assert!(served.1[0].as_ref().unwrap().contains("immutable"), "{served:?}");
    assert!(served.1.iter().all(Option::is_some), "{served:?}");

    let n_reach_the_server = |nginx: &Nginx, path: &str| {
        let before = count(&server, path);
        for query in ["", "", "?a", "?b"] {
            assert_eq!(headers(nginx.url(&format!("{path}{query}"))), headers(instance.url(path)));
        }
        // Each comparison itself sent one request to the server.
        count(&server, path) - before - 4
    };
    let nginx = Nginx::start(instance.port());
    assert_eq!(n_reach_the_server(&nginx, &versioned), 1);
    assert_eq!(n_reach_the_server(&nginx, &older), 4, "expected no caching of an older version");
    let uncached = Nginx::start_with(instance.port(), |files| {
        files.replace(LOCATIONS, "proxy_cache rollcast;", "proxy_cache off;");
    });
    assert_eq!(n_reach_the_server(&uncached, &versioned), 4);

    server.stop();
    assert_eq!(headers(nginx.url(&versioned)), served);
    assert_eq!(headers(uncached.url(&versioned)).0, 503);
}

#[test]
fn over_tls_the_stream_speaks_http_2_and_each_event_arrives_at_once() {
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start_rolling();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    run_well(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "1", "-subj", "/CN=example.com"])
            .args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")]),
    );
    let port = free_port();
    let start = |listen: &str| {
        Nginx::start_sites(&[SITE, TLS], instance.port(), |files| {
            let certificates = "/etc/letsencrypt/live/example.com/";
            files.replace(TLS, &format!("{certificates}fullchain.pem"), &path("cert.pem"));
            files.replace(TLS, &format!("{certificates}privkey.pem"), &path("key.pem"));
            files.replace(TLS, "    listen [::]:443 ssl http2;\n", "");
            files.replace(TLS, "listen 443 ssl http2;", listen);
        })
    };
    let listen = || {
        // Two seconds of a stream with ten rolls per second.
        let url = format!("https://127.0.0.1:{port}/stream/");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--no-buffer", "--http2", "--max-time", "2"]);
        curl.args(["--write-out", "HTTP/%{http_version}", &url]);
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    };
    let nginx = start(&format!("listen 127.0.0.1:{port} ssl http2;"));
    let text = listen();
    assert!(text.ends_with("HTTP/2"), "{text}");
    assert!(text.matches("id:").count() > 1, "{text}");
    drop(nginx);
    let _control = start(&format!("listen 127.0.0.1:{port} ssl;"));
    let text = listen();
    assert!(text.ends_with("HTTP/1.1"), "{text}");
}

#[test]
fn doctor_finds_no_fault_in_the_delivered_site_and_detects_buffering() {
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start_rolling();
    let doctor = |nginx: &Nginx| {
        let mut command = instance.command();
        command.args(["doctor", &nginx.url("/"), "--json", "--for", "3s", "--timeout", "5s"]);
        let output = command.output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let faults = findings.filter(|finding| finding["verdict"] == "fault");
        let faults: Vec<String> = faults.map(|finding| finding["check"].to_string()).collect();
        (output.status.code(), faults, report)
    };
    let (code, faults, report) = doctor(&Nginx::start(instance.port()));
    assert_eq!((code, faults), (Some(0), vec![]), "{report:#}");

    let (code, faults, report) = doctor(&Nginx::start_with(instance.port(), buffer));
    assert_eq!(code, Some(1), "{report:#}");
    assert!(faults.iter().any(|check| check.contains("buffering")), "{report:#}");
}
