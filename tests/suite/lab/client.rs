//! The client and the parser of the crate `event-stream`, which `tail` and `doctor` use. They
//! do not reconnect by themselves, so the cases of reconnecting do not apply.

use lab::case::{Case, Level, Needs};
use lab::run::select;
use serde_json::json;

use super::{assert_fails, assert_passes, broken, leak};

#[path = "../../../crates/event-stream/examples/lab.rs"]
mod adapter;

const TEST: &str = "lab::client::acts_as_the_client";

/// At most 1 MiB of a line is kept (`parser::MAX_BYTES`): `doctor` reads up to 100 streams at once,
/// from servers that it does not know, and a roll needs far less.
const TOO_LONG: [&str; 2] = ["p-1m", "m-8m"];

/// Not a test: the lab runs it.
#[test]
#[ignore = "the lab runs it"]
fn acts_as_the_client() {
    if broken().is_none() {
        return;
    }
    if let Err(error) = adapter::main() {
        println!("{}", json!({ "error": error.to_string() }));
    }
}

#[test]
fn the_client_passes_every_case_without_reconnecting() {
    let cases = select(lab::cases::all(), "*", Needs::Http, Level::Info, false);
    assert_passes(
        TEST,
        leak(cases.into_iter().filter(|case| !TOO_LONG.contains(&case.id)).cloned()),
    );
}

/// Control: the lab notices what the client does not do. When this fails, remove the exception.
#[test]
fn a_line_beyond_the_limit_of_the_client_fails() {
    let cases: Vec<Case> =
        lab::cases::all().iter().filter(|case| TOO_LONG.contains(&case.id)).cloned().collect();
    assert_eq!(cases.len(), TOO_LONG.len());
    assert_fails(TEST, "", leak(cases));
}
