//! The stream as a client sees it: its start, methods, headers, limits and end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::common::events::{Ask, Frame, Stream};
use crate::common::{Door, Instance, Server, at_each_door, http, wait_for};
use crate::pages::wait_for_head;

at_each_door!(
    a_stream_starts_where_the_cursor_table_specifies,
    the_last_event_id_header_overrides_the_query,
    a_request_to_resume_is_never_silently_live,
    a_post_opens_the_same_stream_with_or_without_a_final_slash,
    the_headers_prevent_buffering_and_head_sends_only_them,
    other_methods_get_the_allowed_ones_and_pages_of_any_origin_may_listen,
    live_rolls_follow_the_replay_without_gap_or_repeat,
    an_idle_stream_sends_comments_without_an_id,
    a_closed_idle_stream_releases_its_permit_at_the_next_heartbeat,
    a_roll_is_sent_in_one_chunk_and_many_missed_rolls_share_one,
    a_stop_ends_every_stream_with_a_retry_and_a_closing_event,
    a_stop_does_not_wait_for_clients_that_never_read,
    one_line_is_logged_when_a_stream_opens_and_one_when_it_closes,
    an_address_over_its_limit_gets_a_busy_event_until_a_stream_closes,
    a_client_over_the_total_limit_gets_a_busy_event,
);

/// A server whose database holds rolls 41 to 100; rolls 1 to 40 are pruned. It has just stored roll
/// 101 and makes no other roll during the test.
pub fn quiet_instance(door: Door) -> (Instance, Server) {
    let instance = door.instance("every = '1h'");
    instance.fill(100, 41);
    let server = instance.start();
    wait_for_head(&instance, 101);
    (instance, server)
}

/// The id of a stored roll as the stream writes it.
fn cursor(instance: &Instance, id: i64) -> String {
    let (_, rolled_at, _) = instance.stored().into_iter().find(|roll| roll.0 == id).unwrap();
    let rolled_at: jiff::Timestamp = rolled_at.parse().unwrap();
    format!("{id}-{}", rolled_at.as_millisecond())
}

/// Opens the stream and compares its first frames: a retry of 1 to 5 s, `sync`, then the stored
/// rolls `from` to 101.
fn check_first_frames(instance: &Instance, query: &str, ask: Ask<'_>, sync: Value, from: i64) {
    let stored: Vec<_> = instance.stored().into_iter().filter(|roll| roll.0 >= from).collect();
    let mut stream = Stream::open(&instance.url(&format!("/stream/{query}")), ask).unwrap();
    let frames = stream.frames(2 + stored.len());
    let case = format!("{query} {:?}", ask.last_event_id);
    let Frame::Retry(retry) = frames[0] else {
        panic!("{case}: expected a retry first, got {frames:#?}")
    };
    assert!((1_000..=5_000).contains(&retry), "{case}: retry {retry} ms is not 1 to 5 s");
    assert_eq!(frames[1].sync(), Some(sync), "{case}: the sync");
    for (frame, (id, rolled_at, dice)) in frames[2..].iter().zip(stored) {
        let rolled_at: jiff::Timestamp = rolled_at.parse().unwrap();
        let expected = Frame::Event {
            name: "message".into(),
            id: Some(format!("{id}-{}", rolled_at.as_millisecond())),
            data: dice,
        };
        assert_eq!(*frame, expected, "{case}");
    }
}

/// The rows of the cursor table for a [`quiet_instance`]: a query, its `sync`, and the first roll.
pub fn cursor_table(instance: &Instance) -> Vec<(String, Value, i64)> {
    let head = cursor(instance, 101);
    let resumed =
        |replay: u64| json!({"mode": "resumed", "head": head, "replay": replay, "lost": 0});
    let pruned = |lost: u64| json!({"mode": "reset", "reason": "pruned", "head": head, "replay": 61, "lost": lost});
    let reset = |reason: &str| json!({"mode": "reset", "reason": reason, "head": head, "replay": 0, "lost": null});
    let live = json!({"mode": "live", "head": head, "replay": 0, "lost": 0});
    let millis = |id: i64| (1_795_392_000 + id) * 1000 + 123;
    vec![
        // No cursor, or an empty one.
        ("".to_string(), live.clone(), 102),
        ("?after=".to_string(), live, 102),
        // A stored roll, with and without its timestamp.
        (format!("?after={}", cursor(instance, 90)), resumed(11), 91),
        ("?after=90".into(), resumed(11), 91),
        (format!("?after={}", cursor(instance, 41)), resumed(60), 42),
        (format!("?after={head}"), resumed(0), 102),
        ("?after=101".into(), resumed(0), 102),
        // The roll before the oldest stored one: no roll is lost.
        (format!("?after=40-{}", millis(40)), resumed(61), 41),
        ("?after=40".into(), resumed(61), 41),
        // Older: the rolls in between were pruned.
        (format!("?after=39-{}", millis(39)), pruned(1), 41),
        ("?after=1".into(), pruned(39), 41),
        ("?after=0".into(), pruned(40), 41),
        // Another history: an id after the head, or a different timestamp.
        ("?after=102".into(), reset("unknown"), 102),
        (format!("?after=102-{}", millis(102)), reset("unknown"), 102),
        ("?after=999999999999999999".into(), reset("unknown"), 102),
        ("?after=9223372036854775807".into(), reset("unknown"), 102),
        ("?after=9223372036854775808".into(), reset("unknown"), 102),
        ("?after=99999999999999999999999999".into(), reset("unknown"), 102),
        ("?after=90-9223372036854775808".into(), reset("unknown"), 102),
        // Roll 40 is pruned, so its timestamp cannot be checked.
        ("?after=40-99999999999999999999".into(), resumed(61), 41),
        (format!("?after=90-{}", millis(90) + 1), reset("unknown"), 102),
        ("?after=101-1".into(), reset("unknown"), 102),
        // Not a cursor.
        ("?after=abc".into(), reset("malformed"), 102),
        ("?after=-1".into(), reset("malformed"), 102),
        ("?after=90-".into(), reset("malformed"), 102),
        ("?after=090".into(), reset("malformed"), 102),
        ("?after=90%20".into(), reset("malformed"), 102),
        ("?after=0-5".into(), reset("malformed"), 102),
        ("?after=%F0%9F%8E%B2".into(), reset("malformed"), 102),
    ]
}

/// The value of `Last-Event-ID` that says the same as a query; `None` if a header cannot.
pub fn header_of(query: &str) -> Option<&str> {
    let after = query.strip_prefix("?after=")?;
    (!after.contains('%')).then_some(after)
}

fn a_stream_starts_where_the_cursor_table_specifies(door: Door) {
    let (instance, _server) = quiet_instance(door);
    for (query, sync, from) in cursor_table(&instance) {
        check_first_frames(&instance, &query, Ask::default(), sync.clone(), from);
        if let Some(after) = header_of(&query) {
            let header = Ask { last_event_id: Some(after), ..Ask::default() };
            check_first_frames(&instance, "", header, sync, from);
        }
    }
}

fn the_last_event_id_header_overrides_the_query(door: Door) {
    let (instance, _server) = quiet_instance(door);
    let head = cursor(&instance, 101);
    let sync = json!({"mode": "resumed", "head": head, "replay": 1, "lost": 0});
    let newer = cursor(&instance, 100);
    for query in ["?after=50", "?after=abc", "?after=999", ""] {
        let ask = Ask { last_event_id: Some(&newer), ..Ask::default() };
        check_first_frames(&instance, query, ask, sync.clone(), 101);
    }
    // An empty header is ignored, so the query counts.
    let empty = Ask { last_event_id: Some(""), ..Ask::default() };
    check_first_frames(&instance, "?after=100", empty, sync.clone(), 101);
    // A malformed header is not replaced by the query.
    let broken = Ask { last_event_id: Some("x"), ..Ask::default() };
    let malformed = json!({
        "mode": "reset", "reason": "malformed", "head": head, "replay": 0, "lost": null
    });
    check_first_frames(&instance, "?after=100", broken, malformed, 102);
}

fn a_request_to_resume_is_never_silently_live(door: Door) {
    let (instance, _server) = quiet_instance(door);
    let head = cursor(&instance, 101);
    let resumed = json!({"mode": "resumed", "head": head, "replay": 2, "lost": 0});
    let malformed = json!({
        "mode": "reset", "reason": "malformed", "head": head, "replay": 0, "lost": null
    });
    for query in
        ["?lastEventId=99", "?last-event-id=99", "?LASTEVENTID=99", "?after=5&lastEventId=99&r=1"]
    {
        check_first_frames(&instance, query, Ask::default(), resumed.clone(), 100);
    }
    for query in ["?atfer=99", "?after=99&x=1", "?after=99&after=98"] {
        check_first_frames(&instance, query, Ask::default(), malformed.clone(), 102);
    }
    let first_sync = |content_type: &str, body: &str| {
        let request = http().post(instance.url("/stream/")).header("Content-Type", content_type);
        let answer = request.header("Accept", "text/event-stream").send(body).unwrap();
        let mut stream = Stream::read(answer.into_body().into_reader());
        stream.find_map(|frame| frame.sync()).unwrap()
    };
    let form = "application/x-www-form-urlencoded";
    assert_eq!(first_sync(form, "last_event_id=99"), resumed);
    assert_eq!(first_sync(form, "after=99&id=1"), malformed);
    assert_eq!(first_sync(form, &format!("after={}", "9".repeat(5_000))), malformed, "too long");
    assert_eq!(first_sync("application/json", r#"{"after":99}"#), malformed);
}

fn a_post_opens_the_same_stream_with_or_without_a_final_slash(door: Door) {
    let (instance, _server) = quiet_instance(door);
    let head = cursor(&instance, 101);
    let sync = json!({"mode": "resumed", "head": head, "replay": 2, "lost": 0});
    let post = Ask { post: true, ..Ask::default() };
    check_first_frames(&instance, "?after=99", post, sync.clone(), 100);
    let mut stream = Stream::open(&instance.url("/stream?after=99"), Ask::default()).unwrap();
    assert_eq!(stream.frames(2)[1].sync(), Some(sync.clone()));
    let by_header = Ask { post: true, last_event_id: Some("99") };
    check_first_frames(&instance, "", by_header, sync, 100);
}

fn the_headers_prevent_buffering_and_head_sends_only_them(door: Door) {
    // No other stream may open, because the test counts them.
    let instance = door.instance("every = '1h'");
    let mut server = instance.start();
    let expected = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "*"),
    ];
    for path in ["/stream/", "/stream", "/stream/?after=1"] {
        let url = instance.url(path);
        let got = http().get(&url).call().unwrap();
        let mut head = http().head(&url).call().unwrap();
        for (name, value) in expected {
            for response in [&got, &head] {
                let values: Vec<_> = response.headers().get_all(name).iter().collect();
                assert_eq!(values, [value], "{path}: {name}");
            }
        }
        assert!(got.headers().get("expires").is_none(), "{path}: cache-control is enough");
        assert_eq!(head.body_mut().read_to_string().unwrap(), "", "{path}: HEAD has no body");
    }
    server.stop();
    let log = server.log();
    let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("stream opened"), 3, "HEAD opened a stream: {log:#?}");
    assert_eq!((count("GET /stream"), count("HEAD /stream")), (3, 3), "access lines: {log:#?}");
}

fn other_methods_get_the_allowed_ones_and_pages_of_any_origin_may_listen(door: Door) {
    let (instance, _server) = quiet_instance(door);
    let url = instance.url("/stream/");
    for method in ["PUT", "PATCH", "DELETE"] {
        let request = ureq::http::Request::builder().method(method).uri(&url).body(()).unwrap();
        let response = http().run(request).unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "GET, HEAD, POST, OPTIONS", "{method}");
    }
    let response = http().options(&url).call().unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("Last-Event-ID"), "a client may resume, got {allowed}");
}

fn live_rolls_follow_the_replay_without_gap_or_repeat(door: Door) {
    let instance = door.instance("every = '5ms'");
    instance.fill(3_000, 1);
    let _server = instance.start();
    // Far behind the window in memory, so the database supplies the first rolls.
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    let rolls = stream.rolls(3_200);
    let stored = instance.stored();
    for ((id, dice), (stored_id, rolled_at, stored_dice)) in rolls.iter().zip(&stored) {
        let rolled_at: jiff::Timestamp = rolled_at.parse().unwrap();
        assert_eq!(*id, format!("{stored_id}-{}", rolled_at.as_millisecond()));
        assert_eq!(dice, stored_dice, "roll {id}");
    }
}

fn an_idle_stream_sends_comments_without_an_id(door: Door) {
    let instance = door.instance("every = '1h'\nheartbeat = '1s'");
    let _server = instance.start();
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    assert_eq!(stream.rolls(1).len(), 1);
    assert_eq!(stream.frames(2), [Frame::Comment, Frame::Comment]);
}

fn a_closed_idle_stream_releases_its_permit_at_the_next_heartbeat(door: Door) {
    let instance = door.instance("every = '1h'\nheartbeat = '1s'\nmax_streams = 1");
    let _server = instance.start();
    let open = || Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    let mut stream = open();
    stream.frames(2);
    // Control: heartbeats do not release the permit of an open stream.
    let is_comment = |frame: &Frame| *frame == Frame::Comment;
    assert_eq!(stream.by_ref().filter(is_comment).take(2).count(), 2);
    assert_eq!(busy_frames(&instance).1, json!({"reason": "total", "limit": 1}));

    drop(stream);
    let mut next = wait_for("a free permit", || {
        let mut stream = open();
        let is_open = stream.find_map(|frame| match frame {
            Frame::Event { name, .. } => Some(name == "sync"),
            _ => None,
        });
        (is_open == Some(true)).then_some(stream)
    });
    // The new stream works.
    assert_eq!(next.find(is_comment), Some(Frame::Comment));
}

/// The first `n` chunks of a chunked response.
fn chunks(instance: &Instance, path: &str, n: usize) -> Vec<String> {
    let mut socket = BufReader::new(instance.connect());
    write!(socket.get_mut(), "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        socket.read_line(&mut line).unwrap();
    }
    let mut chunk = || {
        let mut size = String::new();
        socket.read_line(&mut size).unwrap();
        let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
        socket.read_exact(&mut chunk).unwrap();
        chunk.truncate(chunk.len() - 2);
        String::from_utf8(chunk).unwrap()
    };
    (0..n).map(|_| chunk()).collect()
}

fn a_roll_is_sent_in_one_chunk_and_many_missed_rolls_share_one(door: Door) {
    let instance = door.instance("every = '50ms'");
    let _server = instance.start();
    // Few chunks, so that no roll reaches the end of the buffer, even if two rolls share a chunk.
    let live = chunks(&instance, "/stream/", 9);
    assert!(live[0].starts_with("retry:") && live[0].contains("event: sync"), "{live:?}");
    let is_whole = |chunk: &String| chunk.starts_with("id:") && chunk.ends_with("\n\n");
    assert!(live[1..].iter().all(is_whole), "expected whole events in each chunk: {live:#?}");

    wait_for("some rolls", || (instance.stored().len() > 30).then_some(()));
    let missed = chunks(&instance, "/stream/?after=0", 2).concat();
    let n_rolls = missed.matches("\nid:").count();
    assert!(n_rolls > 20, "expected many rolls in two chunks, got {n_rolls}: {missed}");
}

fn a_stop_ends_every_stream_with_a_retry_and_a_closing_event(door: Door) {
    let instance = door.instance("every = '1h'");
    let mut server = instance.start();
    let mut streams: Vec<Stream> =
        (0..20).map(|_| Stream::open(&instance.url("/stream/"), Ask::default()).unwrap()).collect();
    for stream in &mut streams {
        assert!(stream.frames(2)[1].sync().is_some());
    }
    server.stop();
    let mut retries = Vec::new();
    for stream in streams {
        // A roll may come first; only the end matters.
        let frames: Vec<Frame> = stream.collect();
        let [.., Frame::Retry(retry), closing] = frames.as_slice() else {
            panic!("expected a retry and a closing at the end of the stream, got {frames:?}")
        };
        assert_eq!(closing.closing().as_deref(), Some("shutdown"), "{closing:?}");
        let retry = *retry;
        assert!((1_000..=5_000).contains(&retry), "retry {retry} ms is not 1 to 5 s");
        retries.push(retry);
    }
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > 10, "expected different retries for 20 clients, got {retries:?}");
}

fn a_stop_does_not_wait_for_clients_that_never_read(door: Door) {
    let instance = door.instance("every = '5ms'");
    // More than the kernel's buffers hold, so that the streams of these clients stall.
    instance.fill(100_000, 1);
    for fault in [false, true] {
        let mut server = instance.start();
        let stalled: Vec<TcpStream> = (0..5)
            .map(|_| {
                let mut socket = instance.connect();
                socket.write_all(b"GET /stream/?after=0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                socket
            })
            .collect();
        // Other streams continue meanwhile.
        let mut healthy = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
        healthy.rolls(50);
        if fault {
            std::fs::remove_file(instance.database()).unwrap();
        } else {
            server.signal("TERM");
        }
        let expected = if fault { 1 } else { 0 };
        assert_eq!(server.wait().code(), Some(expected), "{:#?}", server.log().last());
        drop(stalled);
    }
}

fn one_line_is_logged_when_a_stream_opens_and_one_when_it_closes(door: Door) {
    let instance = door.instance("every = '10ms'");
    let mut server = instance.start();
    let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    stream.rolls(3);
    drop(stream);
    http().head(instance.url("/")).call().unwrap();
    let closed = wait_for("the close to be logged", || {
        server.log().into_iter().find(|line| line.contains("stream closed"))
    });
    let closed: Value = serde_json::from_str(&closed).unwrap();
    assert!(closed["n_rolls"].as_u64().unwrap() >= 3, "got {closed}");
    server.stop();
    let count = |text: &str| server.log().iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("stream opened"), count("stream closed")), (1, 1));
    assert_eq!(count("GET /stream/ 200"), 1, "one access line: {:#?}", server.log());
    assert_eq!(count("HEAD / 200"), 1, "expected the method of the request: {:#?}", server.log());
}

/// The retry and the `busy` event of a rejected stream.
fn busy_frames(instance: &Instance) -> (u64, Value) {
    let stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    let frames: Vec<Frame> = stream.collect();
    match frames.as_slice() {
        [Frame::Retry(retry), Frame::Event { name, id: None, data }] if name == "busy" => {
            (*retry, serde_json::from_str(data).unwrap())
        }
        frames => panic!("expected retry, busy and the end, got {frames:#?}"),
    }
}

fn an_address_over_its_limit_gets_a_busy_event_until_a_stream_closes(door: Door) {
    let instance =
        door.instance("every = '50ms'\nmax_streams_per_address = 2\ntrusted_proxies = []");
    let _server = instance.start();
    let open = || {
        let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
        stream.frames(2)[1].sync().map(|_| stream)
    };
    let streams = [open(), open()];
    assert!(streams.iter().all(Option::is_some));
    let (retry, busy) = busy_frames(&instance);
    assert_eq!(busy, json!({"reason": "address", "limit": 2}));
    assert!((15_000..=45_000).contains(&retry), "retry {retry} ms is not 15 to 45 s");

    // A client that does not accept an event stream gets a 503.
    let response = http().get(instance.url("/stream/")).header("Accept", "*/*").call().unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((15..=45).contains(&retry_after), "got {retry_after}");

    drop(streams);
    wait_for("a free permit", || open().map(|_| ()));
}

fn a_client_over_the_total_limit_gets_a_busy_event(door: Door) {
    let instance = door.instance("every = '1h'\nmax_streams = 3");
    let _server = instance.start();
    let mut streams: Vec<Stream> =
        (0..3).map(|_| Stream::open(&instance.url("/stream/"), Ask::default()).unwrap()).collect();
    for stream in &mut streams {
        stream.frames(2);
    }
    assert_eq!(busy_frames(&instance).1, json!({"reason": "total", "limit": 3}));
}
