//! Running a command per case: how it may behave, and what is reported.

use std::fs;
use std::time::{Duration, Instant};

use lab::cases;
use lab::judge::Outcome;
use lab::report::{Conclusion, Known, Summary, json, junit, lines};
use lab::run::Judged;

use crate::{judge, reference};

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(String::from).into()
}

/// The command of the reference client, or of a mutant, for a shell.
fn command_line(mutant: &str) -> String {
    let quoted = reference(mutant).into_iter().map(|argument| format!("'{argument}'"));
    quoted.collect::<Vec<_>>().join(" ")
}

async fn judge_one(command: Vec<String>, id: &str) -> Judged {
    judge(command, vec![cases::find(id).unwrap()]).await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_never_connects_is_not_a_failure_of_the_client() {
    let all =
        judge(shell("echo no such module >&2; exit 7"), vec![cases::find("p-basic").unwrap()]);
    let all = all.await;
    let known = Known::default();
    assert_eq!(Summary::of(&all, &known).conclusion(), Conclusion::Unconnected);
    let text = lines(&all[0], &known);
    assert!(text.contains("exit status: 7") && text.contains("no such module"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_connect_passes_no_case() {
    for id in ["s-201", "s-loop", "r-storm-empty", "r-204"] {
        let judged = judge_one(shell("exit 0"), id).await;
        assert_eq!(judged.verdict.verdict, Outcome::Fails, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_the_command_started_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // A child of the command that ignores the signals of terminals, and holds standard output.
    let script = format!(
        "sh -c 'trap \"\" TERM HUP INT; echo $$ >{}; exec sleep 600' & {}",
        file.display(),
        command_line("")
    );
    let lab = crate::start(lab::server::Audience::Local);
    let run = lab::run::Plan {
        command: shell(&script),
        cases: vec![cases::find("p-basic").unwrap()],
        n_jobs: 1,
        n_tries: 1,
        seed: 0,
    };
    let task = tokio::spawn(async move { lab::run::run(lab, &run, |_| {}).await });
    let begun = Instant::now();
    let pid = loop {
        if let Ok(text) = fs::read_to_string(&file)
            && text.ends_with('\n')
        {
            break text.trim().to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the child has not started");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    task.await.unwrap().unwrap();
    let is_alive =
        || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let begun = Instant::now();
    while is_alive() {
        assert!(begun.elapsed() < Duration::from_secs(60), "process {pid} goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_failures_do_not_count_until_they_pass() {
    let known = Known::parse("i-nul  # kept as it is\n\n", |id| cases::find(id).is_some()).unwrap();
    let failing = vec![judge_one(reference("id-nul"), "i-nul").await];
    assert_eq!(failing[0].verdict.verdict, Outcome::Fails);
    assert_eq!(Summary::of(&failing, &Known::default()).conclusion(), Conclusion::Bad);
    assert_eq!(Summary::of(&failing, &known).conclusion(), Conclusion::Good);
    let passing = vec![judge_one(reference(""), "i-nul").await];
    assert_eq!(Summary::of(&passing, &Known::default()).conclusion(), Conclusion::Good);
    assert_eq!(Summary::of(&passing, &known).conclusion(), Conclusion::Bad);
    assert!(lines(&passing[0], &known).contains("remove it"));
    assert!(Known::parse("i-null\n", |id| cases::find(id).is_some()).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_names_what_was_told_what_was_expected_and_the_rule() {
    let judged = judge_one(reference("id-at-once"), "r-id-cut").await;
    let text = lines(&judged, &Known::default());
    assert_eq!(
        text,
        "✗ r-id-cut  the id of an unfinished event does not count: Last-Event-ID of request 2 \
         was `2`, expected `1`  html#the-last-event-id-header\n"
    );
    let all = [judged];
    let value: serde_json::Value = serde_json::from_str(&json(&all, &Known::default())).unwrap();
    assert_eq!(value["summary"]["fails_must"], 1);
    let case = &value["cases"][0];
    assert_eq!(case["verdict"], "fails");
    assert_eq!(case["requests"][1]["last_event_id"], "2");
    assert_eq!(case["heard"][0]["data"], "a");
    let xml = junit(&all, &Known::default());
    assert!(xml.contains("failures=\"1\""), "{xml}");
    assert!(xml.contains("<failure message=\"Last-Event-ID of request 2 was `2`"), "{xml}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reports_no_ids_is_not_judged_by_them() {
    let filter = format!("{} | sed -u 's/,\"id\":\"[^\"]*\"//'", command_line(""));
    let judged = judge_one(shell(&filter), "i-sticky").await;
    assert_eq!(judged.verdict.verdict, Outcome::Skipped, "{judged:?}");
}
