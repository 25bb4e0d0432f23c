//! Bad input for every parser: the properties of fuzz/, checked by proptest instead of a fuzzer, so
//! that they run on any machine.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::properties::{self, Server};
use crate::report::times;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// Checks a property for the seeds of a fuzz target, then for `n` generated inputs.
fn check<T: std::fmt::Debug>(
    target: &str,
    n: usize,
    inputs: impl Strategy<Value = T>,
    bytes: impl Fn(&T) -> &[u8],
    property: impl Fn(&[u8]),
) {
    let seeds = fs::read_dir(Path::new(PROJECT).join("fuzz/seeds").join(target)).unwrap();
    let mut n_seeds = 0;
    for seed in seeds {
        property(&fs::read(seed.unwrap().path()).unwrap());
        n_seeds += 1;
    }
    assert!(n_seeds > 0, "no seeds for {target}");
    let config =
        ProptestConfig { cases: n as u32, failure_persistence: None, ..ProptestConfig::default() };
    let tried = TestRunner::new(config).run(&inputs, |input| {
        property(bytes(&input));
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{target}: {error}"));
    println!("{target}: {n_seeds} seeds and {n} other inputs");
}

/// [`check`] for text inputs.
fn check_texts(
    target: &str,
    n: usize,
    texts: impl Strategy<Value = String>,
    property: impl Fn(&str),
) {
    check(
        target,
        n,
        texts,
        |text| text.as_bytes(),
        |bytes| {
            property(std::str::from_utf8(bytes).unwrap());
        },
    );
}

/// Text similar to a valid value, or any text, including long ones.
fn near_values() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,20}(-[0-9]{0,20})?",
        "[+-]?[0-9]{0,4}[dDwW][+-]?[0-9]{0,5}",
        "[+-]?[0-9]{1,20}(\\.[0-9]{1,12})? ?(ns|us|ms|s|m|h|d|w|y)( ?[0-9]{1,3}s)?",
        "[+-]?[0-9]{4,6}-[0-9]{2}-[0-9]{2}(T[0-9]{2}(:[0-9]{2}){0,2}(\\.[0-9]{0,10})?)?(Z|[+-][0-9]{2}(:[0-9]{2})?)?",
        "\\{(\"[1-9]D[0-9]{1,3}\":[0-9]{1,11},?){0,3}\\}",
        "P?T?([0-9]{1,20}[YMWDHS]){1,4}",
        "\\PC{0,24}",
        any::<String>(),
        "\\PC{80,400}",
    ]
}

#[test]
fn any_text_is_a_value_that_prints_as_it_was_parsed_or_a_short_error() {
    check_texts("values", times(5_000, 200_000), near_values(), properties::values);
}

#[test]
fn an_event_stream_parses_the_same_in_any_pieces_and_when_written_again() {
    let line = prop_oneof![
        Just("data".into()),
        Just(String::new()),
        "(data|event|id|retry|)?:? ?[a-z0-9: \\x00\u{feff}]{0,9}",
        "\\PC{0,20}",
    ];
    let lines = prop::collection::vec((line, "\n|\r|\r\n"), 0..24);
    let text = lines.prop_map(|lines| {
        lines.into_iter().map(|(line, end)| line + &end).collect::<String>().into_bytes()
    });
    let streams = prop_oneof![4 => text, 1 => any::<Vec<u8>>()];
    check("events", times(3_000, 100_000), streams, |bytes| bytes, properties::events);
}

#[test]
fn a_configuration_is_within_its_bounds_or_refused_with_a_reason() {
    let value = prop_oneof![
        "-?[0-9]{1,20}",
        "'[0-9]{1,9}(ms|s|m|h|d)'",
        "\\['[0-9]{1,3}[dD][0-9]{1,4}'(, '1D6')?\\]",
        "'\\PC{0,200}'",
        "true|\\{\\}|\\[\\]|1e400|nan|2026-11-23",
    ];
    let key = prop_oneof![
        "every|heartbeat|keep|dice|page_size|max_streams|max_streams_per_address|trusted_proxies|log_format|reserve_mb|database",
        "port|address|workers|shutdown|grace|ip_header|keep_alive|ident|template_dir|tls",
        "[a-z_.]{1,12}",
    ];
    let table = "\\[(default|release|debug|global|x)(\\.(rollcast|shutdown|x))?\\]|\\[\\[x\\]\\]";
    let tables = (table, prop::collection::vec((key, value), 0..4)).prop_map(|(table, keys)| {
        let keys = keys.into_iter().map(|(key, value)| format!("{key} = {value}\n"));
        format!("{table}\n{}", keys.collect::<String>())
    });
    let tables = prop::collection::vec(tables, 0..3).prop_map(|tables| tables.concat());
    let texts = prop_oneof![9 => tables, 1 => any::<String>()];
    check_texts("configuration", times(500, 20_000), texts, properties::configuration);
}

#[test]
fn whatever_a_log_sends_is_read_in_one_form_or_refused() {
    let folder = fs::read_dir(Path::new(PROJECT).join("fuzz/seeds/log")).unwrap();
    let valid: Vec<String> =
        folder.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let other = prop_oneof!["[0-9a-fA-F]{0,8}", "[ \n/+.=x-]{1,2}", "\\PC{0,4}"];
    // A valid text with a part of it replaced.
    let parts = (prop::sample::select(valid), any::<prop::sample::Index>(), 0..4usize, other);
    let changed = parts.prop_map(|(text, at, n_removed, other)| {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let end = chars.len().min(at + n_removed);
        chars.splice(at..end, other.chars());
        chars.into_iter().collect::<String>()
    });
    let texts = prop_oneof![9 => changed, 1 => any::<String>()];
    check_texts("log", times(5_000, 200_000), texts, properties::log);
}

#[test]
fn any_query_is_answered_or_refused_and_every_link_of_an_answer_works() {
    let server = Server::new(PROJECT);
    let name = "after|before|since|limit|at|day|die|result|[a-z]{0,5}";
    let value = prop_oneof![
        2 => "[0-9]{1,3}(-1795392[0-9]{6})?",
        1 => "1D(6|20)|2026-11-2[0-9]|[0-9]{1,3}[smhd]",
        1 => near_values(),
    ];
    let fields = prop::collection::vec((name, value, any::<bool>()), 0..5);
    let queries = fields.prop_map(|fields| {
        let field = |(name, value, encode): (String, String, bool)| {
            let escape = |byte| format!("%{byte:02X}");
            let encoded = || value.bytes().map(escape).collect::<String>();
            format!("{name}={}", if encode { encoded() } else { value.clone() })
        };
        fields.into_iter().map(field).collect::<Vec<_>>().join("&")
    });
    check_texts("query", times(200, 5_000), queries, |query| server.query(query));
}

#[test]
fn whatever_a_client_sends_to_the_lab_it_is_judged() {
    let line = prop_oneof![
        "\\{\"data\":\"(a|b|end of case|payload [1-9]|\\PC{0,9})\"(,\"id\":\"[0-9]{0,3}\")?\\}",
        "\\{\"error\":\"\\PC{0,30}\"\\}",
        "-?[0-9]{1,20}",
        "\\PC{0,20}",
    ];
    let run = (any::<u8>(), prop::collection::vec(line, 0..40));
    let run = run.prop_map(|(case, lines)| [&[case][..], lines.join("\n").as_bytes()].concat());
    let field = ("(Host|Content-Length|Last-Event-ID|[A-Za-z-]{0,9})", "[ -~]{0,20}");
    let fields = prop::collection::vec(field, 0..80).prop_map(|fields| {
        fields.into_iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>()
    });
    let head =
        ("(GET|POST|\\PC{0,5})", "/?[!-~]{0,40}", fields).prop_map(|(method, path, fields)| {
            format!("{method} {path} HTTP/1.1\r\n{fields}\r\n").into_bytes()
        });
    let inputs = prop_oneof![3 => run, 1 => head, 1 => any::<Vec<u8>>()];
    check("lab", times(1_000, 100_000), inputs, |bytes| bytes, properties::lab);
}
