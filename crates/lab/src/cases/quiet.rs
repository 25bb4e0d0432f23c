//! Streams that are quiet or slow.

use std::time::Duration;

use crate::case::{Case, Level};
use crate::rule::{INTERPRETATION, INTRODUCTION};
use crate::script::{Reply, Step};

pub fn cases() -> Vec<Case> {
    let quiet = |id, what, seconds| {
        let reply = Reply::stream().write("data: a\n\n").pause(Duration::from_secs(seconds));
        Case::must(id, what, INTRODUCTION)
            .level(Level::Should)
            .reply(reply.write("data: b\n\n").end_of_case())
            .to_the_end()
            .reports(["a", "b"])
    };
    let drip = Step::Bytewise("data: abc\n\n".into(), Duration::from_millis(120));
    vec![
        quiet("q-7", "7 s of silence: the client stays", 7),
        quiet("q-70", "70 s of silence: the client stays", 70).slow(),
        quiet("q-310", "310 s of silence", 310).level(Level::Info).slow(),
        Case::must("q-drip", "one byte every 120 ms", INTERPRETATION)
            .reply(Reply::stream().step(drip).end_of_case())
            .to_the_end()
            .reports(["abc"]),
    ]
}
