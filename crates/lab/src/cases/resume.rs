//! Reconnecting, and with which id.

use std::time::Duration;

use crate::case::{Case, Level, Redirect, Reported, Script};
use crate::feed::{Feed, plain};
use crate::rule::{LAST_EVENT_ID, PROCESSING};
use crate::script::{End, Framing, Reply, Step};

/// The client reconnects soon, so that cases are short.
const SOON: &str = "retry: 50\n";

pub fn cases() -> Vec<Case> {
    let mut cases = ways_to_end();
    cases.extend(which_id());
    cases.extend(refusals());
    cases.extend(whole_feeds());
    cases
}

/// A case for a client that reconnects.
fn resume(id: &'static str, what: &'static str) -> Case {
    Case::must(id, what, PROCESSING).reconnect().to_the_end()
}

/// The first answer: it says when to reconnect, and sends this.
fn first(text: &str) -> Reply {
    Reply::stream().write(format!("{SOON}{text}"))
}

/// The last answer: an event, and the end of the case.
fn last(text: &str) -> Reply {
    Reply::stream().write(text).end_of_case()
}

fn ways_to_end() -> Vec<Case> {
    let two = "id: 1\ndata: a\n\nid: 2\ndata: b\n\n";
    let three = |id, what, first: Reply| {
        resume(id, what)
            .reply(first)
            .reply(last("id: 3\ndata: c\n\n"))
            .reports(["a", "b", "c"])
            .last_event_id(2, "2")
    };
    let one = "id: 1\ndata: a\n\n";
    let promised = format!("{SOON}{one}");
    let length = Reply::with_head(
        Framing::Plain,
        "HTTP/1.1 200 OK",
        &format!("Content-Type: text/event-stream\r\nContent-Length: {}\r\n", promised.len() + 100),
    );
    let malformed = Reply::with_head(
        Framing::Plain,
        "HTTP/1.1 200 OK",
        "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n",
    );
    let chunk = format!("{:x}\r\n{promised}\r\n", promised.len());
    let pause = Duration::from_millis(100);
    vec![
        three("r-resume", "the client reconnects after the end, with the last id", first(two)),
        // A reset discards what has not been read.
        three(
            "r-resume-rst",
            "the client reconnects after a reset, with the last id",
            first(two).step(Step::UntilHeard(2)).ends(End::Reset),
        ),
        three(
            "r-resume-cut",
            "the client reconnects if the last chunk is missing, with the last id",
            first(two).ends(End::Cut),
        ),
        three(
            "r-resume-close",
            "the client reconnects if the body ends with the connection, with the last id",
            Reply::until_close().write(format!("{SOON}{two}")),
        ),
        resume(
            "r-resume-length",
            "the client reconnects if Content-Length promises more, with the last id",
        )
        .reply(length.write(promised).pause(pause).ends(End::Cut))
        .reply(last("data: b\n\n"))
        .reports(["a", "b"])
        .last_event_id(2, "1"),
        resume("r-bad-chunk", "the client reconnects after a malformed chunk, with the last id")
            .level(Level::Should)
            .reply(malformed.write(chunk).pause(pause).write("xyz\r\n").ends(End::Cut))
            .reply(last("data: b\n\n"))
            .reports(["a", "b"])
            .last_event_id(2, "1"),
        resume("r-away", "the server's port is closed for 1.5 s")
            .reply(first(one).ends(End::Away(Duration::from_millis(1_500))))
            .reply(last("data: b\n\n"))
            .reports(["a", "b"])
            .last_event_id(2, "1"),
        resume("r-moved", "after a 307 redirect and the end of the stream, the client reconnects with the last id")
            .script(Script::Redirected(
                Redirect { status: "307 Temporary Redirect", is_relative: false },
                vec![first(one), last("data: b\n\n")],
            ))
            .reports(["a", "b"])
            .last_event_id(3, "1"),
    ]
}

fn which_id() -> Vec<Case> {
    let case =
        |id, what, first: Reply| Case { rule: LAST_EVENT_ID, ..resume(id, what) }.reply(first);
    let then_b = |case: Case| case.reply(last("data: b\n\n")).reports(["a", "b"]);
    let cut = "id: 1\ndata: a\n\nid: 2\ndata: x\n";
    vec![
        then_b(case(
            "r-sticky",
            "the last id stays when later events have none",
            first("id: 1\ndata: a\n\n").write("data: b\n\ndata: c\n\n"),
        ))
        .reports(["a", "b", "c", "b"])
        .last_event_id(2, "1"),
        case("r-id-only", "an id in a block without data counts", first("id: 5\n\n"))
            .reply(last(""))
            .last_event_id(2, "5"),
        case(
            "r-id-empty-data",
            "an id with empty data counts, as in the priming event of the Model Context Protocol",
            first("id: 5\ndata:\n\n"),
        )
        .reply(last(""))
        .last_event_id(2, "5"),
        then_b(case("r-id-cut", "the id of an unfinished event does not count", first(cut)))
            .last_event_id(2, "1"),
        then_b(case(
            "r-id-cut-rst",
            "the id of an event that a reset cuts off does not count",
            first(cut).step(Step::UntilHeard(1)).ends(End::Reset),
        ))
        .last_event_id(2, "1"),
        then_b(case(
            "r-id-reset",
            "after an empty id, the client sends no Last-Event-ID",
            first("id: 1\ndata: a\n\nid:\ndata: b\n\n"),
        ))
        .reports(["a", "b", "b"])
        .no_last_event_id(2),
        then_b(case(
            "r-id-nul",
            "an id that contains NUL does not count",
            first("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n"),
        ))
        .reports(["a", "b", "b"])
        .last_event_id(2, "1"),
        case("r-id-utf8", "the header contains the id in UTF-8", first("id: ü€\ndata: a\n\n"))
            .reply(last(""))
            .reports(["a"])
            .last_event_id(2, "ü€"),
        case(
            "r-id-many",
            "the header follows the newest id over several connections",
            first("id: 1\ndata: a\n\n"),
        )
        .reply(Reply::stream().write("id: 2\ndata: b\n\n"))
        .reply(last("id: 3\ndata: c\n\n"))
        .reports(["a", "b", "c"])
        .last_event_id(2, "1")
        .last_event_id(3, "2"),
        case(
            "r-id-quiet",
            "the client keeps the last id over a connection without events",
            first("id: 1\ndata: a\n\n"),
        )
        .reply(Reply::stream().write(": nothing\n\n"))
        .reply(last(""))
        .reports(["a"])
        .last_event_id(2, "1")
        .last_event_id(3, "1"),
    ]
}

fn refusals() -> Vec<Case> {
    let one = "id: 1\ndata: a\n\n";
    let refused = |id, what, status: &str| {
        Case { level: Level::Info, ..resume(id, what) }
            .reply(first(one))
            .reply(Reply::empty(status, "Content-Length: 0\r\n"))
            .reply(last("data: b\n\n"))
            .reports(["a", "b"])
    };
    vec![
        Case::must("r-204", "204 on a reconnect stops the client", PROCESSING)
            .reconnect()
            .reply(first(one))
            .reply(Reply::empty("204 No Content", ""))
            .reports(["a"])
            .stops(2, 6_000),
        refused(
            "r-502",
            "502 on a reconnect, as when a server restarts behind a proxy (an `EventSource` stops)",
            "502 Bad Gateway",
        ),
        refused(
            "r-401",
            "401 on a reconnect, as when a token expires (an `EventSource` stops)",
            "401 Unauthorized",
        ),
    ]
}

fn whole_feeds() -> Vec<Case> {
    let feed = |id, what, ends: &'static [End]| {
        let feed = Feed { n_events: 30, n_ends: 6, ends, format: plain };
        let all: Vec<Reported> = (1..=feed.n_events).map(|n| Feed::data(n).into()).collect();
        resume(id, what).script(Script::Feed(feed)).reports(all)
    };
    vec![
        feed(
            "r-exactly",
            "30 events, and 6 orderly ends at any byte: each event is reported once, in order",
            &[End::Orderly],
        ),
        feed(
            "r-exactly-cut",
            "30 events, and 6 ends, resets and missing last chunks at any byte: each event is reported once, in order",
            &[End::Cut, End::Orderly, End::Reset],
        ),
    ]
}
