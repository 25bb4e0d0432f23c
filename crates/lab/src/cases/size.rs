//! Long lines and large events.

use crate::case::{Case, Level};
use crate::rule::{INTERPRETATION, INTRODUCTION};
use crate::script::{Reply, Step};

const KIB: usize = 1 << 10;

pub fn cases() -> Vec<Case> {
    let should = |id, what, rule| Case::must(id, what, rule).level(Level::Should);
    // A line of the letter in pieces of this many bytes.
    let line = |case: Case, letter: u8, piece: usize, pieces: usize| {
        let text = vec![letter; piece];
        let reply = Reply::stream().write("data: ").step(Step::Repeat(text, pieces));
        case.reply(reply.write("\n\n").end_of_case().patiently())
            .to_the_end()
            .reports([char::from(letter).to_string().repeat(piece * pieces)])
    };
    let numbers: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let data_lines: String = numbers.iter().map(|n| format!("data: {n}\n")).collect();
    let comment = Step::Repeat(vec![b'c'; 64 * KIB], 32);
    vec![
        line(
            Case::must("p-64k", "a line longer than 64 KiB: 200 KiB", INTRODUCTION),
            b'x',
            200 * KIB,
            1,
        ),
        line(should("p-1m", "a line longer than 1 MiB: 2 MiB", INTRODUCTION), b'y', 64 * KIB, 32),
        should("p-lines", "an event of 20,000 data lines", INTERPRETATION)
            .reply(Reply::stream().write(data_lines + "\n").end_of_case().patiently())
            .to_the_end()
            .reports([numbers.join("\n")]),
        should("p-long-comment", "a comment of 2 MiB before an event", INTERPRETATION)
            .reply(
                Reply::stream()
                    .write(":")
                    .step(comment)
                    .write("\ndata: a\n\n")
                    .end_of_case()
                    .patiently(),
            )
            .to_the_end()
            .reports(["a"]),
        line(
            should("m-8m", "a line of 8 MiB in pieces of 2 KiB", INTRODUCTION),
            b'z',
            2 * KIB,
            4 * KIB,
        ),
        Case::must("m-endless", "64 MiB without a line end: the client may give up", INTRODUCTION)
            .level(Level::Info)
            .slow()
            .reply(
                Reply::stream()
                    .write(":")
                    .step(Step::Repeat(vec![b'm'; 64 * KIB], KIB))
                    .write("\n")
                    .end_of_case()
                    .patiently(),
            )
            .to_the_end(),
    ]
}
