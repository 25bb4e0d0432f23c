//! A process that is killed when dropped, also while it is paused.

use std::process::{Child, Command, Stdio};

use crate::common::{signal, wait_for};

pub struct Process(Child);

impl Process {
    /// Starts a command without standard input and output.
    pub fn start(command: &mut Command) -> Process {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}; run tests/setup.sh to install it")
        });
        Process(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Stops it with SIGTERM.
    pub fn stop(&mut self) {
        self.signal("TERM");
        wait_for("a process to end", || self.0.try_wait().unwrap());
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        signal(name, self.0.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
