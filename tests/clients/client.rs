//! A third-party client, as a child process.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Door, Instance, Server, TIMEOUT, signal, wait_for};
use crate::oracle::{Seen, compare_all, head};

/// The minimum number of rolls that a client misses while it is disconnected.
pub const N_MISSED: i64 = 5;

/// A running client, killed on drop. It exits at the end of its standard input, so it does not
/// outlive the test process.
pub struct Client {
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
    complaints: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    seen: fn(&[String]) -> Seen,
}

impl Client {
    /// Starts a client. `seen` parses its output lines.
    pub fn spawn(command: &mut Command, seen: fn(&[String]) -> Seen) -> Client {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}; run tests/setup.sh to install it")
        });
        let (output, complaints) = (Arc::default(), Arc::default());
        let readers = vec![
            keep_lines(child.stdout.take().unwrap(), &output),
            keep_lines(child.stderr.take().unwrap(), &complaints),
        ];
        Client { child, output, complaints, readers, seen }
    }

    /// The lines printed so far.
    pub fn output(&self) -> Vec<String> {
        self.output.lock().unwrap().clone()
    }

    /// The rolls and syncs received so far.
    pub fn seen(&self) -> Seen {
        (self.seen)(&self.output())
    }

    /// Waits until `enough` accepts what the client received, and returns that. `what` describes it
    /// in the panic message.
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
                panic!("expected {what}, {why}: received {seen:#?}, standard error {complaints:#?}")
            };
            if let Some(status) = ended {
                report(format!("but the client ended with {status}"));
            }
            if start.elapsed() > TIMEOUT {
                report(format!("waited {TIMEOUT:?}"));
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits until the client has received roll `id` or a later one.
    pub fn see_roll(&mut self, id: i64) -> Seen {
        self.see(&format!("roll {id}"), |seen| seen.rolls.last().is_some_and(|roll| roll.id >= id))
    }

    /// Waits until the client exits.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the client to end", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Writes a line to its standard input.
    pub fn send_line(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Whether the client is still running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills the server, pauses the client, and starts another server. The client continues after
    /// at least `N_MISSED` new rolls.
    pub fn restart_server(&mut self, server: &mut Server, instance: &Instance) {
        self.miss_rolls(server, instance);
        self.signal("CONT");
    }

    /// The same, but the client reconnects to a server that makes no more rolls for an hour, so
    /// that it can receive all of them.
    pub fn restart_server_for_last_roll(&mut self, server: &mut Server, instance: &Instance) {
        self.miss_rolls(server, instance);
        server.kill();
        instance.configure("every = '1h'");
        let last = head(instance) + 1;
        *server = instance.start();
        wait_until_rolled(instance, last);
        self.signal("CONT");
    }

    fn miss_rolls(&mut self, server: &mut Server, instance: &Instance) {
        server.kill();
        self.signal("STOP");
        *server = instance.start();
        wait_until_rolled(instance, head(instance) + N_MISSED);
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }
}

/// Kills the server `n_kills` times while a client reads the stream at a door from the first roll on.
/// The client must receive every stored roll once, and each connection must resume.
pub fn assert_that_it_sees_every_roll_once(
    door: Door,
    listen: impl FnOnce(&Instance) -> Client,
    n_kills: usize,
) {
    assert_that_it_sees_every_roll_since(door, "resumed", listen, n_kills);
}

/// The same for a client whose first connection has the mode `first`: `live` starts after the head
/// in its sync, and `resumed` starts at the first roll.
pub fn assert_that_it_sees_every_roll_since(
    door: Door,
    first: &str,
    listen: impl FnOnce(&Instance) -> Client,
    n_kills: usize,
) {
    let instance = door.instance("every = '50ms'");
    let mut server = instance.start();
    let mut client = listen(&instance);
    client.see_roll(20);
    for _ in 1..n_kills {
        client.restart_server(&mut server, &instance);
        let live_again = head(&instance) + 20;
        client.see_roll(live_again);
    }
    client.restart_server_for_last_roll(&mut server, &instance);
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

/// Runs a Node script in the folder of its packages.
pub fn node(script: &str) -> Command {
    let folder = packages("node_modules");
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", script]).current_dir(folder.parent().unwrap());
    command
}

/// The Python interpreter of the environment with the packages. It leaves no compiled modules
/// beside our scripts.
pub fn python() -> Command {
    let mut command = Command::new(packages("venv").join("bin/python"));
    command.arg("-B");
    command
}

/// A program of an installed Python package.
pub fn python_program(name: &str) -> Command {
    Command::new(packages("venv").join("bin").join(name))
}

/// The folder where `tests/setup.sh` installs packages.
fn packages(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    assert!(folder.is_dir(), "expected `{}`; tests/setup.sh creates it", folder.display());
    folder
}

/// Parses the output of our scripts: a line `id data` for each roll, `sync data` for each sync.
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

/// Parses JSON that a client received.
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
