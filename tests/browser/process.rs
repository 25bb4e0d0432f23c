//! The processes of browsers: how many browsers run at once, and how all of one end.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::thread::available_parallelism;

/// The permit of one browser. There is one per processor, because a browser needs a whole one, and
/// more tests than that run at once.
pub struct Permit;

/// How many browsers run.
static N_BROWSERS: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

impl Permit {
    /// Waits until fewer browsers run than there are processors. So a test opens its browser before
    /// its server, which would roll dice meanwhile. It must close its browser before it opens
    /// another one.
    pub fn acquire() -> Permit {
        let n_processors = available_parallelism().map_or(1, usize::from);
        let running = N_BROWSERS.lock().unwrap();
        let mut running = ENDED.wait_while(running, |running| *running >= n_processors).unwrap();
        *running += 1;
        Permit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *N_BROWSERS.lock().unwrap() -= 1;
        ENDED.notify_one();
    }
}

/// A process and all processes that it started. They are killed when it is dropped.
pub struct ProcessGroup {
    child: Child,
}

impl ProcessGroup {
    /// Starts a command, without its output, in a process group of its own.
    pub fn start(command: &mut Command) -> ProcessGroup {
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let started = command.spawn();
        let child = started.unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}; tests/setup.sh installs it")
        });
        ProcessGroup { child }
    }

    /// Sends a signal by name, such as `STOP`, to all of them.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} -- -{}", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
    }

    /// The id of the process that was started, which is also that of the group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("KILL");
        }
        let _ = self.child.wait();
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
