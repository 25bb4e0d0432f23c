//! Logs that cannot be written. Only log lines are lost.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, http, wait_for};
use crate::kills::head;
use crate::oracle::{Log, Stored};
use crate::panics;
use crate::report::{Recovered, Row};

const N_LINES: usize = 11_000;
/// More lines than a pipe buffers.
const N_LINES_OF_A_PIPE: usize = 1_000;
/// Shell commands that send the log to a full disk, and to a pipe without a reader. A reader opens
/// the pipe and exits, because opening a pipe for writing waits for a reader.
const LOGS: [&str; 2] = [
    "exec \"$0\" \"$@\" 2>/dev/full",
    "rm -f pipe; mkfifo pipe; : <pipe & exec \"$0\" \"$@\" 2>pipe",
];

/// Starts a server whose log goes where the shell command `log` sends it.
fn start(instance: &Instance, log: &str, command: &Command) -> Server {
    let mut shell = Command::new("sh");
    shell.args(["-c", log]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    Server::spawn(shell.current_dir(instance.path()))
}

/// The pipe has a reader, which reads nothing.
#[test]
fn a_log_whose_reader_stops_reading_blocks_nothing() {
    let instance = Instance::new("every = '20ms'");
    // Opened for reading and writing, so that opening does not wait. Standard output goes there too.
    let log = "rm -f pipe; mkfifo pipe; exec \"$0\" \"$@\" <>pipe >&0 2>&0";
    let mut server = start(&instance, log, &instance.command());
    wait_for("the server to listen", || http().get(instance.url("/healthz")).call().ok());
    // Many times the 64 KiB that a pipe buffers, and more lines than the server buffers.
    let agent = http();
    for _ in 0..N_LINES {
        assert_eq!(agent.get(instance.url("/healthz")).call().unwrap().status(), 200);
    }
    let n_stored = head(&instance);
    let ask = Ask { last_event_id: Some("0"), ..Ask::default() };
    let mut stream = Stream::open(&instance.url("/stream/"), ask).unwrap();
    let mut seen = Log::after(0);
    for (id, dice) in stream.rolls(n_stored as usize + 20) {
        seen.see(id.split('-').next().unwrap().parse().unwrap(), format!("{id} {dice}"));
    }
    server.stop();
    seen.settle(&Stored::read(&instance));
    seen.assert_is_whole("a listener");

    // It does not block the exit of a server that fails, either: the exit code is correct.
    let mut server = start(&instance, log, &instance.command());
    wait_for("the server to listen", || agent.get(instance.url("/healthz")).call().ok());
    for _ in 0..N_LINES_OF_A_PIPE {
        assert_eq!(agent.get(instance.url("/healthz")).call().unwrap().status(), 200);
    }
    fs::rename(instance.database(), instance.path().join("moved.db")).unwrap();
    assert_eq!(server.wait().code(), Some(1), "the exit code when the database is gone");
    Row {
        fault: "the reader of the log's pipe stops reading",
        n_injected: 1,
        n_lost: seen.n_lost,
        n_repeated: seen.n_repeated,
        recovered: Recovered::Words(format!("continues for {N_LINES} lines, and stops cleanly")),
        control: "none".into(),
        test: "logs::a_log_whose_reader",
    }
    .write();
}

#[test]
fn a_log_that_cannot_be_written_loses_its_lines_and_blocks_nothing() {
    let (mut n_lost, mut n_repeated) = (0, 0);
    for log in LOGS {
        let instance = Instance::new("every = '20ms'");
        let mut server = start(&instance, log, &instance.command());
        wait_for("the server to listen", || {
            assert!(!server.has_ended(), "{log}: the server exited");
            http().get(instance.url("/healthz")).call().ok()
        });
        let n_stored = head(&instance);
        let ask = Ask { last_event_id: Some("0"), ..Ask::default() };
        let mut stream = Stream::open(&instance.url("/stream/"), ask).unwrap();
        // Each request writes a log line.
        for path in ["/", "/stats", "/none"] {
            let answer = http().get(instance.url(path)).call().unwrap();
            assert_eq!(answer.status(), if path == "/none" { 404 } else { 200 }, "{log}: {path}");
        }
        let mut seen = Log::after(0);
        for (id, dice) in stream.rolls(n_stored as usize + 20) {
            seen.see(id.split('-').next().unwrap().parse().unwrap(), format!("{id} {dice}"));
        }
        server.stop();
        seen.settle(&Stored::read(&instance));
        seen.assert_is_whole(log);
        (n_lost, n_repeated) = (n_lost + seen.n_lost, n_repeated + seen.n_repeated);

        // The exit code still reports the error.
        let mut wrong = instance.command();
        wrong.env("ROCKET_ROLLCAST", "{every='never'}");
        assert_eq!(start(&instance, log, &wrong).wait().code(), Some(2), "{log}");

        // Control: a logger that reports its own errors on standard error.
        let mut control = start(&instance, log, &panics::command(&instance, "routes"));
        let ended = wait_for("the control to end", || {
            let _ = http().get(instance.url("/healthz")).call();
            control.has_ended().then(|| control.wait())
        });
        assert_eq!(ended.signal(), Some(6), "{log}: it ended with {ended}");
    }
    Row {
        fault: "the log cannot be written: full disk, pipe without a reader",
        n_injected: LOGS.len(),
        n_lost,
        n_repeated,
        recovered: Recovered::Words("only log lines are lost".into()),
        control: "a logger that reports this on standard error is aborted".into(),
        test: "logs::a_log_that_cannot",
    }
    .write();
}
