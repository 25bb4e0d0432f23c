//! `rollcast tail`.

mod connection;
mod follower;
mod line;

use std::io;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use event_stream::http_url::HttpUrl;
use serde_json::Value;
use tokio::select;

use self::follower::Follower;
use self::line::LineFormat;
use crate::app;
use crate::cli::doctor::duration;
use crate::cli::trust::TrustArgs;
use crate::cli::{Failure, GAP, local, note};
use crate::config::Config;
use crate::cursor::Cursor;
use crate::remote::{Expected, Remote, RemoteError, server_url};
use crate::roll::RollId;
use crate::time_spec::TimeSpec;

/// After this silence a connection to another machine counts as dead: three heartbeats of the
/// default length.
const SILENCE: Duration = Duration::from_secs(45);
/// How long the answer with the newest rolls may take.
const ROLLS_TIMEOUT: Duration = Duration::from_secs(45);

/// Follows the rolls of a server, as `tail -f` follows a file. Reconnects when the connection is
/// lost, and continues where it was.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 ended by a signal, or standard output was closed; 1 the server cannot be followed, or
asks its clients to stop (status 204); 2 usage or configuration error; 3 ended like 0, but rolls are
missing: they are no longer kept, they cannot be read, or another history replaced theirs.")]
pub struct TailArgs {
    /// The server's URL; by default the configured server on this machine
    #[arg(value_parser = server_url)]
    url: Option<HttpUrl>,
    /// Start with the newest N rolls, 0 to 1000
    #[arg(short, long = "rolls", value_name = "N", default_value = "10", value_parser = clap::value_parser!(u16).range(..=1000))]
    n: u16,
    /// Start with the rolls since this time: a time ago such as 10m, or a timestamp. If the clock
    /// was set back, some rolls after the first one have earlier timestamps
    #[arg(long, value_name = "WHEN", conflicts_with = "n")]
    since: Option<TimeSpec>,
    /// Start after this roll: a cursor such as 41-1763861860123, or an id
    #[arg(long, value_name = "CURSOR", conflicts_with_all = ["n", "since"])]
    after: Option<Cursor>,
    /// Write one JSON object per line
    #[arg(long)]
    json: bool,
    /// Reconnect after this silence, 100ms to 1h; by default three of the configured heartbeats,
    /// or 45s if a URL is given
    #[arg(long, value_name = "TIME", value_parser = duration)]
    silence: Option<Duration>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Prints rolls as they are made, until a signal stops it.
///
/// # Errors
///
/// A certificate or the configuration cannot be used: exit code 2. Rolls are missing: exit code 3.
/// The server cannot be reached at the start, answers wrongly, or standard output cannot be written
/// to: exit code 1.
pub fn tail(
    args: TailArgs,
    config: impl FnOnce() -> Result<Config, Failure>,
) -> Result<(), Failure> {
    let (url, silence) = match &args.url {
        Some(url) => (url.clone(), SILENCE),
        None => {
            let config = config()?;
            (local(&config)?, config.feed.heartbeat * 3)
        }
    };
    let silence = args.silence.unwrap_or(silence);
    let remote = Remote::new(url, args.trust.certificates()?);
    let (path, cursor) = start(&remote, &args).map_err(anyhow::Error::new)?;
    let format = if args.json { LineFormat::Json } else { LineFormat::Text };
    let mut follower = Follower::new(cursor, format, io::stdout(), note);
    let connect = |after| connection::open(remote.clone(), path.clone(), after);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = app::stop_signal().context("cannot listen for signals")?;
        select! {
            _ = stop => Ok(()),
            end = follower.follow(connect, silence) => end,
        }
    })?;
    match follower.n_gaps() {
        0 => Ok(()),
        n_gaps => {
            let error = anyhow::anyhow!("rolls are missing (gaps: {n_gaps})");
            Err(Failure { error, exit_code: GAP })
        }
    }
}

/// The path of the stream that starts where the arguments say, and the cursor before its first
/// roll, if that is known.
fn start(remote: &Remote, args: &TailArgs) -> Result<(String, Option<Cursor>), RemoteError> {
    let after = |cursor: Cursor| (format!("/stream/?after={cursor}"), Some(cursor));
    if let Some(cursor) = args.after {
        return Ok(after(cursor));
    }
    if let Some(since) = args.since {
        return Ok((format!("/stream/?since={}", since.in_query()), None));
    }
    if args.n == 0 {
        return Ok(("/stream/".into(), None));
    }
    let path = format!("/api/rolls?limit={}", args.n);
    let json = Expected { content_type: "application/json", name: "rolls" };
    let body = remote.get(&path, json, &[], ROLLS_TIMEOUT)?.into_body();
    let oldest = serde_json::from_reader(body)
        .ok()
        .and_then(|body: Value| body.get("rolls")?.as_array()?.last()?.get("id")?.as_i64());
    // A server without rolls: start with the first one that it makes.
    let last = oldest.map_or(RollId::BEFORE_FIRST, |id| RollId(id).previous());
    Ok(after(last.into()))
}
