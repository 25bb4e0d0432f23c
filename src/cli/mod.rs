//! The commands, one a file. `args` describes them; here they are run.

pub mod args;
mod file_limit;
mod journal;
mod logging;
mod progress;
mod terminal;
mod trust;
mod serve;
mod check;
mod ready;
mod backup;
mod rekey;
mod fleet;
mod doctor;
mod tail;
mod export;
mod remote_log;
mod remote_tree;
mod verify;
mod monitor;
mod lab;
mod man;
pub mod usage;
mod stats;

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use event_stream::http_url::HttpUrl;
use event_stream::printable::printable;
use tracing::Level;

use crate::app;
use crate::cli::args::{Cli, Command, FleetCommand};
use crate::config::Config;
use crate::draft::Existing;

/// How long the end of the program waits for its last output.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// The exit code of `tail` and `export` when they succeeded, but rolls are missing, and of `lab run`
/// when the client never connected.
const GAP: u8 = 3;

/// The exit code of `stats` if a die reached the alarm.
const ALARM: u8 = 4;

/// Why the program ends with another code than 0.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong, with its causes.
    pub error: anyhow::Error,
    /// 1 failed while running, 2 usage or configuration error, 3 rolls are missing, 4 an alarm.
    pub exit_code: u8,
}

impl Failure {
    /// Prints the error on standard error, with its priority if the journal reads that. It may quote
    /// texts from elsewhere. Its own line ends stay, such as those of an excerpt of `Rocket.toml`.
    pub fn print(&self) {
        let text = format!("{:#}", self.error);
        let text = text.lines().map(printable).collect::<Vec<_>>().join("\n");
        let mut text = format!("rollcast: {text}\n").into_bytes();
        if journal::reads_stderr() {
            text = journal::with_priority(&Level::ERROR, &text);
        }
        // Not `eprintln`, which panics if standard error cannot be written to.
        say_last(move || {
            let _ = io::stderr().write_all(&text);
        });
    }

    /// A usage or configuration error.
    fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure { error: error.into(), exit_code: 2 }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { error, exit_code: 1 }
    }
}

impl Cli {
    /// Runs the command to its end.
    ///
    /// # Errors
    ///
    /// The command failed, with the exit code that belongs to the failure.
    pub fn run(self) -> Result<(), Failure> {
        file_limit::survive_the_limit();
        let config = || Config::load().map_err(Failure::usage);
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => serve::serve(config()?),
            Command::Check { ready: None } => check::check(config()?),
            Command::Check { ready: Some(Some(url)) } => ready::ready(url),
            Command::Check { ready: Some(None) } => ready::ready(local(&config()?)?),
            Command::Backup { file, force } => {
                let existing = if force { Existing::Replace } else { Existing::Refuse };
                backup::backup(config()?, &file, existing)
            }
            Command::Rekey => rekey::rekey(config()?),
            Command::Fleet(FleetCommand::Create { replicas, replace }) => {
                fleet::create(config()?, replicas.into(), replace)
            }
            Command::Stats => stats::stats(config()?),
            Command::Doctor(args) => doctor::doctor(*args),
            Command::Tail(args) => tail::tail(*args, config),
            Command::Export(args) => export::export(*args, config),
            Command::Verify(args) => verify::verify(*args),
            Command::Monitor(args) => monitor::monitor(*args),
            Command::Lab(args) => lab::lab(*args),
            Command::Completions { shell } => Ok(man::completions(shell)?),
            Command::Man { folder } => Ok(man::manual(&folder)?),
        }
    }
}

/// The address of the server that the configuration describes, on this machine.
fn local(config: &Config) -> anyhow::Result<HttpUrl> {
    let address = app::local_url(config)?;
    address.parse().with_context(|| format!("expected the address of a server, got `{address}`"))
}

/// Prints a line for people, which may quote texts from elsewhere. `println` would panic if standard
/// output is closed.
fn say(name: &str, text: String) -> anyhow::Result<()> {
    let text = printable(&text);
    writeln!(io::stdout(), "{name:<13}  {text}").context("cannot write to standard output")
}

/// Prints a line about the work on standard error. It may quote texts from elsewhere.
fn note(text: impl Display) {
    // Ignore the error: stderr may be closed.
    let _ = writeln!(io::stderr(), "rollcast: {}", printable(&text.to_string()));
}

/// Writes the last output of the program on a thread of its own and waits for it, at most 2 s: a
/// reader that has stopped reading must not keep the process alive.
fn say_last(write: impl FnOnce() + Send + 'static) {
    let (written, is_written) = mpsc::channel();
    thread::spawn(move || {
        write();
        let _ = written.send(());
    });
    let _ = is_written.recv_timeout(LAST_OUTPUT_TIMEOUT);
}
