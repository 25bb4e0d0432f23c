//! `rollcast tail`, with rolls as the events of the cases.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use lab::case::{Case, Level, Needs};
use lab::cases;
use lab::run::select;
use serde_json::{Value, json};

use super::{assert_fails, assert_passes, broken, leak};
use crate::common::ROLLCAST;
use crate::common::lab_rolls::{NO_ROLLS, line, with_rolls};
use crate::common::listener::{Behaviour, Listener, ResumeWith};
use crate::common::wait_for;

const TEST: &str = "lab::tail::acts_as_tail";

/// The cases that apply. The others are about the bytes, names, ids and sizes of events that are
/// no rolls. The client's own test runs them: `tail` reads with the same client.
const APPLY: &str = "r-*,s-*,h-*,l-*,q-*,p-eof,p-eof-mid";

/// Another case that does not apply.
const HAND_MADE: (&str, &str) =
    ("h-chunks", "the chunks cut the text of its events; the client's own test runs it");

/// `tail` comes back after these statuses, which the lab only records.
const MUST: [&str; 2] = ["r-502", "r-401"];

fn cases() -> &'static [Case] {
    let left_out = || NO_ROLLS.into_iter().chain([HAND_MADE]);
    left_out().for_each(|(id, _)| assert!(cases::find(id).is_some(), "{id}"));
    let applies = |case: &&Case| left_out().all(|(id, _)| id != case.id);
    let all = select(cases::all(), APPLY, Needs::Reconnect, Level::Info, false);
    let all = all.into_iter().filter(applies).map(|case| {
        let case = with_rolls(case).own_port();
        if MUST.contains(&case.id) { case.level(Level::Must) } else { case }
    });
    leak(all)
}

/// The cases with these ids.
fn some(ids: &[&str]) -> &'static [Case] {
    let some: Vec<Case> = cases().iter().filter(|case| ids.contains(&case.id)).cloned().collect();
    assert_eq!(some.len(), ids.len(), "{ids:?}");
    leak(some)
}

/// Not a test: the lab runs it.
#[test]
#[ignore = "the lab runs it"]
fn acts_as_tail() {
    let Some(broken) = broken() else { return };
    let url = std::env::var("LAB_URL").unwrap();
    let (server, _) = url.split_once("/lab/").unwrap();
    match broken.as_str() {
        "" => follow(server),
        "no id" => listen(server, Behaviour::HONEST.with(ResumeWith::Nothing)),
        "unfinished" => listen(server, Behaviour::HONEST.with(ResumeWith::UnfinishedEvents)),
        _ => panic!("`{broken}`"),
    }
}

/// Runs `rollcast tail`.
fn follow(server: &str) {
    let mut tail = Command::new(ROLLCAST);
    tail.args(["tail", "--json", "-n", "0", server]).stdout(Stdio::piped());
    let mut tail = tail.spawn().unwrap();
    for roll in BufReader::new(tail.stdout.take().unwrap()).lines() {
        let roll: Value = serde_json::from_str(&roll.unwrap()).unwrap();
        println!("{}", line(&roll["id"], &roll["dice"]).unwrap());
    }
    let status = tail.wait().unwrap();
    println!("{}", json!({ "error": format!("ended with {status}") }));
}

/// Runs another reader of rolls, which is broken on purpose.
fn listen(server: &str, behaviour: Behaviour) {
    let listener = Listener::start(format!("{server}/stream/"), behaviour);
    let mut n_printed = 0;
    wait_for("the end of the run", || {
        let received = listener.received();
        for roll in &received.rolls[n_printed..] {
            let dice = serde_json::from_str(&roll.dice).unwrap_or_default();
            if let Some(line) = line(&json!(roll.number()), &dice) {
                println!("{line}");
            }
        }
        n_printed = received.rolls.len();
        received.gave_up.is_some().then_some(())
    });
}

#[test]
fn tail_passes_every_case_that_applies() {
    assert_passes(TEST, cases());
}

/// Control.
#[test]
fn a_reader_that_reconnects_without_its_id_fails() {
    assert_fails(TEST, "no id", some(&["r-resume", "r-id-many", "r-exactly"]));
}

/// Control.
#[test]
fn a_reader_that_counts_events_that_are_cut_fails() {
    assert_fails(TEST, "unfinished", some(&["r-id-cut", "p-eof"]));
}
