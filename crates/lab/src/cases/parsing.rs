//! What the bytes of a body mean.

use std::time::Duration;

use crate::case::Case;
use crate::rule::{INTERPRETATION, PARSING};
use crate::script::{APART, End, Reply, Step};

/// Long enough that each byte arrives by itself, short enough for a hundred of them.
const BYTE_PAUSE: Duration = Duration::from_millis(15);

pub fn cases() -> Vec<Case> {
    let mut cases = lines();
    cases.extend(fields());
    cases.extend(text());
    cases.extend(ends());
    cases
}

/// Line ends, and lines in pieces.
fn lines() -> Vec<Case> {
    let case = |id, what| Case::must(id, what, PARSING);
    let bytewise =
        |bytes: &[u8]| Reply::stream().step(Step::Bytewise(bytes.into(), BYTE_PAUSE)).end_of_case();
    vec![
        Case::must("p-basic", "one event", INTERPRETATION)
            .sends("data: hello\n\n")
            .reports(["hello"]),
        case("p-crlf", "lines end with CRLF")
            .sends("data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n")
            .reports(["a\nb", "c"]),
        case("p-cr", "lines end with CR")
            .sends("data: a\rdata: b\r\rdata: c\r\r")
            .reports(["a\nb", "c"]),
        case("p-mixed-ends", "CR, LF and CRLF are mixed in one stream")
            .sends("data: a\rdata: b\ndata: c\r\n\rdata: d\n\r\ndata: e\r\r\n")
            .reports(["a\nb\nc", "d", "e"]),
        case("p-crlf-split", "CRLF is cut between CR and LF")
            .sends_pieces(&[
                b"data: a\r",
                b"\ndata: b\r",
                b"\n\r",
                b"\ndata: c\r",
                b"\n",
                b"\r",
                b"\n",
            ])
            .reports(["a\nb", "c"]),
        case("p-crlf-bytewise", "a stream with CRLF arrives byte by byte")
            .reply(bytewise(b"id: 1\r\ndata: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n"))
            .to_the_end()
            .reports(["a\nb", "c"]),
        case("p-bytewise", "a stream with LF arrives byte by byte")
            .reply(bytewise(b"event: x\nid: 1\ndata: a\ndata: b\n\n: c\ndata:d\n\n"))
            .to_the_end()
            .reports([("x", "a\nb"), ("message", "d")]),
        case("p-unicode-ends", "U+2028, U+2029, U+0085, VT, FF and FS to RS do not end a line")
            .sends("data: a\u{2028}b\u{2029}c\u{85}d\x0be\x0cf\x1cg\x1dh\x1ei\n\n")
            .reports(["a\u{2028}b\u{2029}c\u{85}d\x0be\x0cf\x1cg\x1dh\x1ei"]),
        case("p-blank-lines", "there are blank lines at the beginning and between the events")
            .sends("\n\n\r\n\rdata: a\n\n\n\n\ndata: b\n\n")
            .reports(["a", "b"]),
    ]
}

/// Fields, their names and values.
fn fields() -> Vec<Case> {
    let case = |id, what| Case::must(id, what, INTERPRETATION);
    vec![
        case("p-no-space", "there is no space after the colon")
            .sends("data:a\nevent:x\n\n")
            .reports([("x", "a")]),
        case("p-two-spaces", "one space after the colon is removed, a second one stays")
            .sends("data:  a\ndata:   \n\n")
            .reports([" a\n  "]),
        case("p-tab", "a tab after the colon stays").sends("data:\ta\n\n").reports(["\ta"]),
        case("p-trailing-space", "spaces at the end of a value stay")
            .sends("data: a  \nevent: x \n\n")
            .reports([("x ", "a  ")]),
        case("p-multi", "data lines are joined with LF")
            .sends("data: a\ndata: b\ndata:\ndata: d\n\n")
            .reports(["a\nb\n\nd"]),
        case("p-empty-data", "an empty data field makes an event with empty data")
            .sends("data:\n\ndata\n\ndata: \n\n")
            .reports(["", "", ""]),
        case("p-two-empty", "two empty data lines make an event whose data is one LF")
            .sends("data\ndata\n\n")
            .reports(["\n"]),
        case("p-trailing-empty", "an empty last data line stays as an LF")
            .sends("data: a\ndata:\n\n")
            .reports(["a\n"]),
        case("p-no-data", "a block without data makes no event, and its event name is forgotten")
            .sends("event: x\n\ndata: a\n\nid: 7\n\ndata: b\n\n")
            .reports(["a", "b"]),
        case("p-event-empty", "an empty event field means `message`")
            .sends("event:\ndata: a\n\nevent: x\nevent:\ndata: b\n\n")
            .reports(["a", "b"]),
        case("p-event-last", "the last event field counts, also after the data")
            .sends("event: x\ndata: a\nevent: y\n\n")
            .reports([("y", "a")]),
        case("p-unknown", "unknown fields are ignored")
            .sends("foo: bar\ndata: a\nbaz\nretryy: 1\ndataa: x\nid2: 9\n\n")
            .reports(["a"]),
        case("p-case", "field names are case-sensitive")
            .sends("Data: x\nDATA: y\ndata: a\nEvent: z\n\n")
            .reports(["a"]),
        case("p-field-space", "spaces around a field name belong to it")
            .sends(" data: x\ndata : y\ndata: a\n event: z\n\n")
            .reports(["a"]),
        case("p-field-nul", "NUL in a field name belongs to it")
            .sends("da\0ta: x\ndata\0: y\n\0data: z\ndata: a\n\n")
            .reports(["a"]),
        case("p-comment", "comments are ignored, also inside an event")
            .sends(": c\n\n:\ndata: a\n:data: x\n::\ndata: b\n: id: 9\n\n:\n\n")
            .reports(["a\nb"]),
        case("p-colons", "only the first colon divides a line")
            .sends("data: a: b:c\ndata::d\nevent: x:y\n\n")
            .reports([("x:y", "a: b:c\n:d")]),
        case(
            "p-names",
            "event names contain spaces or umlauts, or are properties of every JavaScript object",
        )
        .sends(
            "event: größe 1\ndata: a\n\nevent: __proto__\ndata: b\n\n\
                 event: constructor\ndata: c\n\nevent: toString\ndata: d\n\n",
        )
        .reports([
            ("größe 1", "a"),
            ("__proto__", "b"),
            ("constructor", "c"),
            ("toString", "d"),
        ]),
        case("p-name-error", "events named `error` and `open` do not stop the client")
            .sends("event: error\ndata: x\n\nevent: open\ndata: y\n\ndata: a\n\n")
            .reports(["a"])
            .ignores(&["error", "open"]),
        case("p-many", "1,000 events arrive at once")
            .sends((0..1_000).map(|n| format!("id: {n}\ndata: {n}\n\n")).collect::<String>())
            .reports((0..1_000).map(|n| n.to_string())),
    ]
}

/// Characters and their encoding.
fn text() -> Vec<Case> {
    let case = |id, what| Case::must(id, what, INTERPRETATION);
    vec![
        Case::must("p-bom", "a byte order mark at the beginning is removed", PARSING)
            .sends("\u{feff}data: a\n\ndata: b\n\n")
            .reports(["a", "b"]),
        Case::must("p-bom-split", "a byte order mark arrives in pieces", PARSING)
            .sends_pieces(&[b"\xef", b"\xbb", b"\xbf", b"data: a\n\ndata: b\n\n"])
            .reports(["a", "b"]),
        Case::must("p-bom-twice", "a second byte order mark is text", PARSING)
            .sends("\u{feff}\u{feff}data: x\ndata: a\n\n\u{feff}data: y\n\ndata: \u{feff}b\n\n")
            .reports(["a", "\u{feff}b"]),
        Case::must("p-charset", "with `charset=iso-8859-1` the stream is still UTF-8", PARSING)
            .reply(
                Reply::with_type("text/event-stream;charset=iso-8859-1")
                    .write("data: é€\n\n")
                    .end_of_case(),
            )
            .to_the_end()
            .reports(["é€"]),
        case("p-utf8-split", "a multi-byte character is split between two writes")
            .sends_pieces(&[
                b"data: \xe2",
                b"\x82\xac \xf0\x9f",
                b"\x8e\xb2 \xc3",
                b"\xa9\n",
                b"\n",
            ])
            .reports(["€ 🎲 é"]),
        Case::must("p-utf8-bad", "bytes that are not UTF-8 become U+FFFD", PARSING)
            .sends(b"data: a\xffb\xc3(\xe2\x82!\n\ndata: ok\n\n")
            .reports(["a\u{fffd}b\u{fffd}(\u{fffd}!", "ok"]),
        Case::must(
            "p-utf8-overlong",
            "each byte of an overlong form or a surrogate becomes U+FFFD",
            PARSING,
        )
        .sends(b"data: \xc0\x80 \xed\xa0\x80 \xf0\x9f\x92A\n\n")
        .reports(["\u{fffd}\u{fffd} \u{fffd}\u{fffd}\u{fffd} \u{fffd}A"]),
        Case::must("p-utf8-cut", "a character is cut off by a line end", PARSING)
            .sends(b"data: a\xe2\x82\ndata: b\n\n")
            .reports(["a\u{fffd}\nb"]),
        case("p-nul-data", "NUL in data is text").sends("data: a\0b\n\n").reports(["a\0b"]),
    ]
}

/// Bodies that end inside an event.
fn ends() -> Vec<Case> {
    let ends = |id, what, rest: &str| {
        let first = Reply::until_close().write("retry: 50\ndata: a\n\n").pause(APART).write(rest);
        Case::must(id, what, INTERPRETATION)
            .reply(first.ends(End::Orderly))
            .reply(Reply::stream().end_of_case())
    };
    vec![
        ends("p-eof", "an event without its blank line is not an event", "data: x\n")
            .reports(["a"]),
        ends("p-eof-mid", "a line without its end is not a line", "data: x").reports(["a"]),
        ends("p-eof-cr", "the body ends with CR CR, which ends an event", "data: b\r\r")
            .reports(["a", "b"]),
    ]
}
