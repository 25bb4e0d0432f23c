//! Requests that no browser sends: other methods, forms, broken heads, HTTP/2.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::api::peak_kilobytes;
use crate::common::{Instance, copy_folder, http, wait_for};
use crate::pages::{get, quiet_instance};

/// The response of a server to these bytes, up to the end of its head or of the connection.
fn answer(instance: &Instance, request: &[u8]) -> String {
    let mut socket = instance.connect();
    // The server may refuse the request before it has all of it.
    let _ = socket.write_all(request);
    let (mut answer, mut piece) = (Vec::new(), [0; 512]);
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        match socket.read(&mut piece) {
            Ok(n @ 1..) => answer.extend_from_slice(&piece[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status and the `Allow` header of the response to a method.
fn status_and_allow(instance: &Instance, method: &str, path: &str) -> (u16, Option<String>) {
    let request = ureq::http::Request::builder().method(method).uri(instance.url(path));
    let request = request.header("Accept", "text/html").body(()).unwrap();
    let answer = http().run(request).unwrap();
    let allow = answer.headers().get("allow").map(|allow| allow.to_str().unwrap().to_owned());
    (answer.status().as_u16(), allow)
}

#[test]
fn an_address_lists_its_methods() {
    let (instance, _server) = quiet_instance(1);
    let read = "GET, HEAD, OPTIONS";
    let table = [
        ("/", read),
        ("/rolls", read),
        ("/rolls/60", read),
        ("/stats", read),
        ("/developers", read),
        ("/about", read),
        ("/robots.txt", read),
        ("/favicon.ico", read),
        ("/rolls/60/picture.png", read),
        ("/api/stats", read),
        ("/static/css/base.css", read),
        ("/healthz", read),
        ("/readyz", read),
        ("/metrics", read),
        ("/stream", "GET, HEAD, POST, OPTIONS"),
        ("/stream/", "GET, HEAD, POST, OPTIONS"),
    ];
    for (path, methods) in table {
        assert_eq!(
            status_and_allow(&instance, "OPTIONS", path),
            (204, Some(methods.into())),
            "{path}"
        );
        assert_eq!(status_and_allow(&instance, "HEAD", path).0, 200, "{path}");
        for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            if !methods.contains(method) {
                assert_eq!(
                    status_and_allow(&instance, method, path),
                    (405, Some(methods.into())),
                    "{path}"
                );
            }
        }
    }
    for method in ["OPTIONS", "POST", "DELETE"] {
        assert_eq!(status_and_allow(&instance, method, "/none"), (404, None), "{method}");
        assert_eq!(status_and_allow(&instance, method, "/rolls/60/none"), (404, None), "{method}");
    }
    let mut refused = http().post(instance.url("/rolls")).header("Accept", "application/json");
    refused = refused.header("Content-Type", "text/plain");
    let body = refused.send("x").unwrap().into_body().read_to_string().unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"]["code"], "method_not_allowed");
    assert_eq!(body["error"]["message"], "Expected one of the methods GET, HEAD, OPTIONS.");
}

/// The status of the response to a request that starts with this line and has these headers.
fn status(instance: &Instance, start: &str, headers: &str) -> String {
    let answer = answer(instance, format!("{start}\r\n{headers}\r\n").as_bytes());
    answer.get(9..12).unwrap_or_default().to_string()
}

#[test]
fn a_request_without_one_valid_host_is_refused_before_any_route() {
    let (instance, _server) = quiet_instance(1);
    let paths =
        ["/", "/rolls/60", "/api/rolls", "/stream/", "/static/css/base.css", "/none", "/static/.x"];
    let faults = [
        ("", "Expected a Host header, got none."),
        ("Host: a\r\nHost: a\r\n", "Expected one Host header, got 2."),
        ("Host: a b\r\n", "got `a b`."),
        ("Host: u@a\r\n", "got `u@a`."),
        ("Host:\r\n", "got ``."),
    ];
    for path in paths {
        for (headers, text) in faults {
            let json = format!("{headers}Accept: application/json\r\n");
            let start = format!("GET {path} HTTP/1.1");
            assert_eq!(status(&instance, &start, &json), "400", "{path} {headers:?}");
            let head = format!("HEAD {path} HTTP/1.1");
            assert_eq!(status(&instance, &head, headers), "400", "HEAD {path} {headers:?}");
            let body = body(&instance, &format!("{start}\r\n{json}\r\n"));
            assert_eq!(body["error"]["code"], "invalid_host", "{path} {headers:?}");
            let message = body["error"]["message"].as_str().unwrap();
            assert!(message.contains(text), "{path} {headers:?}: {message}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let start = format!("{method} /stream/ HTTP/1.1");
        assert_eq!(status(&instance, &start, ""), "400", "{method}");
    }
    for host in ["x", "rolls.example:5000", "[::1]:5000"] {
        let header = format!("Host: {host}\r\n");
        assert_eq!(status(&instance, "GET / HTTP/1.1", &header), "200", "{host}");
    }
}

#[test]
fn a_health_check_in_http_1_0_needs_no_host() {
    let (instance, _server) = quiet_instance(1);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(&instance, &format!("GET {path} HTTP/1.0"), ""), "200", "{path}");
        let twice = "Host: a\r\nHost: a\r\n";
        assert_eq!(status(&instance, &format!("GET {path} HTTP/1.1"), twice), "400", "{path}");
    }
    assert_eq!(status(&instance, "GET / HTTP/1.0", "Host: a\r\n"), "200");
    // HAProxy's default health check.
    assert_eq!(status(&instance, "OPTIONS / HTTP/1.0", ""), "204");
}

/// The JSON that a server sends in answer to these bytes.
fn body(instance: &Instance, request: &str) -> Value {
    let mut socket = instance.connect();
    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer}"))
}

#[test]
fn media_types_are_compared_without_case_and_by_their_quality() {
    let (instance, _server) = quiet_instance(1);
    let table = [
        ("application/json", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("text/html;q=0.5, application/json;q=0.6", "application/json"),
        ("application/json;q=0.5, text/html", "text/html"),
        ("application/json;q=0, */*", "text/html"),
        ("application/*, text/*;q=0.9", "application/json"),
        ("*/*", "text/html"),
    ];
    for (accept, expected) in table {
        let answer = get(&instance.url("/none"), &[("Accept", accept)]);
        assert!(answer.header("content-type").starts_with(expected), "{accept}");
        assert_eq!(answer.header("vary"), "Accept", "{accept}");
    }
}

#[test]
fn only_a_client_that_accepts_event_streams_is_told_in_one_that_there_are_too_many() {
    let instance = Instance::new("every = '1h'\nmax_streams = 1");
    let _server = instance.start();
    let open = |accept: &str| {
        let mut socket = instance.connect();
        let request = format!("GET /stream/ HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        (head[9..12].to_string(), head.contains("\r\nvary: accept\r\n"), socket)
    };
    let (status, varies, _first) = open("text/event-stream");
    assert_eq!((status.as_str(), varies), ("200", false), "control: the first stream");
    for (accept, expected) in [
        ("text/event-stream", "200"),
        ("Text/Event-Stream", "200"),
        ("text/html, TEXT/EVENT-STREAM;q=0.1", "200"),
        ("text/event-stream;q=0", "503"),
        ("x-text/event-stream", "503"),
        ("*/*", "503"),
        ("text/event-streams", "503"),
    ] {
        let (status, varies, _) = open(accept);
        assert_eq!((status.as_str(), varies), (expected, true), "{accept}");
    }
}

#[test]
fn a_form_does_not_change_its_method() {
    let (instance, server) = quiet_instance(1);
    let form = |path: &str, body: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        answer(&instance, request.as_bytes()).get(9..12).map(String::from)
    };
    for body in ["_method=get", "_method=head", "_method=delete", "x=1"] {
        assert_eq!(form("/rolls", body).as_deref(), Some("405"), "{body}");
        // POST opens a stream too, whatever the form contains.
        assert_eq!(form("/stream/", body).as_deref(), Some("200"), "{body}");
    }
    wait_for("the access lines", || {
        let log = server.log();
        let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
        (count("POST /rolls 405") == 4 && count("POST /stream/ 200") == 4).then_some(())
    });
}

#[test]
fn an_unreadable_request_is_refused_with_the_usual_headers_and_logged() {
    let (instance, server) = quiet_instance(1);
    for (request, path) in
        [("PURGE /api/rolls", "/api/rolls"), ("get /", "/"), ("CONNECT x:443", "/")]
    {
        let refused =
            answer(&instance, format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert!(refused.starts_with("HTTP/1.1 400 "), "{request}: {refused}");
        let refused = refused.to_lowercase();
        for header in ["content-security-policy: default-src 'none'", "nosniff", "no-referrer"] {
            assert!(refused.contains(header), "{request}: expected {header} in {refused}");
        }
        wait_for(&format!("the line of {request}"), || {
            let unread = |line: &&String| {
                line.contains("unreadable request") && line.contains(&format!("\"uri\":\"{path}\""))
            };
            server.log().iter().find(unread).map(|_| ())
        });
    }
    // Bytes that hyper cannot parse get no log line and no page.
    for nonsense in
        ["GET\r\n\r\n", "GET / HTTP/1.1\r\nNa me: x\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n"]
    {
        let refused = answer(&instance, nonsense.as_bytes());
        assert!(refused.starts_with("HTTP/1.1 400 "), "{nonsense:?}: {refused}");
    }
}

#[test]
fn a_long_address_is_shortened_in_the_log() {
    let (instance, server) = quiet_instance(1);
    let query = "y".repeat(6_000);
    for method in ["GET", "PURGE"] {
        let request = format!("{method} /rolls?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
        answer(&instance, request.as_bytes());
    }
    // The longest address of the API is logged whole.
    let cursor = format!("{}-1795602085317", "9".repeat(18));
    let longest =
        format!("/api/rolls?after={cursor}&before={cursor}&since=2026-11-23T00:01:00Z&limit=1000");
    get(&instance.url(&longest), &[]);
    let lines = wait_for("the access lines", || {
        let long = |line: &String| line.contains("\"uri\":\"/rolls?yyy") || line.contains(&longest);
        let lines: Vec<String> = server.log().into_iter().filter(long).collect();
        (lines.len() == 3).then_some(lines)
    });
    for line in &lines {
        assert!(line.len() < 1_000 && line.contains('…') != line.contains(&longest), "{line}");
    }
}

#[test]
fn http_2_is_refused() {
    let (instance, _server) = quiet_instance(1);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let refused = answer(&instance, preface);
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 4"), "{refused:?}");
    let upgrade = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                   Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answered = answer(&instance, upgrade.as_bytes());
    assert!(answered.starts_with("HTTP/1.1 200 "), "no upgrade: {answered:?}");
}

#[test]
fn endless_headers_are_refused_before_they_cost_memory() {
    let (instance, server) = quiet_instance(1);
    get(&instance.url("/"), &[]);
    let before = peak_kilobytes(&server);
    let mut bomb = b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec();
    bomb.extend(format!("X: {}\r\n", "y".repeat(8_000)).repeat(400).into_bytes());
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(2_000));
    for _ in 0..20 {
        // The server refuses the request while it is being sent, so the response may be lost.
        let refused = answer(&instance, &bomb);
        assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
        let refused = answer(&instance, many.as_bytes());
        assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    }
    let grown = peak_kilobytes(&server) - before;
    assert!(grown < 4_000, "20 times 3 MB of headers cost {grown} kB");
}

#[test]
fn a_configured_static_folder_is_served_without_links_and_hidden_files() {
    let instance = Instance::new("every = '1h'");
    let folder = instance.path().join("static");
    copy_folder("static", &folder);
    std::fs::write(folder.join("css/own.css"), "own {}\n").unwrap();
    std::fs::write(folder.join(".hidden"), "hidden").unwrap();
    std::fs::write(instance.path().join("secret.txt"), "secret").unwrap();
    let mut command = instance.command();
    command.env("ROCKET_ROLLCAST", format!("{{static_dir={:?}}}", folder));
    let mut server = instance.start_with(&mut command);
    assert_eq!(get(&instance.url("/static/css/own.css"), &[]).body, "own {}\n");
    symlink(instance.path().join("secret.txt"), folder.join("secret.txt")).unwrap();
    symlink(instance.path(), folder.join("instance")).unwrap();
    for (path, status) in [("secret.txt", 404), ("instance/secret.txt", 404), (".hidden", 404)] {
        let answer = get(&instance.url(&format!("/static/{path}")), &[]);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    assert_eq!(get(&instance.url("/static/css/own.css"), &[]).body, "own {}\n");
    server.stop();
}

#[test]
fn no_request_of_a_stranger_writes_a_warning() {
    let instance = Instance::new("every = '1h'\ntrusted_proxies = []");
    let server = instance.start();
    let requests = [
        "GET /static/.x HTTP/1.1\r\n",
        "GET /static/*x HTTP/1.1\r\n",
        "GET /static/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n",
        "GET /static/a%3cb%3e HTTP/1.1\r\n",
        "GET /static/a%3a HTTP/1.1\r\n",
        "GET /static/%ff HTTP/1.1\r\n",
        "GET /static/%00 HTTP/1.1\r\n",
        "GET /rolls/x HTTP/1.1\r\n",
        "GET /rolls?before=%ff&x=1 HTTP/1.1\r\n",
        "GET /api/rolls/x?y HTTP/1.1\r\n",
        "GET /api/rolls?limit=x HTTP/1.1\r\n",
        "GET /stream/?x=y HTTP/1.1\r\n",
        "HEAD /nothing HTTP/1.1\r\nX-Real-IP: nonsense\r\n",
        "PATCH / HTTP/1.1\r\nContent-Length: 0\r\nAccept: ;;q=x\r\n",
        "FOO / HTTP/1.1\r\n",
        "POST /stream/ HTTP/1.1\r\nContent-Type: ;\r\nContent-Length: 1\r\n",
    ];
    for request in requests {
        let mut socket = instance.connect();
        write!(socket, "{request}Host: localhost\r\nConnection: close\r\n\r\nx").unwrap();
        let mut status = [0; 12];
        socket.read_exact(&mut status).unwrap();
        let status = String::from_utf8_lossy(&status);
        assert!(status.starts_with("HTTP/1.1 "), "{request}: {status}");
        assert!(!status.ends_with(" 500"), "{request}: {status}");
    }
    let found = http().get(instance.url("/static/.x")).call().unwrap().status().as_u16();
    assert_eq!(found, 404);
    // The access line of the last request marks a later point in the log.
    let log = wait_for("the last access line", || {
        let log = server.log();
        log.iter().any(|line| line.contains("GET /static/.x 404")).then_some(log)
    });
    let warnings: Vec<_> = log.iter().filter(|line| !line.contains("\"INFO\"")).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}
