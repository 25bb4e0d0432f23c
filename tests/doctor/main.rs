//! The doctor against real servers: rollcast behind nginx with one line broken at a time, and
//! streams that are not rollcast's. `tests/setup.sh` installs nginx.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod nginx;

mod broken;
mod foreign;
mod tls;
mod door;

use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{Instance, ROLLCAST, Server, wait_for};

/// A server that has stored a roll. The first one is late, because the server computes its seed.
pub fn rolling(rollcast: &str) -> (Instance, Server) {
    let instance = Instance::new(rollcast);
    let server = instance.start();
    wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
    (instance, server)
}

/// The doctor's report as JSON.
pub struct Report {
    /// 0, 1 or 2.
    pub exit_code: i32,
    /// The report.
    pub json: Value,
}

/// Runs the doctor on a URL with further arguments, in a folder without a configuration.
pub fn doctor(url: &str, arguments: &[&str]) -> Report {
    doctor_of(Command::new(ROLLCAST).args(["doctor", url, "--json"]).args(arguments))
}

/// The report of a command that runs the doctor with `--json`.
pub fn doctor_of(command: &mut Command) -> Report {
    command.current_dir("/");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let json = serde_json::from_slice(&stdout).unwrap_or_else(|error| {
        panic!("no JSON ({error}), {status}: {}", String::from_utf8_lossy(&stderr))
    });
    Report { exit_code: status.code().unwrap(), json }
}

impl Report {
    /// The verdict, the observation and the change of one check.
    pub fn finding(&self, check: &str) -> (&str, &str, &str) {
        let findings = self.json["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["check"] == check);
        let finding = finding.unwrap_or_else(|| panic!("no `{check}` in {:#}", self.json));
        let text = |name: &str| finding[name].as_str().unwrap_or_default();
        (text("verdict"), text("saw"), text("change"))
    }

    /// The names of all checks with that verdict.
    pub fn all(&self, verdict: &str) -> Vec<&str> {
        let findings = self.json["findings"].as_array().unwrap();
        let matching = findings.iter().filter(|finding| finding["verdict"] == verdict);
        matching.map(|finding| finding["check"].as_str().unwrap()).collect()
    }

    /// Asserts exactly these faults, and a part of the change for the first.
    pub fn assert_faults(&self, faults: &[&str], line: &str) {
        assert_eq!(self.all("fault"), faults, "{:#}", self.json);
        assert_eq!(self.exit_code, 1);
        let (_, _, change) = self.finding(faults[0]);
        assert!(change.contains(line), "expected `{line}` in {:#}", self.json);
    }

    /// Asserts that there is no fault.
    pub fn assert_no_fault(&self) {
        assert_eq!(self.all("fault"), [""; 0], "{:#}", self.json);
        assert_eq!(self.exit_code, 0);
    }
}
