//! Which id an event has.

use crate::case::Case;
use crate::rule::INTERPRETATION;

pub fn cases() -> Vec<Case> {
    let case = |id, what| Case::must(id, what, INTERPRETATION);
    vec![
        case("i-sticky", "an event without an id has the id of the event before it")
            .sends("id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\ndata: d\n\n")
            .reports_ids(&[("a", "1"), ("b", "1"), ("c", "2"), ("d", "2")]),
        case("i-reset", "an empty id clears the last id")
            .sends("id: 1\ndata: a\n\nid:\ndata: b\n\ndata: c\n\n")
            .reports_ids(&[("a", "1"), ("b", ""), ("c", "")]),
        case("i-nul", "an id that contains NUL is ignored")
            .sends("id: 1\ndata: a\n\nid: 2\0x\ndata: b\n\n")
            .reports_ids(&[("a", "1"), ("b", "1")]),
        case("i-no-data", "an id in a block without data counts for the next event")
            .sends("id: 1\ndata: a\n\nid: 2\n\ndata: b\n\n")
            .reports_ids(&[("a", "1"), ("b", "2")]),
        case("i-utf8", "an id may contain non-ASCII characters")
            .sends("id: ü é 🎲\ndata: a\n\n")
            .reports_ids(&[("a", "ü é 🎲")]),
        case("i-last", "if an event has two ids, the last one counts")
            .sends("id: 1\nid: 2\ndata: a\n\n")
            .reports_ids(&[("a", "2")]),
    ]
}
