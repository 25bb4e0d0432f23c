//! A program in the background and what it says; ended when dropped.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, wait_for};

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

    /// Asks it to end, and after a while no longer asks. Never panics: a test that failed may be
    /// on its way out.
    fn end(&mut self, patience: Duration) {
        let asked = Instant::now();
        let ask = format!("kill -s TERM {}", self.pid());
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = Command::new("sh").args(["-c", &ask]).status();
        }
        while matches!(self.0.try_wait(), Ok(None)) {
            if asked.elapsed() > patience {
                eprintln!("process {} did not end on SIGTERM; it is killed", self.pid());
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end(PATIENCE);
    }
}

#[test]
fn a_daemon_that_does_not_end_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let script = format!("trap '' TERM; : >'{}'; while :; do sleep 1; done", ready.display());
    let mut deaf = Daemon::spawn(Command::new("sh").args(["-c", &script]));
    wait_for("it to be deaf", || ready.exists().then_some(()));
    deaf.end(Duration::from_millis(100));
    assert!(!deaf.runs());
    // And one that is gone already.
    deaf.end(Duration::ZERO);
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
