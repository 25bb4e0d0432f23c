//! `rollcast monitor`.

mod growth;
mod round;
mod state;
mod tail;
mod unverified;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Args, ValueHint};
use event_stream::http_url::HttpUrl;
use tokio::select;
use tokio::sync::oneshot;

use self::round::{Round, RoundError, Seen};
use self::state::StateFile;
use crate::app;
use crate::backoff::Backoff;
use crate::cli::doctor::duration;
use crate::cli::remote_log::{LogArgs, RemoteLog, long_duration};
use crate::cli::{Failure, note, say};
use crate::remote::server_url;

/// The pause after a failed attempt doubles from this one up to the interval, or this maximum.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(60);
/// A checkpoint that is older than the known one may come from a cache. This many in a row mean
/// that the log was rolled back.
const MAX_OLDER: u32 = 3;
/// How long a round may take at least, even if `--stale` ends before. Without it, the last round
/// before that alarm would have no time to see a new checkpoint.
const MIN_ROUND: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The monitor follows the log of a server: each new checkpoint must continue the known one, and each
new roll must follow from its seed. The first run verifies all rolls that the server keeps, as
`verify` does. The newest verified checkpoint is kept in a state file, from which the next run
continues. During outages the monitor keeps trying.

Alarms: a fork (two signed checkpoints that contradict each other), a rollback (a shorter log), a
break (a chain that nobody announced), a log that is signed by another key, and rolls that do not
follow from their seeds. On an alarm, the monitor saves both checkpoints beside the state file, as
STATE.ROLLS-ROOT-NOTE. Signed checkpoints that it cannot verify yet are in STATE.unverified. The
state file does not change. To continue after an alarm that you accept, such as an announced new
secret, remove the state file; after a fork, also STATE.unverified.

Exit codes: 0 ended by a signal, or with --once: the log continues; 1 an alarm, no new checkpoint
within --stale, or the log cannot be read at the start; 2 usage error, or an unusable state file.")]
pub struct MonitorArgs {
    /// The server's URL
    #[arg(value_parser = server_url)]
    url: HttpUrl,
    /// The state file; by default HOST-PORT.monitor in the working folder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    state: Option<PathBuf>,
    /// How often to ask for a new checkpoint, 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    every: Duration,
    /// End with an alarm if there is no new checkpoint for this time, 1s to 365d; up to 5 s later
    /// if the server answers slowly. The time begins when the first run has verified the log
    #[arg(long, value_name = "TIME", value_parser = long_duration, conflicts_with = "once")]
    stale: Option<Duration>,
    /// Check once and exit, for cron; an outage is an error
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// Follows a log until a signal or an alarm.
///
/// # Errors
///
/// An alarm, or the log cannot be read at the start: exit code 1. The state cannot be used: exit
/// code 2.
pub fn monitor(args: MonitorArgs) -> Result<(), Failure> {
    let log = RemoteLog::new(&args.url, &args.log)?;
    let file = StateFile::new(&args.url, args.state.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    // Requests block, so they run on their own thread. The process ends without waiting for it:
    // a state file is replaced atomically.
    let (ended, end) = oneshot::channel();
    let stop = {
        let _inside = runtime.enter();
        app::stop_signal().context("cannot listen for signals")?
    };
    thread::spawn(move || {
        let _ = ended.send(follow(&args, &log, file));
    });
    runtime.block_on(async {
        select! {
            _ = stop => Ok(()),
            end = end => end.unwrap_or_else(|_| Err(anyhow!("the monitor panicked").into())),
        }
    })
}

/// Follows a log until an alarm.
fn follow(args: &MonitorArgs, log: &RemoteLog, file: StateFile) -> Result<(), Failure> {
    let mut round = Round::start(log, args.log.key.as_ref(), file)?;
    let backoff = || Backoff::new(FIRST_RETRY, args.every.clamp(FIRST_RETRY, MAX_RETRY));
    let (mut retry, mut n_older, mut newest_at) = (backoff(), 0, Instant::now());
    loop {
        // The first run reads the whole history, which may take longer than a log may stand still.
        let stale = args.stale.filter(|_| round.is_begun());
        log.restart_timeout(stale.map_or(Duration::MAX, |stale| {
            stale.saturating_sub(newest_at.elapsed()).max(MIN_ROUND)
        }));
        let mut outage = None;
        match round.run() {
            Ok(Seen::Same) => n_older = 0,
            // Ignore the error of `say`: the monitor continues if nobody reads its output.
            Ok(Seen::Begun { first, last }) => {
                newest_at = Instant::now();
                let state = round.state_path();
                let text = format!("rolls {first} to {last}; the state is in `{state}`");
                let _ = say("checkpoint", text);
            }
            Ok(Seen::Grown { first, last, n_unproven }) => {
                (n_older, newest_at) = (0, Instant::now());
                let without = match n_unproven {
                    0 => String::new(),
                    n => format!("; {n} of them have no seed, so their dice are not proven"),
                };
                let text = format!("rolls {first} to {last} continue the log{without}");
                let _ = say("checkpoint", text);
            }
            Ok(Seen::Older { size }) => {
                n_older += 1;
                if n_older >= MAX_OLDER || args.once {
                    return Err(round.rollback().into());
                }
                note(format_args!("the server served an older checkpoint, of {size} rolls"));
            }
            Err(RoundError::Alarm(error)) => return Err(error.into()),
            Err(RoundError::Outage(error)) if args.once || !round.is_begun() => {
                return Err(error.into());
            }
            Err(RoundError::Outage(error)) => outage = Some(error),
        }
        if args.once {
            return Ok(());
        }
        if outage.is_none() {
            retry = backoff();
        }
        let mut pause = if outage.is_some() { retry.next_pause() } else { args.every };
        if let Some(stale) = args.stale {
            let left = stale.saturating_sub(newest_at.elapsed());
            if left.is_zero() {
                let seconds = stale.as_secs_f64();
                return Err(anyhow!("stale: there was no new checkpoint for {seconds} s").into());
            }
            pause = pause.min(left);
        }
        if let Some(error) = outage {
            note(format_args!("{error:#}; trying again in {:.1} s", pause.as_secs_f64()));
        }
        thread::sleep(pause);
    }
}
