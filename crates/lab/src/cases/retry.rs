//! The `retry` field. An upper bound finds a client that waits the default time of browsers, 3 s or
//! longer, instead of a short one.

use crate::case::{Case, Level};
use crate::rule::{INTERPRETATION, PROCESSING};
use crate::script::{End, Reply};

pub fn cases() -> Vec<Case> {
    let case = |id, what, first: Reply| {
        Case::must(id, what, PROCESSING).reconnect().to_the_end().reply(first)
    };
    let send = |text: &str| Reply::stream().write(text);
    let last = |case: Case| case.reply(Reply::stream().end_of_case());
    // A valid time, and a line that must not replace it.
    let ignored = |id, what, line: &str| {
        let first = send(&format!("retry: 1500\n{line}\ndata: a\n\n"));
        last(Case { rule: INTERPRETATION, ..case(id, what, first) }).reports(["a"]).waits(2, 1_500)
    };
    let huge = |id, what, retry: &str| {
        Case::must(id, what, PROCESSING)
            .reconnect()
            .reply(send(&format!("retry: {retry}\ndata: a\n\n")))
            .at_most(12, 3_000)
    };
    vec![
        case(
            "r-retry",
            "a retry time is obeyed, and the next one too",
            send("retry: 1500\ndata: a\n\n"),
        )
        .reply(send("retry: 100\ndata: b\n\n"))
        .reply(Reply::stream().end_of_case())
        .reports(["a", "b"])
        .waits(2, 1_500)
        .waits_between(3, 100, 1_900),
        case(
            "r-retry-stays",
            "a retry time stays in force over later connections",
            send("retry: 1200\ndata: a\n\n"),
        )
        .reply(send("data: b\n\n"))
        .reply(Reply::stream().end_of_case())
        .reports(["a", "b"])
        .waits(2, 1_200)
        .waits(3, 1_200),
        last(case(
            "r-retry-line",
            "a retry time counts as soon as its line ends, without a blank line",
            send("data: a\n\nretry: 1500\n").ends(End::Orderly),
        ))
        .reports(["a"])
        .waits(2, 1_500),
        last(case("r-retry-alone", "a retry time counts without data", send("retry: 1500\n\n")))
            .waits(2, 1_500),
        ignored("r-retry-suffix", "`retry: 10x` is ignored", "retry: 10x"),
        ignored("r-retry-sign", "`retry: -1` and `retry: +5` are ignored", "retry: -1\nretry: +5"),
        ignored(
            "r-retry-float",
            "`retry: 1.5` and `retry: 1e1` are ignored",
            "retry: 1.5\nretry: 1e1",
        ),
        ignored("r-retry-digits", "only ASCII digits count", "retry: ٣\nretry: ５０"),
        ignored("r-retry-empty", "an empty retry is ignored", "retry:\nretry"),
        last(case(
            "r-retry-zeros",
            "`retry: 0000300` is 300 ms",
            send("retry: 0000300\ndata: a\n\n"),
        ))
        .level(Level::Should)
        .reports(["a"])
        .waits_between(2, 300, 1_900),
        huge(
            "r-retry-32",
            "`retry: 3000000000` does not fit in a signed 32-bit timer: no storm",
            "3000000000",
        ),
        huge(
            "r-retry-64",
            "a retry time beyond 64 bits: no storm, no crash",
            "100000000000000000000000",
        )
        .level(Level::Should),
        Case::must("r-retry-0", "`retry: 0`: how many requests in 2 s", PROCESSING)
            .reconnect()
            .level(Level::Info)
            .reply(send("retry: 0\ndata: a\n\n"))
            .at_most(1_000, 2_000),
    ]
}
