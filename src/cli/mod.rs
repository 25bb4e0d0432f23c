//! The commands.

mod progress;
mod trust;
mod backup;
mod doctor;
mod tail;
mod export;
mod pages;
mod stats;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tracing::info;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::debug_fn;

use crate::app;
use crate::cli::doctor::DoctorArgs;
use crate::cli::export::ExportArgs;
use crate::cli::tail::TailArgs;
use crate::config::{Config, LogFormat};
use crate::remote::Url;
use crate::store::{Existing, Inspection, Store};
use crate::web::SiteFiles;

/// Rolls dice on a clock, keeps every roll in SQLite, and streams them to every open browser.
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Configuration: of an installed program, the Rocket.toml that was installed with it
(/usr/local/etc/rollcast for /usr/local/bin/rollcast, /etc/rollcast for /usr/bin); else Rocket.toml
in the working folder or above it, else beside the program or above. Every key is explained there.

Environment:
  ROCKET_CONFIG=FILE       read this file instead of Rocket.toml
  ROCKET_PROFILE=NAME      debug or release, or a profile of your own
  ROCKET_PORT=5001         any key of Rocket's; values as in the file
  ROCKET_ROLLCAST={every=\"200ms\"}   any keys of ours
  RUST_LOG=debug           what is logged
  NO_COLOR=1               doctor without colours

Exit codes: 0 done, 1 failed while running, 2 wrong usage or configuration; of tail and export
3, rolls are missing; of doctor 1, faults were found, 2, there is nobody, or wrong usage.";

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Roll and serve until told to stop (the default)
    Serve,
    /// Check the configuration and the database, changing nothing
    Check,
    /// Copy the history soundly, also while a server adds to it
    Backup {
        /// The copy, in a folder that exists
        file: PathBuf,
        /// Replace FILE if it exists
        #[arg(long)]
        force: bool,
    },
    /// Show what all rolls ever made add up to, beside what fair dice would show
    Stats,
    /// Say why events do not arrive: look at a stream through its public address
    Doctor(Box<DoctorArgs>),
    /// Follow the rolls as they are made, here or elsewhere
    Tail(Box<TailArgs>),
    /// Write past rolls as CSV or JSON, from the database or from a server
    Export(Box<ExportArgs>),
    /// Print a script that completes commands and options
    Completions {
        /// The shell that runs it
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one a command
    Man {
        /// A folder that exists
        folder: PathBuf,
    },
}

/// Lines of the log that wait to be written: some megabytes.
const MOST_LINES: usize = 10_000;
/// How long the end waits for what is said last.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Ends a command that did what it should, but for rolls that were missed.
const GAP: u8 = 3;

/// Why the program ends with another code than 0.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong, with its causes.
    pub error: anyhow::Error,
    /// 1 failed while running, 2 wrong usage or configuration, 3 rolls were missed.
    pub exit_code: u8,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { error, exit_code: 1 }
    }
}

impl Cli {
    /// Runs the command to its end.
    pub fn run(self) -> Result<(), Failure> {
        let config =
            || Config::load().map_err(|error| Failure { error: error.into(), exit_code: 2 });
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => serve(config()?),
            Command::Check => check(config()?),
            Command::Backup { file, force: false } => {
                backup::backup(config()?, &file, Existing::Refuse)
            }
            Command::Backup { file, force: true } => {
                backup::backup(config()?, &file, Existing::Replace)
            }
            Command::Stats => stats::stats(config()?),
            Command::Doctor(args) => doctor::doctor(*args),
            Command::Tail(args) => tail::tail(*args, config),
            Command::Export(args) => export::export(*args, config),
            Command::Completions { shell } => Ok(pages::completions(shell)?),
            Command::Man { folder } => Ok(pages::manual(&folder)?),
        }
    }
}

fn serve(config: Config) -> Result<(), Failure> {
    site_files(&config)?;
    let log = start_logging(config.log_format).map_err(|error| Failure { error, exit_code: 2 })?;
    if config.file.is_none() {
        let database = config.store.database.display();
        info!("found no Rocket.toml, using built-in defaults; rolls are stored in {database}");
    }
    let ended = app::run(&config, app::serve(&config));
    // It waits for the last lines to be written, and where nobody reads them complains about that
    // on standard output.
    say_last(move || drop(log));
    Ok(ended??)
}

/// Refuses unusable templates and static files before anything else happens.
fn site_files(config: &Config) -> Result<SiteFiles, Failure> {
    SiteFiles::load(&config.web).map_err(|error| Failure { error: error.into(), exit_code: 2 })
}

fn check(config: Config) -> Result<(), Failure> {
    let Config { roller, store, .. } = &config;
    // Line by line: looking through a large database takes a while.
    say("configuration", config.source().to_string())?;
    say("profile", config.profile.clone())?;
    say("address", app::address(&config)?)?;
    say("dice", format!("{} every {:?}", roller.dice, roller.every))?;
    say("kept", store.keep.to_string())?;
    let files = site_files(&config)?;
    say("templates", files.templates())?;
    say("static files", files.static_files())?;
    say("database", store.database.display().to_string())?;
    match app::run(&config, Store::inspect(store))?.map_err(anyhow::Error::new)? {
        Inspection::Absent => say("", "none yet; the first start creates it".into())?,
        Inspection::Sound { kept, schema, in_use, n_unreadable, unreadable } => {
            say("", format!("sound, schema {schema}, rolls kept: {}", kept.n_rolls()))?;
            if kept.n_rolls() > 0 {
                say("", format!("rolls {} to {}", kept.oldest, kept.head.id))?;
            }
            if in_use {
                say("", "a server is running on it".into())?;
            }
            for row in &unreadable {
                say("", row.to_string())?;
            }
            let n_more = n_unreadable - unreadable.len() as u64;
            if n_more > 0 {
                say("", format!("and {n_more} more"))?;
            }
            if n_unreadable > 0 {
                let rows = if n_unreadable == 1 { "row" } else { "rows" };
                return Err(anyhow::anyhow!(
                    "expected that every roll can be read, got {n_unreadable} {rows} that cannot; \
                     they are left out everywhere: repair or delete them, or restore a backup"
                )
                .into());
            }
        }
    }
    Ok(())
}

/// The server that the configuration describes, on this machine.
fn local(config: &Config) -> anyhow::Result<Url> {
    let address = app::address(config)?;
    address.parse().with_context(|| format!("expected an address to ask, got `{address}`"))
}

/// A line for people. Not by `println`, which panics when nobody reads on.
fn say(name: &str, text: String) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{name:<13}  {text}").context("cannot write to standard output")
}

/// Before Rocket is built, which would otherwise bring its own logger.
///
/// Lines are written by a thread of their own, so that a reader of the log that stops reading
/// stops nobody else; what comes once [`MOST_LINES`] wait for it is lost.
fn start_logging(format: LogFormat) -> anyhow::Result<WorkerGuard> {
    // Rocket tells of each request itself, a 404 as an error and a closed stream as a warning;
    // our access log says it once. Panics and template errors are still told.
    let default = "info,rocket=off,rocket_dyn_templates=warn";
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        _ => default.into(),
    };
    let filter = EnvFilter::try_new(&filter)
        .with_context(|| format!("expected a log filter in RUST_LOG, got `{filter}`"))?;
    let (lines, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MOST_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        // A line that cannot be written (a full disk, a pipe that nobody reads any more) is lost.
        // To tell of it on standard error as well would be a panic, and in the panic hook the end.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Text => logs
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            // The message reads alone; the fields behind it are for machines.
            .fmt_fields(debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{value:?}"),
                _ => Ok(()),
            }))
            .try_init(),
        LogFormat::Json => logs.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    Ok(guard)
}

/// Says something at the end, which whoever stops reading must not hold up: waits for it 2 s at
/// most.
pub fn say_last(say: impl FnOnce() + Send + 'static) {
    let (tell, said) = mpsc::channel();
    thread::spawn(move || {
        say();
        let _ = tell.send(());
    });
    let _ = said.recv_timeout(LAST_WORD);
}
