//! The API as any HTTP client sees it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, http, wait_for};
use crate::pages::{Answer, descending, get, quiet_instance};

const CLOSED: &str = "public, max-age=86400, immutable";

fn ids(page: &Answer) -> Vec<i64> {
    let body: Value = serde_json::from_str(&page.body).unwrap();
    body["rolls"].as_array().unwrap().iter().map(|roll| roll["id"].as_i64().unwrap()).collect()
}

/// The address of a relation in the `Link` header.
fn linked(page: &Answer, rel: &str) -> Option<String> {
    let links = page.header("link");
    let link = links.split(", ").find(|link| link.ends_with(&format!("; rel=\"{rel}\"")))?;
    Some(link.trim_start_matches('<').split('>').next()?.to_string())
}

fn ascending(from: i64, to: i64) -> Vec<i64> {
    (from..=to).collect()
}

/// All stored rolls, each as one line of JSON.
pub fn lines(instance: &Instance) -> Vec<String> {
    let line =
        |(id, rolled_at, dice)| format!(r#"{{"id":{id},"rolled_at":"{rolled_at}","dice":{dice}}}"#);
    instance.stored().into_iter().map(line).collect()
}

#[test]
fn a_page_of_the_api_has_the_requested_rolls_in_order() {
    let (instance, _server) = quiet_instance(21);
    let table = [
        ("", descending(121, 22)),
        ("?limit=3", descending(121, 119)),
        ("?before=60&limit=3", descending(59, 57)),
        ("?before=24", descending(23, 21)),
        ("?before=21", vec![]),
        ("?before=999999&limit=1", vec![121]),
        ("?after=60&limit=3", ascending(61, 63)),
        ("?after=0&limit=2", ascending(21, 22)),
        ("?after=119", ascending(120, 121)),
        ("?after=121", vec![]),
        ("?after=60&before=63", ascending(61, 62)),
        ("?after=63&before=60", vec![]),
        ("?after=60&before=100&limit=2", ascending(61, 62)),
        // Roll n was made at 2026-11-23T00:00:00.123Z + n s.
        ("?since=2026-11-23T00:01:00.123Z&limit=2", ascending(60, 61)),
        ("?since=2026-11-23T00:01:00.124Z&limit=2", ascending(61, 62)),
        ("?since=2026-11-23&limit=2", ascending(21, 22)),
        ("?since=2999-01-01", vec![]),
        ("?since=10m", vec![121]),
        ("?since=10m&after=118", ascending(119, 121)),
        ("?since=2026-11-23T00:01:00Z&before=63", ascending(60, 62)),
    ];
    for (query, expected) in table {
        let page = get(&instance.url(&format!("/api/rolls{query}")), &[]);
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        assert_eq!(ids(&page), expected, "{query}");
    }
    let one = get(&instance.url("/api/rolls/60"), &[]);
    assert_eq!(one.body, lines(&instance)[39]);
    let page = get(&instance.url("/api/rolls?after=59&limit=2"), &[]);
    assert_eq!(page.body, format!(r#"{{"rolls":[{}]}}"#, lines(&instance)[39..41].join(",")));
}

#[test]
fn links_of_the_api_lead_through_the_whole_history_both_ways() {
    for oldest in [1, 37] {
        let (instance, _server) = quiet_instance(oldest);
        let walk = |start: &str, rel: &str| {
            let (mut seen, mut next) = (Vec::new(), Some(start.to_string()));
            while let Some(path) = next {
                let page = get(&instance.url(&path), &[]);
                assert_eq!(page.status, 200, "{path}: {}", page.body);
                seen.push(ids(&page));
                assert!(seen.len() < 30, "paging does not end: {path}");
                next = linked(&page, rel);
            }
            seen
        };
        let newest_first = walk("/api/rolls?limit=10", "next").concat();
        assert_eq!(newest_first, descending(121, oldest));
        let oldest_first = walk("/api/rolls?after=0&limit=10", "next").concat();
        assert_eq!(oldest_first, ascending(oldest, 121));
        let part = walk("/api/rolls?after=50&before=71&limit=10", "next").concat();
        assert_eq!(part, ascending(51, 70));
        let mut back = walk("/api/rolls?after=111&limit=10", "prev");
        back.reverse();
        assert_eq!(back.concat(), ascending(oldest, 121), "back from the newest");
        let newer = walk(&format!("/api/rolls?before={}&limit=10", oldest + 5), "prev");
        assert_eq!(newer.last(), Some(&descending(121, 112)), "up to the newest");
    }
}

#[test]
fn a_page_that_later_rolls_cannot_change_may_be_cached() {
    let (instance, _server) = quiet_instance(1);
    let table = [
        ("", false),
        ("?limit=1000", false),
        // Final once the page of newer rolls is full, because until then its link changes.
        ("?before=21", true),
        ("?before=22", false),
        ("?before=116&limit=5", true),
        ("?before=117&limit=5", false),
        ("?before=122&limit=5", false),
        ("?before=1", true),
        ("?after=0&limit=100", true),
        ("?after=100&limit=100", false),
        ("?after=100&before=122", true),
        ("?after=100&before=123", false),
        ("?after=121", false),
        ("?since=2026-11-23T00:01:00Z&limit=10", false),
        ("/60", true),
    ];
    for (query, closed) in table {
        let url = instance.url(&format!("/api/rolls{query}"));
        let page = get(&url, &[]);
        let expected = if closed { CLOSED } else { "no-cache" };
        assert_eq!(page.header("cache-control"), expected, "{query}");
        let etag = page.header("etag").to_string();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
            let unchanged = get(&url, &[("If-None-Match", &known)]);
            assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""), "{query} {known}");
            assert_eq!(unchanged.header("etag"), etag, "{query}");
            assert_eq!(unchanged.header("cache-control"), expected, "{query}");
        }
        assert_eq!(get(&url, &[("If-None-Match", "\"x\"")]).status, 200, "{query}");
    }
}

#[test]
fn a_cached_page_is_the_same_after_later_rolls_and_the_newest_one_is_not() {
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    wait_for("40 rolls", || (instance.stored().len() >= 40).then_some(()));
    // Read the newest pages first, because they become final after a few more rolls.
    let newest_first = (1..=40)
        .rev()
        .flat_map(|before| [1, 5, 20].map(|limit| format!("?before={before}&limit={limit}")));
    let others = ["?after=5&limit=20", "?after=5&before=30", "/7"].map(String::from);
    let look = |query: &str| get(&instance.url(&format!("/api/rolls{query}")), &[]);
    let pages: Vec<_> = newest_first.chain(others).map(|query| (look(&query), query)).collect();
    let (kept, open): (Vec<_>, Vec<_>) =
        pages.into_iter().partition(|(page, _)| page.header("cache-control") == CLOSED);
    let newest = look("?limit=5");
    let head = instance.stored().len();
    wait_for("40 rolls more", || (instance.stored().len() >= head + 40).then_some(()));
    for (page, query) in &kept {
        let now = look(query);
        assert_eq!(now.header("link"), page.header("link"), "{query}");
        assert_eq!(now.body, page.body, "{query}");
    }
    let (n_final, n_open) = (kept.len(), open.len());
    assert!(n_final > 40 && n_open > 3, "{n_final} pages are final, {n_open} are not");
    assert_ne!(newest.body, look("?limit=5").body, "expected newer rolls");
}

#[test]
fn statistics_are_sent_again_only_after_a_new_roll() {
    let (instance, mut server) = quiet_instance(1);
    let figures = |known: &str| get(&instance.url("/api/stats"), &[("If-None-Match", known)]);
    let first = figures("");
    assert_eq!((first.status, first.header("cache-control")), (200, "no-cache"));
    assert_eq!(figures(first.header("etag")).status, 304);
    server.stop();
    instance.configure("every = '50ms'");
    let _server = instance.start();
    wait_for("a new roll", || (newest(&instance) > 121).then_some(()));
    assert_eq!(figures(first.header("etag")).status, 200);
    assert_eq!(get(&instance.url("/api/stats?die=1D6"), &[]).status, 422);
}

#[test]
fn errors_of_the_api_are_json_that_names_the_value() {
    let (instance, _server) = quiet_instance(21);
    let table = [
        ("/api/rolls?limit=0", 422, "limit: expected 1 to 1000 rolls, got `0`"),
        ("/api/rolls?limit=1001", 422, "got `1001`"),
        ("/api/rolls?limit=x", 422, "got `x`"),
        ("/api/rolls?after=x", 422, "after: expected a cursor"),
        ("/api/rolls?since=", 422, "since: expected a time ago"),
        ("/api/rolls?before=-1", 422, "got `-1`"),
        ("/api/rolls?since=soon", 422, "since: expected a time ago"),
        ("/api/rolls?befor=1", 422, "got `befor`"),
        ("/api/rolls?after=1&after=2", 422, "the parameter `after` once"),
        ("/api/rolls?after=122", 409, "got `122`"),
        ("/api/rolls?after=60-1", 409, "got `60-1`"),
        ("/api/rolls?before=60-1", 409, "got `60-1`"),
        ("/api/rolls.csv?after=122", 409, "got `122`"),
        ("/api/rolls.csv?limit=5", 422, "got `limit`"),
        ("/api/rolls.ndjson?since=-1m", 422, "got `-1m`"),
        ("/api/rolls/122", 404, "the newest is 121"),
        ("/api/rolls/20", 410, "the oldest that is kept is 21"),
        ("/api/rolls/x", 422, "got `x`"),
        ("/api/rolls/60?x=1", 422, "got `x`"),
        ("/api/nothing", 404, "/api/nothing"),
    ];
    for (path, status, text) in table {
        // Whatever media type the client prefers.
        for accept in ["text/html", "*/*", "application/json"] {
            let answer = get(&instance.url(path), &[("Accept", accept)]);
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
            assert_eq!(answer.header("content-type"), "application/json", "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            let message = body["error"]["message"].as_str().unwrap();
            assert!(message.contains(text), "{path}: {message}");
            assert!(body["error"]["code"].is_string(), "{path}: {body}");
        }
    }
}

#[test]
fn the_api_is_read_only_and_open_to_pages_of_any_origin() {
    let (instance, _server) = quiet_instance(1);
    let known = ["/api/rolls", "/api/rolls/1", "/api/rolls.csv", "/api/stats", "/api/openapi.json"];
    for path in known {
        let url = instance.url(path);
        let got = get(&url, &[("Origin", "https://elsewhere.example")]);
        assert_eq!(got.header("access-control-allow-origin"), "*", "{path}");
        assert!(got.header("access-control-expose-headers").contains("Link"), "{path}");
        let head = http().head(&url).call().unwrap();
        assert_eq!(head.status(), 200, "{path}");
        for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"] {
            let request = ureq::http::Request::builder().method(method).uri(&url);
            let answer = http().run(request.body(()).unwrap()).unwrap();
            let expected = if method == "OPTIONS" { 204 } else { 405 };
            assert_eq!(answer.status(), expected, "{method} {path}");
            let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("allow"), Some("GET, HEAD, OPTIONS"), "{method} {path}");
            assert_eq!(header("access-control-allow-origin"), Some("*"), "{method} {path}");
            let may_ask = header("access-control-allow-headers")
                .is_some_and(|names| method == "OPTIONS" && names.contains("If-None-Match"));
            assert_eq!(may_ask, method == "OPTIONS", "{method} {path}");
        }
    }
    assert_eq!(http().post(instance.url("/api/nothing")).send_empty().unwrap().status(), 404);
}

#[test]
fn files_have_every_roll_once_and_end_at_the_newest_roll_of_the_request() {
    let (instance, _server) = quiet_instance(21);
    let expected = lines(&instance);
    let ndjson = |query: &str| {
        let file = get(&instance.url(&format!("/api/rolls.ndjson{query}")), &[]);
        assert_eq!(file.header("content-type"), "application/x-ndjson");
        let body: Vec<String> = file.body.lines().map(String::from).collect();
        (file.header("rollcast-last").to_string(), body)
    };
    assert_eq!(ndjson(""), ("121".into(), expected.clone()));
    assert_eq!(ndjson("?after=100"), ("121".into(), expected[80..].to_vec()));
    assert_eq!(ndjson("?after=100&before=111"), ("110".into(), expected[80..90].to_vec()));
    assert_eq!(ndjson("?since=2026-11-23T00:01:00Z").1, expected[39..].to_vec());
    assert_eq!(ndjson("?after=121"), ("0".into(), vec![]));

    let csv = get(&instance.url("/api/rolls.csv?before=23"), &[]);
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"rolls.csv\"");
    let rows = "id,rolled_at,1D6,1D20\r\n\
                21,2026-11-23T00:00:21.123Z,4,2\r\n\
                22,2026-11-23T00:00:22.123Z,5,3\r\n";
    assert_eq!(csv.body, rows);
}

#[test]
fn a_csv_file_has_a_column_for_every_die_that_was_ever_rolled() {
    let (instance, mut server) = quiet_instance(119);
    server.stop();
    instance.configure("every = '1h'\ndice = ['2D6']");
    let _server = instance.start();
    wait_for("roll 122", || (instance.stored().last().unwrap().0 == 122).then_some(()));
    let csv = get(&instance.url("/api/rolls.csv?after=119"), &[]).body;
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let columns: Vec<String> = rows.headers().unwrap().iter().map(String::from).collect();
    assert_eq!(columns, ["id", "rolled_at", "1D6", "1D20", "2D6"]);
    let rows: Vec<Vec<String>> = rows.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    for (row, (id, rolled_at, dice)) in rows.iter().zip(instance.stored().into_iter().skip(1)) {
        let dice: Value = serde_json::from_str(&dice).unwrap();
        let cell = |die: &str| dice.get(die).map_or(String::new(), Value::to_string);
        let expected = [id.to_string(), rolled_at, cell("1D6"), cell("1D20"), cell("2D6")];
        assert_eq!(row[..], expected);
        let harmless = |c: char| c.is_ascii_digit() || "-:.TZ".contains(c);
        assert!(row.iter().all(|cell| !cell.starts_with('-') && cell.chars().all(harmless)));
    }
}

#[test]
fn a_download_of_a_large_history_costs_no_memory() {
    let instance = Instance::new("every = '1h'\ndice = ['1D6', '1D20']");
    instance.fill(400_000, 1);
    let server = instance.start();
    wait_for("the first roll", || newest(&instance).eq(&400_001).then_some(()));
    let peak = || peak_kilobytes(&server);
    // Fill caches first, so that their memory does not count.
    get(&instance.url("/api/rolls.csv?before=20000"), &[]);
    let before = peak();
    for (path, n_rows) in [("/api/rolls.csv", 400_002), ("/api/rolls.ndjson", 400_001)] {
        let mut body = http().get(instance.url(path)).call().unwrap().into_body().into_reader();
        let (mut piece, mut n_lines) = (vec![0; 64 << 10], 0);
        loop {
            match body.read(&mut piece).unwrap() {
                0 => break,
                n => n_lines += piece[..n].iter().filter(|byte| **byte == b'\n').count(),
            }
        }
        assert_eq!(n_lines, n_rows, "{path}");
    }
    let grown = peak() - before;
    // The files are 16 and 30 MB.
    assert!(grown < 8_000, "expected no more memory at its peak, it grew by {grown} kB");
}

#[test]
fn pages_find_a_database_connection_during_many_downloads() {
    let instance = Instance::new("every = '1h'");
    instance.fill(50_000, 1);
    let _server = instance.start();
    let n_begun = Arc::new(AtomicUsize::new(0));
    // Each ends with the server, if not before.
    for _ in 0..300 {
        let (address, n_begun) = (("127.0.0.1", instance.port()), n_begun.clone());
        thread::spawn(move || {
            let mut download = TcpStream::connect(address).unwrap();
            let request = "GET /api/rolls.ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n";
            download.write_all(request.as_bytes()).unwrap();
            let mut piece = vec![0; 64 << 10];
            while download.read(&mut piece).is_ok_and(|n_bytes| n_bytes > 0) {
                n_begun.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    wait_for("downloads", || (n_begun.load(Ordering::Relaxed) > 600).then_some(()));
    for _ in 0..20 {
        let page = get(&instance.url("/rolls?before=1000"), &[]);
        assert_eq!(page.status, 200, "{}", page.body);
    }
}

/// A download whose client stops reading, and the first bytes of the response.
fn begin_download(instance: &Instance, address: &str) -> (TcpStream, String) {
    let mut socket = instance.connect();
    let request = "GET /api/rolls.ndjson HTTP/1.1\r\nHost: localhost\r\nX-Real-IP: ";
    socket.write_all(format!("{request}{address}\r\n\r\n").as_bytes()).unwrap();
    let mut words = [0; 64];
    socket.read_exact(&mut words).unwrap();
    (socket, String::from_utf8_lossy(&words).into())
}

#[test]
fn downloads_are_limited_in_total_and_per_address_and_release_their_permits() {
    let instance = Instance::new("every = '1h'");
    // A file larger than all buffers.
    instance.fill(200_000, 1);
    let _server = instance.start();
    let mut open = Vec::new();
    for n in 0..64 {
        let (socket, words) = begin_download(&instance, &format!("192.0.2.{}", 1 + n / 8));
        assert!(words.starts_with("HTTP/1.1 200 "), "download {n}: {words}");
        open.push(socket);
        if n == 7 {
            let answer = get(&instance.url("/api/rolls.csv"), &[("X-Real-IP", "192.0.2.1")]);
            assert_eq!(answer.status, 503);
            assert!(answer.says("All 8 downloads of your address are in use"), "{}", answer.body);
            assert!((15..=45).contains(&answer.header("retry-after").parse::<u64>().unwrap()));
        }
    }
    let answer = get(&instance.url("/api/rolls.csv"), &[("X-Real-IP", "192.0.2.99")]);
    assert_eq!(answer.status, 503);
    assert!(answer.says("All 64 downloads are in use"), "{}", answer.body);
    for path in ["/", "/rolls", "/api/rolls"] {
        assert_eq!(get(&instance.url(path), &[("X-Real-IP", "192.0.2.1")]).status, 200, "{path}");
    }
    drop(open.pop());
    wait_for("the released permit", || {
        let (_, words) = begin_download(&instance, "192.0.2.99");
        words.starts_with("HTTP/1.1 200 ").then_some(())
    });
}

fn newest(instance: &Instance) -> i64 {
    instance.sqlite().query_row("select max(id) from rolls", [], |row| row.get(0)).unwrap()
}

/// The peak memory of a server in kB (`VmHWM`).
pub fn peak_kilobytes(server: &Server) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_stream_starts_at_a_time() {
    let (instance, _server) = quiet_instance(21);
    let first = |query: &str, last_event_id: Option<&str>| {
        let url = instance.url(&format!("/stream/{query}"));
        let mut stream = Stream::open(&url, Ask { last_event_id, post: false }).unwrap();
        let sync = stream.find_map(|frame| frame.sync()).unwrap();
        let replay = sync["replay"].as_u64();
        let roll = match replay {
            Some(1..) => stream.rolls(1)[0].0.split('-').next().unwrap().to_string(),
            _ => String::new(),
        };
        (sync["mode"].as_str().unwrap().to_string(), replay, roll)
    };
    let resumed = |replay, roll: &str| ("resumed".to_string(), Some(replay), roll.to_string());
    assert_eq!(first("?since=2026-11-23T00:01:00Z", None), resumed(62, "60"));
    assert_eq!(first("?since=10m", None), resumed(1, "121"));
    assert_eq!(first("?since=2026-11-01", None), resumed(101, "21"));
    assert_eq!(first("?since=2999-01-01", None), resumed(0, ""));
    assert_eq!(first("?since=10m&after=118", None), resumed(3, "119"), "`after` overrides `since`");
    assert_eq!(first("?since=10m", Some("117")), resumed(4, "118"), "the header overrides both");
    let malformed = ("reset".to_string(), Some(0), String::new());
    assert_eq!(first("?since=soon", None), malformed);
}

#[test]
fn the_document_describes_every_endpoint_and_the_page_shows_it() {
    let (instance, _server) = quiet_instance(1);
    let document = get(&instance.url("/api/openapi.json"), &[]);
    let document: Value = serde_json::from_str(&document.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let moved = get(&instance.url("/api"), &[]);
    assert_eq!((moved.status, moved.header("location")), (308, "/developers#reference"));
    let page = get(&instance.url("/developers"), &[]);
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    for (path, item) in paths {
        assert!(page.body.contains(&format!("<code>GET {path}</code>")), "{path} is missing");
        let answer = get(&instance.url(&path.replace("{id}", "60")), &[]);
        assert_eq!(answer.status, 200, "{path}");
        let described = item["get"]["responses"]["200"]["content"].as_object().unwrap();
        let content_type = answer.header("content-type").split(';').next().unwrap().to_string();
        assert!(described.contains_key(&content_type), "{path}: {content_type}");
        for parameter in item["get"]["parameters"].as_array().unwrap_or(&Vec::new()) {
            assert!(parameter["description"].is_string(), "{path}: {parameter}");
        }
    }
    let limit = &document["paths"]["/api/rolls"]["get"]["parameters"][3]["schema"];
    assert_eq!(limit, &json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}));
}

#[test]
fn an_unreadable_history_is_an_error_and_not_an_empty_page() {
    let instance = Instance::new("every = '1h'");
    instance.fill(3_000, 1);
    // Save the statistics before the database is damaged.
    instance.start().stop();
    // Damage the database page of roll 1,000, which the server does not read at its start.
    let mut file = std::fs::read(instance.database()).unwrap();
    let time = b"2026-11-23T00:16:40.123Z";
    let at = file.windows(time.len()).position(|bytes| bytes == time).unwrap() / 4096 * 4096;
    file[at..at + 4096].fill(0);
    std::fs::write(instance.database(), file).unwrap();
    let _server = instance.start();
    let answer = get(&instance.url("/api/rolls?after=900"), &[]);
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    // The header shows that the file is truncated.
    let file = get(&instance.url("/api/rolls.ndjson?after=900&before=2000"), &[]);
    assert_eq!((file.header("rollcast-last"), file.body.as_str()), ("1999", ""));
}
