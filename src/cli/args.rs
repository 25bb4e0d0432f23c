//! The commands and their help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};
use event_stream::http_url::HttpUrl;

use crate::cli::doctor::DoctorArgs;
use crate::cli::export::ExportArgs;
use crate::cli::lab::LabArgs;
use crate::cli::monitor::MonitorArgs;
use crate::cli::tail::TailArgs;
use crate::cli::verify::VerifyArgs;

/// Rolls dice on a clock, stores every roll in SQLite, and streams it to every open browser.
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER_HELP: &str = "\
Configuration: an installed program reads the Rocket.toml that was installed with it
(/usr/local/etc/rollcast for /usr/local/bin/rollcast, /etc/rollcast for /usr/bin). Otherwise it
reads Rocket.toml in the working folder or above it, or beside the program or above it. The file
explains every key. Without a file, every key has its default and rolls are stored in var/rolls.db
in the working folder.

Environment:
  ROCKET_CONFIG=FILE       read this file instead of Rocket.toml
  ROCKET_PROFILE=NAME      the profile: debug, release, or one of your own
  ROCKET_PORT=5001         any key of Rocket; values as in the file
  ROCKET_ROLLCAST={every=\"200ms\"}   any keys of rollcast
  RUST_LOG=debug           the log level, or a log filter
  NO_COLOR=1               no colours on a terminal; also with TERM=dumb
  HTTP_PROXY=URL           tail, export, doctor, verify, monitor: the HTTP proxy for http URLs;
                           HTTPS_PROXY for https, ALL_PROXY for both; or in small letters
  NO_PROXY=LIST            hosts, domains and networks such as 10.0.0.0/8 that are reached
                           directly; this machine always is

Exit codes:
  0  done
  1  failed while running; doctor: faults found; verify: refused; monitor: an alarm; lab run: a
     rule is broken
  2  usage or configuration error; doctor: also if the host is unreachable
  3  tail, export: rolls are missing; lab run: the client never connected
  4  stats: the evidence against a fair die reached its alarm";

const CHECK_HELP: &str = "\
`check --ready` is a probe for containers and monitoring: it reads /readyz and needs no curl.
Exit codes: 0 sound, or ready; 1 damaged, or not ready or no answer within a few seconds; 2 usage
or configuration error.";

const REKEY_HELP: &str = "\
Stop the server first. The secret determines all future rolls, and its key signs the log of rolls.
Make a new secret if somebody else may have read the old one, if it is lost, or if you restored an
older copy of the database. The old secret and its checkpoint stay under other names. Everybody who
verifies the log sees the new key and the break. Draws across the break are void.
Exit codes: 0 done, 1 no new secret was made, 2 usage or configuration error.";

const BACKUP_HELP: &str = "\
The script `rollcast-backup FOLDER N_KEPT`, for cron and timers, runs this command. It writes
FOLDER/rolls-<UTC time>.db and then deletes all copies except the newest N_KEPT. Run it as the
server's user. Its exit codes: 0 done, 1 no copy was made and none was deleted, 2 usage error.";

/// The commands of `rollcast fleet`.
#[derive(Clone, Debug, Subcommand)]
pub enum FleetCommand {
    /// Create the fleet's log on the NATS servers, once, on the node with the longest history
    #[command(after_help = FLEET_CREATE_HELP)]
    Create {
        /// How many NATS servers keep the log
        #[arg(long, value_name = "N", default_value_t = 3,
              value_parser = clap::value_parser!(u8).range(1..=5))]
        replicas: u8,
        /// Delete a log of this name first: the new one continues the history of this node
        #[arg(long)]
        replace: bool,
    },
}

const FLEET_CREATE_HELP: &str = "\
The log continues the history of this node: it begins with the roll after its newest one. Nodes
with another or a shorter history need a backup of this node first. The server may run meanwhile.
A log that has this node's history and more rolls is never replaced: they would be lost.
The configuration needs the table [default.rollcast.fleet].
Exit codes: 0 created, 1 not created, 2 usage or configuration error.";

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Roll dice and serve pages until stopped (the default)
    Serve,
    /// Check the configuration and the database; changes nothing
    #[command(after_help = CHECK_HELP)]
    Check {
        /// Only ask a running server whether it is ready: the configured one, or the one at URL
        #[arg(long, value_name = "URL", num_args = 0..=1)]
        ready: Option<Option<HttpUrl>>,
    },
    /// Copy the database consistently, also while a server writes to it
    #[command(after_help = BACKUP_HELP)]
    Backup {
        /// Where to write the copy; its folder must exist
        file: PathBuf,
        /// Replace FILE if it exists
        #[arg(long)]
        force: bool,
    },
    /// Set up several servers with one history, on NATS JetStream
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Make a new secret, which begins a new chain of rolls and gives the log a new key
    #[command(after_help = REKEY_HELP)]
    Rekey,
    /// Print statistics of all rolls ever made, compared with fair dice
    #[command(
        after_help = "Exit codes: 0 no alarm, 1 failed while running, 2 usage or configuration error,\n\
                      4 the evidence against a fair die reached its alarm, now or earlier."
    )]
    Stats,
    /// Find out why events do not arrive: check a stream through its public address
    Doctor(Box<DoctorArgs>),
    /// Follow new rolls, from this machine or from another server
    Tail(Box<TailArgs>),
    /// Write past rolls as CSV or JSON, from the database or from a server
    Export(Box<ExportArgs>),
    /// Check that rolls were fixed before they were shown, and never changed
    Verify(Box<VerifyArgs>),
    /// Watch a server's log, and fail if it is ever rewritten
    Monitor(Box<MonitorArgs>),
    /// Test a client of event streams against a server that misbehaves on demand
    Lab(Box<LabArgs>),
    /// Print a shell script that completes commands and options
    Completions {
        /// The shell that runs it
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command
    Man {
        /// The folder; created if it does not exist
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}
