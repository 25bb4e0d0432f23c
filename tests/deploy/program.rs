//! Programs in the foreground and in the background.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{TIMEOUT, wait_at_most, wait_for};

/// Runs a command to its end. Returns its exit code and both outputs.
pub fn run(command: &mut Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?} does not start: {error}; tests/setup.sh installs what is missing")
    });
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// Runs a command that must succeed. Returns its output.
pub fn run_well(command: &mut Command) -> String {
    let (code, text) = run(command);
    assert_eq!(code, 0, "{command:?}: {text}");
    text
}

/// A background program that ends its children on SIGTERM. Dropping it stops it.
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

    /// Sends SIGTERM, and SIGKILL after `timeout`. Never panics, because it runs while a failed test
    /// unwinds.
    fn stop(&mut self, timeout: Duration) {
        let kill = format!("kill -s TERM {}", self.pid());
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
        let ended =
            wait_at_most(timeout, || (!matches!(self.0.try_wait(), Ok(None))).then_some(()));
        if ended.is_none() {
            eprintln!("process {} did not end on SIGTERM and was killed", self.pid());
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop(TIMEOUT);
    }
}

#[test]
fn a_daemon_that_does_not_end_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let script = format!("trap '' TERM; : >'{}'; while :; do sleep 1; done", ready.display());
    let mut daemon = Daemon::spawn(Command::new("sh").args(["-c", &script]));
    wait_for("it to ignore SIGTERM", || ready.exists().then_some(()));
    daemon.stop(Duration::from_millis(100));
    assert!(!daemon.runs());
    // Also if it has ended already.
    daemon.stop(Duration::ZERO);
}

/// The ids and command lines of a process's children.
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
