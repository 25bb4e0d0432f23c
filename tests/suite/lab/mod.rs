//! rollcast's own readers against the servers of the event-stream lab: every case that applies passes.

mod client;
mod export;
mod tail;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lab::case::Case;
use lab::judge::Outcome;
use lab::run::{Judged, Plan, run};
use lab::server::{Audience, Lab};

/// How many readers run at once, as in `rollcast lab run`.
const N_JOBS: usize = 6;
/// A case counts as failed if it fails this often in a row.
const N_TRIES: usize = 3;
/// Says how a reader is broken on purpose.
const BROKEN: &str = "LAB_BROKEN";

/// The command that runs a test of this program as the reader. The test is ignored otherwise.
fn reader(test: &str, broken: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let broken = format!("{BROKEN}={broken}");
    let program = program.to_str().unwrap();
    ["env", &broken, program, test, "--exact", "--ignored", "--nocapture"].map(String::from).into()
}

/// How this process, as a reader, is broken; `None` if no lab runs it.
fn broken() -> Option<String> {
    let is_reader = std::env::var_os("LAB_URL").is_some();
    // The test harness may have begun a line.
    println!();
    is_reader.then(|| std::env::var(BROKEN).unwrap_or_default())
}

/// Runs a reader once for each case.
fn judge(command: Vec<String>, cases: &'static [Case], n_tries: usize) -> Vec<Judged> {
    let plan = Plan { command, cases: cases.iter().collect(), n_jobs: N_JOBS, n_tries, seed: 1 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let lab = Lab::start(address, cases, Audience::Local).unwrap();
        run(Arc::new(lab), &plan, |_| {}).await.unwrap()
    })
}

/// Asserts that a reader passes all cases.
fn assert_passes(test: &str, cases: &'static [Case]) {
    let failed: Vec<String> = judge(reader(test, ""), cases, N_TRIES)
        .iter()
        .filter(|judged| !matches!(judged.verdict.verdict, Outcome::Ok | Outcome::Recorded))
        .map(describe)
        .collect();
    assert!(failed.is_empty(), "{} of {} fail:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Control: a reader that is broken in this way fails each of these cases.
fn assert_fails(test: &str, broken: &str, cases: &'static [Case]) {
    for judged in judge(reader(test, broken), cases, 1) {
        assert_eq!(judged.verdict.verdict, Outcome::Fails, "{broken}: {}", describe(&judged));
    }
}

/// A case with its verdict, and what led to it.
fn describe(judged: &Judged) -> String {
    let Judged { case, verdict, stderr, .. } = judged;
    let because: Vec<String> = verdict.because.iter().map(ToString::to_string).collect();
    format!("{} {}: {}; {}", case.id, verdict.verdict, because.join("; "), stderr.join(" | "))
}

/// Cases that live as long as the program, as a lab needs them.
fn leak(cases: impl IntoIterator<Item = Case>) -> &'static [Case] {
    Vec::leak(cases.into_iter().collect())
}
