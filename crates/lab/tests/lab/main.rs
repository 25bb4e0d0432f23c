//! The lab judges: the reference client passes every case, and for each case a mutant of it fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should panic"
)]

mod bounds;
mod client;
mod mutants;
mod ports;
mod runner;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lab::case::{Case, Level, Needs};
use lab::run::{Judged, Plan, run, select};
use lab::server::{Audience, Lab};

/// How many clients run at once, as users run them.
const N_JOBS: usize = 6;

/// The command of the reference client, or of a mutant.
fn reference(mutant: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let mutant = format!("{}={mutant}", client::MUTANT);
    ["env", &mutant, program, "acts_as_the_client", "--exact", "--ignored", "--nocapture"]
        .map(String::from)
        .into()
}

/// Not a test: the lab runs this program as its client.
#[test]
#[ignore = "the lab runs it"]
fn acts_as_the_client() {
    if std::env::var_os("LAB_URL").is_some() {
        client::follow();
    }
}

fn start(audience: Audience) -> Arc<Lab> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Arc::new(Lab::start(address, lab::cases::all(), audience).unwrap())
}

/// All cases that run by default.
fn default_cases() -> Vec<&'static Case> {
    select(lab::cases::all(), "*", Needs::Reconnect, Level::Info, false)
}

/// Runs cases with a command.
async fn judge(command: Vec<String>, cases: Vec<&'static Case>) -> Vec<Judged> {
    let plan = Plan { command, cases, n_jobs: N_JOBS, n_tries: 1, seed: 1 };
    run(start(Audience::Local), &plan, |_| {}).await.unwrap()
}
