//! A program in the background and what it says; ended when dropped.

use std::process::{Child, Command, Stdio};

use crate::common::{signal, wait_for};

/// Runs a command to its end: its exit code, and what it wrote to both outputs.
pub fn run(command: &mut Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?} does not start: {error}; tests/setup.sh installs what is missing")
    });
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// The same for a command that must succeed.
pub fn run_well(command: &mut Command) -> String {
    let (code, text) = run(command);
    assert_eq!(code, 0, "{command:?}: {text}");
    text
}

/// A program in the background that ends on SIGTERM, with all that it started.
pub struct Daemon(Child);

impl Daemon {
    pub fn spawn(command: &mut Command) -> Daemon {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Daemon(quiet.spawn().unwrap_or_else(|error| {
            panic!("{command:?} does not start: {error}; tests/setup.sh installs what is missing")
        }))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.runs() {
            signal("TERM", self.pid());
            wait_for("a daemon to end", || self.0.try_wait().unwrap());
        }
    }
}

/// The children of a process: their ids and the first letters of their command lines.
pub fn children(parent: u32) -> Vec<(u32, String)> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let ids = std::fs::read_to_string(path).unwrap_or_default();
    let ids = ids.split_whitespace().filter_map(|id| id.parse().ok());
    ids.map(|id: u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        (id, String::from_utf8_lossy(&line).replace('\0', " "))
    })
    .collect()
}
