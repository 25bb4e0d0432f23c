//! A client by other people, as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Instance, PATIENCE, Server, signal, wait_for};
use crate::oracle::{Seen, compare_all, head};

/// Rolls a client misses, at least, while it is away.
pub const N_MISSED: i64 = 5;

/// A running client; killed when dropped. It takes the end of its input as the end of its
/// tester, so that it does not outlive that one either.
pub struct Client {
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
    complaints: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    seen: fn(&[String]) -> Seen,
}

impl Client {
    /// Starts a client whose lines of output `seen` understands.
    pub fn spawn(command: &mut Command, seen: fn(&[String]) -> Seen) -> Client {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap_or_else(|error| {
            panic!("{command:?} does not start: {error}; tests/setup.sh installs what is missing")
        });
        let (output, complaints) = (Arc::default(), Arc::default());
        let readers = vec![
            keep_lines(child.stdout.take().unwrap(), &output),
            keep_lines(child.stderr.take().unwrap(), &complaints),
        ];
        Client { child, output, complaints, readers, seen }
    }

    /// What it printed so far.
    pub fn output(&self) -> Vec<String> {
        self.output.lock().unwrap().clone()
    }

    /// What it saw so far.
    pub fn seen(&self) -> Seen {
        (self.seen)(&self.output())
    }

    /// Waits until it has seen what is `enough`.
    pub fn see(&mut self, what: &str, enough: impl Fn(&Seen) -> bool) -> Seen {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            let seen = self.seen();
            if enough(&seen) {
                return seen;
            }
            let report = |why: String| -> ! {
                let complaints = self.complaints.lock().unwrap().clone();
                panic!("expected {what}, {why}: it saw {seen:#?} and complained {complaints:#?}")
            };
            if let Some(status) = ended {
                report(format!("but the client ended with {status}"));
            }
            if start.elapsed() > PATIENCE {
                report(format!("waited {PATIENCE:?}"));
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits until it has seen the roll `id`, or a later one.
    pub fn see_roll(&mut self, id: i64) -> Seen {
        self.see(&format!("roll {id}"), |seen| seen.rolls.last().is_some_and(|roll| roll.id >= id))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the client to end", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Types a line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Whether it is still there.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills the server under it, and lets it come back to another that has rolled `N_MISSED`
    /// times and more meanwhile.
    pub fn lose(&mut self, server: &mut Server, instance: &Instance) {
        self.stay_away(server, instance);
        self.signal("CONT");
    }

    /// The same, but the server that it comes back to has made its last roll for an hour, so that
    /// all there is can be seen.
    pub fn lose_at_last(&mut self, server: &mut Server, instance: &Instance) {
        self.stay_away(server, instance);
        server.kill();
        instance.configure("every = '1h'");
        let last = head(instance) + 1;
        *server = instance.start();
        wait_until_rolled(instance, last);
        self.signal("CONT");
    }

    fn stay_away(&mut self, server: &mut Server, instance: &Instance) {
        server.kill();
        self.signal("STOP");
        *server = instance.start();
        wait_until_rolled(instance, head(instance) + N_MISSED);
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }
}

/// Kills the server `n_kills` times under a client that listens from the very first roll on: it
/// must see all that is stored, each roll once, and each connection must resume.
pub fn assert_that_it_sees_every_roll_once(
    listen: impl FnOnce(&Instance) -> Client,
    n_kills: usize,
) {
    assert_that_it_sees_every_roll_since("resumed", listen, n_kills);
}

/// The same for a client whose first connection has the mode `first`: `live` starts after the head
/// of its sync, and `resumed` at the first roll.
pub fn assert_that_it_sees_every_roll_since(
    first: &str,
    listen: impl FnOnce(&Instance) -> Client,
    n_kills: usize,
) {
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    let mut client = listen(&instance);
    client.see_roll(20);
    for _ in 1..n_kills {
        client.lose(&mut server, &instance);
        let live_again = head(&instance) + 20;
        client.see_roll(live_again);
    }
    client.lose_at_last(&mut server, &instance);
    let seen = client.see_roll(head(&instance));
    let first_roll = if first == "live" { Seen::first_after(&seen.syncs[0]) } else { 1 };
    compare_all(&seen.rolls, first_roll, &instance).unwrap();
    let mut modes = vec![first];
    modes.resize(n_kills + 1, "resumed");
    seen.assert_modes(&modes);
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until roll `id` is stored.
pub fn wait_until_rolled(instance: &Instance, id: i64) {
    wait_for(&format!("roll {id} to be stored"), || (head(instance) >= id).then_some(()));
}

/// A Node script, which finds its packages in the folder that it runs in.
pub fn node(script: &str) -> Command {
    let folder = packages("node_modules");
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", script]).current_dir(folder.parent().unwrap());
    command
}

/// The Python that has the packages.
pub fn python() -> Command {
    Command::new(packages("venv").join("bin/python"))
}

/// A program that a Python package brings.
pub fn python_program(name: &str) -> Command {
    Command::new(packages("venv").join("bin").join(name))
}

/// Where `tests/setup.sh` puts packages.
fn packages(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    assert!(folder.is_dir(), "expected `{}`; tests/setup.sh creates it", folder.display());
    folder
}

/// What our scripts print: a line `id data` for each roll, `sync data` for each sync.
pub fn printed(lines: &[String]) -> Seen {
    let mut seen = Seen::default();
    for line in lines {
        match line.split_once(' ') {
            Some(("sync", data)) => seen.syncs.push(json(data)),
            Some((id, dice)) => seen.see_roll(id, dice),
            None if line == "empty" => panic!("the client made an event without data"),
            None => panic!("expected `id data` or `sync data`, the script printed `{line}`"),
        }
    }
    seen
}

/// The JSON that a client read.
pub fn json(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_else(|error| panic!("expected JSON, {error}: `{data}`"))
}

fn keep_lines(from: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    })
}
