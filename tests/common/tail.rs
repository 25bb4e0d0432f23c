//! A running `rollcast tail`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{signal, wait_for};

/// A running `rollcast tail`; killed when dropped.
pub struct Tail {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    pub fn spawn(command: &mut Command) -> Tail {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = collect(child.stdout.take().unwrap());
        let said = collect(child.stderr.take().unwrap());
        Tail { child, lines, said }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub fn last_line(&self) -> Option<String> {
        self.lines.lock().unwrap().last().cloned()
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    pub fn wait_for_lines(&self, n: usize) -> Vec<String> {
        wait_for(&format!("{n} lines, {}", self.said()), || {
            let lines = self.lines();
            (lines.len() >= n).then_some(lines)
        })
    }

    /// Ends it as Ctrl-C does, and gives back its exit code.
    pub fn interrupt(&mut self) -> i32 {
        signal("INT", self.child.id());
        self.wait()
    }

    pub fn wait(&mut self) -> i32 {
        wait_for("the end", || self.child.try_wait().unwrap()).code().unwrap_or(-1)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(pipe: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            seen.lock().unwrap().push(line);
        }
    });
    lines
}
