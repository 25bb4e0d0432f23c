//! When an event is reported: at once.

use crate::case::{Case, Level};
use crate::rule::PARSING;
use crate::script::{Reply, Step};

pub fn cases() -> Vec<Case> {
    let at_once = |id, what, reply: Reply, event: &str| {
        Case::must(id, what, PARSING)
            .reply(reply.write(event).step(Step::UntilHeard(1)).end_of_case())
            .reports(["a"])
            .to_the_end()
            .at_once()
    };
    let (stream, close) = (Reply::stream, Reply::until_close);
    vec![
        at_once(
            "l-lf",
            "an event is reported as soon as its blank line is there (LF)",
            stream(),
            "data: a\n\n",
        ),
        at_once(
            "l-crlf",
            "an event is reported as soon as its blank line is there (CRLF)",
            stream(),
            "data: a\r\n\r\n",
        ),
        at_once(
            "l-cr",
            "an event is reported as soon as its blank line is there (CR): the client does not wait for an LF",
            stream(),
            "data: a\r\r",
        )
        .level(Level::Should),
        at_once(
            "l-close",
            "an event is reported as soon as its blank line is there, in a body without chunks",
            close(),
            "data: a\n\n",
        ),
    ]
}
