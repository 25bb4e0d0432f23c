//! A running `rollcast tail`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::{Instance, signal, wait_for};

/// A running `rollcast tail`; killed when dropped.
pub struct Tail {
    child: Child,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Tail {
    /// Starts `rollcast tail` with these options on the server of an instance.
    pub fn start(instance: &Instance, options: &[&str]) -> Tail {
        Tail::spawn(instance.command().arg("tail").args(options))
    }

    /// Starts a command that runs `rollcast tail`.
    pub fn spawn(command: &mut Command) -> Tail {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stdout_reader) = collect(child.stdout.take().unwrap());
        let (stderr, stderr_reader) = collect(child.stderr.take().unwrap());
        Tail { child, stdout, stderr, readers: vec![stdout_reader, stderr_reader] }
    }

    /// The lines on standard output so far.
    pub fn lines(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    /// The last line on standard output so far.
    pub fn last_line(&self) -> Option<String> {
        self.stdout.lock().unwrap().last().cloned()
    }

    /// What is on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().join("\n")
    }

    /// Waits until there are `n` lines on standard output.
    pub fn wait_for_lines(&self, n: usize) -> Vec<String> {
        wait_for(&format!("{n} lines, {}", self.stderr()), || {
            let lines = self.lines();
            (lines.len() >= n).then_some(lines)
        })
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Ends it as Ctrl-C does, and returns its exit code.
    pub fn interrupt(&mut self) -> i32 {
        self.signal("INT");
        self.wait()
    }

    /// Waits for its end and for the last of its output, and returns its exit code.
    pub fn wait(&mut self) -> i32 {
        let status = wait_for("the end", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status.code().unwrap_or(-1)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the lines of a pipe on a thread of its own, which ends with the pipe.
fn collect(pipe: impl Read + Send + 'static) -> (Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let read = lines.clone();
    let reader = thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            read.lock().unwrap().push(line);
        }
    });
    (lines, reader)
}
