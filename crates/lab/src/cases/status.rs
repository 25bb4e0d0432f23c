//! Which responses are streams.

use crate::case::{Case, Level, Redirect, Script};
use crate::rule::{INTRODUCTION, PROCESSING, REDIRECTS};
use crate::script::{Framing, Reply};

/// How long a client that must stop is watched: more than the longest default time of a reconnect.
const WATCH_MS: u64 = 6_000;

pub fn cases() -> Vec<Case> {
    let event = "data: this is no event stream\n\n";
    let refused = |id, what, reply: Reply| {
        Case::must(id, what, PROCESSING).http().reply(reply).reports_nothing().stops(1, WATCH_MS)
    };
    let status = |id, what, status| refused(id, what, Reply::status(status).write(event));
    let policy = |case: Case| case.level(Level::Policy);
    let content_type = |id, what, content_type: Option<&str>| {
        let reply = match content_type {
            Some(content_type) => Reply::with_type(content_type),
            None => Reply::with_head(
                Framing::Chunked,
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: chunked\r\n",
            ),
        };
        refused(id, what, reply.write(event))
    };
    let redirect = |id, what, status, is_relative| {
        let stream = Reply::stream().write("data: a\n\n").end_of_case();
        Case::must(id, what, INTRODUCTION)
            .http()
            .script(Script::Redirected(Redirect { status, is_relative }, vec![stream]))
            .reports(["a"])
            .to_the_end()
    };
    vec![
        refused("s-204", "204 stops the client", Reply::empty("204 No Content", "")),
        refused(
            "s-204-ctype",
            "204 with the Content-Type of a stream stops the client",
            Reply::empty("204 No Content", "Content-Type: text/event-stream\r\n"),
        ),
        status("s-201", "201 with a stream as its body is refused", "201 Created"),
        status("s-206", "206 with a stream as its body is refused", "206 Partial Content"),
        policy(status("s-404", "404 with a stream as its body", "404 Not Found")),
        policy(status("s-401", "401 with a stream as its body", "401 Unauthorized")),
        policy(status("s-500", "500 with a stream as its body", "500 Internal Server Error")),
        policy(refused(
            "s-503",
            "503 with Retry-After: 1",
            Reply::with_head(
                Framing::Chunked,
                "HTTP/1.1 503 Service Unavailable",
                "Content-Type: text/event-stream\r\nRetry-After: 1\r\nTransfer-Encoding: chunked\r\n",
            )
            .write(event),
        )),
        content_type("s-ctype-none", "no Content-Type", None),
        content_type("s-ctype-html", "Content-Type: text/html", Some("text/html")),
        content_type("s-ctype-json", "Content-Type: application/json", Some("application/json")),
        content_type("s-ctype-almost", "Content-Type: text/event-streams", Some("text/event-streams")),
        content_type(
            "s-ctype-ndjson",
            "Content-Type has `text/event-stream` only as the value of a parameter",
            Some("application/x-ndjson; was=text/event-stream"),
        ),
        policy(refused(
            "s-no-location",
            "a redirect without Location",
            Reply::empty("302 Found", "Content-Length: 0\r\n"),
        )),
        redirect("s-301", "301 leads to the stream", "301 Moved Permanently", false),
        redirect("s-302", "302 leads to the stream", "302 Found", false),
        redirect("s-303", "303 leads to the stream", "303 See Other", false),
        redirect("s-307", "307 leads to the stream", "307 Temporary Redirect", false),
        redirect("s-308", "308 leads to the stream", "308 Permanent Redirect", false),
        redirect("s-relative", "a relative Location leads to the stream", "302 Found", true),
        Case::must("s-loop", "redirects without end: at most 90 requests in 3 s", REDIRECTS)
            .http()
            .script(Script::Loop)
            .reports_nothing()
            .at_most(90, 3_000),
    ]
}
