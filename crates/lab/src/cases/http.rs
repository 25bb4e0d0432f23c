//! The forms in which HTTP carries a stream.

use std::time::Duration;

use crate::case::Case;
use crate::rule::{BODY_LENGTH, CHUNKS, CODINGS, FIELDS, INTERFACE, INTERIM, PROCESSING};
use crate::script::{Framing, Reply, Step};

pub fn cases() -> Vec<Case> {
    let one_event = |case: Case, reply: Reply| {
        case.reply(reply.write("data: a\n\n").end_of_case()).to_the_end().reports(["a"])
    };
    let content_type = |id, what, content_type: &str| {
        one_event(Case::must(id, what, PROCESSING).http(), Reply::with_type(content_type))
    };
    let version_1_0 = "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    let slow = "HTTP/1.1 200 OK\r\ncontent-type:text/event-stream\r\ntransfer-encoding:chunked\r\n\
                access-control-allow-origin:*\r\nconnection:close\r\n\r\n";
    let mut gzip = Reply::stream();
    gzip.gzip = true;
    let mut interim = Reply::stream();
    interim.head.insert(0, Step::Write(early.into()));
    vec![
        one_event(
            Case::must("h-close", "the body ends with the connection (HTTP/1.1)", BODY_LENGTH),
            Reply::until_close(),
        ),
        one_event(
            Case::must("h-10", "the response is HTTP/1.0", BODY_LENGTH),
            Reply::raw(
                Framing::Plain,
                vec![Step::Write(
                    version_1_0
                        .replace("\r\n\r\n", "\r\nAccess-Control-Allow-Origin: *\r\n\r\n")
                        .into(),
                )],
            ),
        ),
        content_type("h-ctype-case", "Content-Type has capitals", "TEXT/Event-Stream"),
        content_type(
            "h-ctype-param",
            "Content-Type has parameters",
            "text/event-stream; charset=utf-8; x=\"y;z\"",
        ),
        content_type(
            "h-ctype-semicolon",
            "Content-Type ends with a semicolon",
            "text/event-stream;",
        ),
        Case::must(
            "h-chunks",
            "chunk sizes have extensions, leading zeros and capital hex digits, and arrive in pieces",
            CHUNKS,
        )
        .reply(chunks())
        .to_the_end()
        .reports(["a1", "b"]),
        one_event(
            Case::must(
                "h-slow-head",
                "headers in lower case, without spaces, byte by byte",
                FIELDS,
            ),
            Reply::raw(
                Framing::Chunked,
                vec![Step::Bytewise(slow.into(), Duration::from_millis(2))],
            ),
        ),
        one_event(
            Case::must("h-103", "103 Early Hints comes before the response", INTERIM),
            interim,
        ),
        Case::must("h-gzip", "gzip, flushed after each event, if the client accepts gzip", CODINGS)
            .reply(
                gzip.write("data: a\n\n")
                    .step(Step::UntilHeard(1))
                    .write("data: b\n\n")
                    .end_of_case(),
            )
            .to_the_end()
            .reports(["a", "b"]),
        one_event(
            Case::must(
                "h-request",
                "the first request is a GET with `Accept: text/event-stream`, without Last-Event-ID",
                INTERFACE,
            )
            .http()
            .checks_first_request(),
            Reply::stream(),
        ),
    ]
}

/// A body whose chunks are unusual. It ends with the event that ends the case.
fn chunks() -> Reply {
    let Step::Write(head) = Reply::stream().head.remove(0) else {
        unreachable!("a head is a write")
    };
    let mut reply = Reply::raw(Framing::Plain, vec![Step::Write(head)]);
    let pieces: [&[u8]; 6] = [
        b"0007;name=value\r\ndata: a\r\n0",
        b"3;x=\"y;z\"\r\n1\n",
        b"\n\r",
        b"\n00000000A\r\ndata: b\n\n:\r\n1;",
        b"a\r\n\n\r\n",
        b"13\r\ndata: end of case\n\n\r\n",
    ];
    reply = reply.pieces(&pieces);
    reply.ends(crate::script::End::Hold)
}
