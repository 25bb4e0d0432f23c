//! `rollcast export` from a server. It reads files and no streams, so the rules of HTTP apply: the
//! stream of a case is a file of its rolls then. It continues by a parameter of its URL, which
//! `export.rs` tests.

use std::io::Read;
use std::process::Command;

use lab::case::{Case, Level, Needs};
use lab::cases;
use lab::run::select;
use serde_json::{Value, json};

use super::{assert_fails, assert_passes, broken, leak};
use crate::common::lab_rolls::{line, with_file};
use crate::common::{ROLLCAST, http, run};

const TEST: &str = "lab::export::acts_as_export";

/// The cases that apply: the forms and statuses of responses, and bodies that are cut.
const APPLY: &str = "h-*,s-*,p-eof,p-eof-mid,r-resume*,r-bad-chunk,r-away,r-moved,r-502,r-401,\
                     r-id-cut*,r-storm-*";

/// Cases among these that do not apply.
const DO_NOT_APPLY: [(&str, &str); 4] = [
    ("h-chunks", "the chunks cut the text of its events; the client's own test runs it"),
    ("h-request", "a stream is not requested"),
    ("s-ctype-ndjson", "its content type is that of the file"),
    ("r-storm-empty", "a file without a roll is whole"),
];

/// `export` continues after these, which the lab only records.
const MUST: [&str; 2] = ["r-502", "r-401"];

fn cases() -> &'static [Case] {
    DO_NOT_APPLY.iter().for_each(|(id, _)| assert!(cases::find(id).is_some(), "{id}"));
    let applies = |case: &&Case| DO_NOT_APPLY.iter().all(|(id, _)| *id != case.id);
    let all = select(cases::all(), APPLY, Needs::Reconnect, Level::Info, false);
    let all = all.into_iter().filter(applies).map(|case| {
        let mut case = with_file(case).own_port();
        // The time before a reconnect is that of a stream, apart from the storms.
        if !case.id.starts_with("r-storm") {
            case.expect.pauses.clear();
        }
        if MUST.contains(&case.id) { case.level(Level::Must) } else { case }
    });
    leak(all)
}

/// Not a test: the lab runs it.
#[test]
#[ignore = "the lab runs it"]
fn acts_as_export() {
    let Some(broken) = broken() else { return };
    let url = std::env::var("LAB_URL").unwrap();
    let (server, _) = url.split_once("/lab/").unwrap();
    let file = if broken.is_empty() {
        let mut export = Command::new(ROLLCAST);
        let (code, file, stderr) = run(export.args(["export", "--format", "ndjson", server]));
        if code != 0 {
            println!("{}", json!({ "error": format!("{code}: {stderr}") }));
        }
        file
    } else {
        // A client that takes one response as the whole file.
        let url = format!("{server}/api/rolls.ndjson");
        let mut file = String::new();
        if let Ok(mut response) = http().get(url).call() {
            let _ = response.body_mut().as_reader().read_to_string(&mut file);
        }
        file
    };
    for roll in file.lines().filter_map(|roll| serde_json::from_str::<Value>(roll).ok()) {
        if let Some(line) = line(&roll["id"], &roll["dice"]) {
            println!("{line}");
        }
    }
}

#[test]
fn export_passes_every_case_that_applies() {
    assert_passes(TEST, cases());
}

/// Control.
#[test]
fn a_client_that_takes_a_part_for_the_whole_file_fails() {
    let is_cut = |case: &&Case| case.id.starts_with("r-resume") || case.id == "s-302";
    let cases: Vec<Case> = cases().iter().filter(is_cut).cloned().collect();
    assert_eq!(cases.len(), 6);
    assert_fails(TEST, "takes a part", leak(cases));
}
