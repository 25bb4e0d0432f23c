//! Servers that answer nothing useful: no client may storm them, or give up.

use crate::case::{Case, Level};
use crate::rule::PROCESSING;
use crate::script::{End, Framing, Reply, Step};

pub fn cases() -> Vec<Case> {
    let case = |id, what| Case::must(id, what, PROCESSING).reconnect();
    // A stream, the same failure twice, and the stream again.
    let fails = |id, what, failure: Reply| {
        let first = Reply::stream().write("retry: 200\nid: 1\ndata: a\n\n");
        case(id, what)
            .level(Level::Should)
            .reply(first)
            .reply(failure.clone())
            .reply(failure)
            .reply(Reply::stream().write("data: b\n\n").end_of_case())
            .reports(["a", "b"])
            .to_the_end()
            .last_event_id(4, "1")
            .waits(2, 200)
            .waits(3, 200)
            .waits(4, 200)
    };
    let garbage = vec![Step::Write(b"\x00\x01 no HTTP \xff\r\n\r\n".into())];
    vec![
        case(
            "r-storm-empty",
            "streams that end at once, without `retry`: at most 12 requests in 3 s",
        )
        .reply(Reply::stream())
        .at_most(12, 3_000),
        fails(
            "r-storm-hangup",
            "the server hangs up without an answer: the client waits, and does not give up",
            Reply::hang_up(),
        ),
        fails(
            "r-storm-reset",
            "the server resets the connection at once: the client waits, and does not give up",
            Reply::hang_up().ends(End::Reset),
        ),
        case(
            "r-storm-garbage",
            "the server's answer is not HTTP: at most 40 requests in 3 s, as `retry` allows",
        )
        .level(Level::Should)
        .reply(Reply::stream().write("retry: 100\ndata: a\n\n"))
        .reply(Reply::raw(Framing::Plain, garbage))
        .at_most(40, 3_000),
    ]
}
