//! `rollcast tail`.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use event_stream::parser::{Frame, Parser};
use jiff::Timestamp;
use serde_json::Value;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::app;
use crate::cli::doctor::time;
use crate::cli::trust::TrustArgs;
use crate::cli::{Failure, GAP, local};
use crate::config::Config;
use crate::cursor::Cursor;
use crate::record::RollJson;
use crate::remote::{Remote, RemoteError, Url};
use crate::roll::{Roll, RollId, RolledAt};
use crate::time_spec::TimeSpec;

/// Silence after which a stream elsewhere is taken for dead: three heartbeats, as they are where
/// nobody has configured them.
const SILENCE: Duration = Duration::from_secs(45);
/// A stream is opened anew after so long. That loses nothing, and a reader that waits on a dead
/// connection does not wait for ever.
const STREAM_FOR: Duration = Duration::from_secs(3_600);
/// Time until the next attempt where the last one failed: doubled up to the longest, and then any
/// part of that from the half on, so that not all come back at once.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// At least so long where a server says to come back at once.
const LEAST_RETRY: Duration = Duration::from_millis(50);

/// Follows the rolls of a server, as `tail -f` follows a file. Comes back by itself when the
/// connection is lost, and goes on where it was.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 ended by a signal, or nobody reads on; 1 the server cannot be followed;
2 wrong usage or configuration; 3 ended like 0, but rolls were missed that are no longer kept,
or the history was replaced by another one.")]
pub struct TailArgs {
    /// The server's address; by default the one that is configured, on this machine
    url: Option<Url>,
    /// Start with the newest N rolls, 0 to 1000
    #[arg(short, long = "rolls", value_name = "N", default_value = "10", value_parser = clap::value_parser!(u16).range(..=1000))]
    n: u16,
    /// Start with the rolls since then: a time ago such as 10m, or an instant
    #[arg(long, value_name = "WHEN", conflicts_with = "n")]
    since: Option<TimeSpec>,
    /// Start after this roll: a cursor such as 41-1763861860123, or an id
    #[arg(long, value_name = "CURSOR", conflicts_with_all = ["n", "since"])]
    after: Option<Cursor>,
    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
    /// Take a stream that is silent for so long for dead, and come back; by default three of the
    /// server's heartbeats as configured here, or 45s for an address
    #[arg(long, value_name = "TIME", value_parser = time)]
    silence: Option<Duration>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// What comes from a connection.
enum Heard {
    /// Parts of the stream.
    Frames(Vec<Frame>),
    /// It did not even begin.
    Refused(RemoteError),
    /// It is over.
    Ended(String),
}

/// Where somebody who follows is.
struct Follower {
    json: bool,
    /// Where to go on; `None` where only the server knows, until its first sync.
    cursor: Option<Cursor>,
    retry: Duration,
    n_gaps: u64,
}

/// Why following ends.
enum End {
    /// As it should.
    Asked,
    Failed(anyhow::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            io::ErrorKind::BrokenPipe => End::Asked,
            _ => End::Failed(anyhow::Error::new(error).context("cannot write to standard output")),
        }
    }
}

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
    let mut follower = Follower { json: args.json, cursor, retry: FIRST_RETRY, n_gaps: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let end = runtime.block_on(follower.follow(&remote, &path, silence));
    match (end, follower.n_gaps) {
        (End::Failed(error), _) => Err(error.into()),
        (End::Asked, 0) => Ok(()),
        (End::Asked, n_gaps) => {
            let error = anyhow::anyhow!("rolls were missed (gaps: {n_gaps})");
            Err(Failure { error, exit_code: GAP })
        }
    }
}

/// The stream that starts where it shall, and after which roll that is, where that is known.
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
    let json = ("application/json", "rolls");
    let mut answer = remote.get(&path, json, &[], Some(SILENCE))?;
    let oldest = answer.body_mut().read_to_string().ok().and_then(|body| {
        let body: Value = serde_json::from_str(&body).ok()?;
        body.get("rolls")?.as_array()?.last()?.get("id")?.as_i64()
    });
    // Where there are none yet, the first one to come is wanted.
    let last = oldest.map_or(RollId::BEFORE_FIRST, |id| RollId(id).previous());
    Ok(after(last.into()))
}

impl Follower {
    async fn follow(&mut self, remote: &Remote, path: &str, silence: Duration) -> End {
        let stop = match app::stop_signal() {
            Ok(stop) => stop,
            Err(error) => {
                return End::Failed(anyhow::Error::new(error).context("cannot listen for signals"));
            }
        };
        select! {
            _ = stop => End::Asked,
            end = self.follow_on(remote, path, silence) => end,
        }
    }

    /// Connection after connection.
    async fn follow_on(&mut self, remote: &Remote, path: &str, silence: Duration) -> End {
        let (mut was_open, mut growing) = (false, FIRST_RETRY);
        loop {
            let mut heard = listen(remote.clone(), path.into(), self.cursor);
            let mut is_open = false;
            let why = loop {
                match timeout(silence, heard.recv()).await {
                    Ok(Some(Heard::Frames(frames))) => {
                        is_open = true;
                        if let Err(end) = self.show(frames) {
                            return end;
                        }
                    }
                    Ok(Some(Heard::Refused(error))) if !was_open => {
                        return End::Failed(error.into());
                    }
                    Ok(Some(Heard::Refused(error))) => {
                        break format!("{:#}", anyhow::anyhow!(error));
                    }
                    Ok(Some(Heard::Ended(why))) => break why,
                    Ok(None) => break "the reader broke down".into(),
                    Err(_elapsed) => break format!("silent for {} s", silence.as_secs_f64()),
                }
            };
            let pause = if is_open {
                (was_open, growing) = (true, FIRST_RETRY);
                self.retry
            } else {
                let pause = growing.mul_f64(rand::random_range(0.5..=1.0));
                growing = (growing * 2).min(LONGEST_RETRY);
                pause
            };
            say(format_args!("{why}; coming back in {:.1} s", pause.as_secs_f64()));
            sleep(pause).await;
        }
    }

    fn show(&mut self, frames: Vec<Frame>) -> Result<(), End> {
        let mut text = String::new();
        for frame in frames {
            match frame {
                Frame::Retry(millis) => {
                    self.retry =
                        Duration::from_millis(millis).clamp(LEAST_RETRY, 2 * LONGEST_RETRY);
                }
                Frame::Event { name, data, .. } if name == "sync" => self.sync(&data),
                Frame::Event { name, data, .. } if name == "busy" => {
                    say(format_args!("the server is busy: {data}"));
                }
                Frame::Event { name, id: Some(id), data } if name == "message" => {
                    self.roll(&id, &data, &mut text);
                }
                Frame::Event { .. } | Frame::Comment => {}
            }
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// What follows, and with it where to go on if not even one roll of it comes.
    fn sync(&mut self, data: &str) {
        let sync: Value = serde_json::from_str(data).unwrap_or_default();
        let text = |name: &str| sync.get(name).and_then(Value::as_str);
        let head: Option<Cursor> = text("head").and_then(|head| head.parse().ok());
        let count = |name: &str| sync.get(name).and_then(Value::as_i64);
        match (text("mode"), text("reason"), count("replay"), count("lost")) {
            // Rolls since a time: those that are missing begin so many before the newest.
            (Some("resumed"), _, Some(replay), _) if self.cursor.is_none() => {
                self.cursor = head.map(|head| RollId(head.id.0.saturating_sub(replay)).into());
            }
            (Some("reset"), Some(reason @ "pruned"), _, Some(lost)) => {
                self.gap(format_args!("{lost} rolls are gone ({reason})"));
                let past = |last: Cursor| RollId(last.id.0.saturating_add(lost)).into();
                self.cursor = self.cursor.map(past);
            }
            (Some("reset"), reason, ..) => {
                let reason = reason.unwrap_or("unknown");
                self.gap(format_args!("rolls from now on (the cursor is {reason})"));
                self.cursor = head;
            }
            (Some("live"), ..) => self.cursor = head,
            _ => {}
        }
    }

    fn roll(&mut self, id: &str, data: &str, text: &mut String) {
        let Some(roll) = roll(id, data) else {
            say(format_args!("not a roll: {id} {data}"));
            return;
        };
        if let Some(last) = self.cursor {
            if roll.id <= last.id {
                return;
            }
            let n_missing = roll.id.0 - last.id.next().0;
            if n_missing > 0 {
                self.gap(format_args!("{n_missing} rolls before roll {} did not come", roll.id));
            }
        }
        self.cursor = Some(roll.cursor());
        if self.json {
            let json = serde_json::to_string(&RollJson::from(&roll));
            text.push_str(&json.expect("plain structs become JSON"));
        } else {
            let _ = write!(text, "{:>7}  {}", roll.id, roll.rolled_at);
            for face in &roll.dice.0 {
                let _ = write!(text, "  {} {:<2}", face.die, face.result);
            }
            text.truncate(text.trim_end().len());
        }
        text.push('\n');
    }

    fn gap(&mut self, what: std::fmt::Arguments<'_>) {
        self.n_gaps += 1;
        say(format_args!("gap: {what}"));
    }
}

fn roll(id: &str, data: &str) -> Option<Roll> {
    let Cursor { id, unix_millis: Some(unix_millis) } = id.parse().ok()? else { return None };
    let rolled_at = RolledAt::truncate(Timestamp::from_millisecond(unix_millis).ok()?);
    Some(Roll { id, rolled_at, dice: data.parse().ok()? })
}

/// Listens on a thread of its own, since reading cannot be given up: one that nobody hears any
/// more ends with its connection.
fn listen(remote: Remote, path: String, after: Option<Cursor>) -> mpsc::Receiver<Heard> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        let last_event_id = after.map(|cursor| cursor.to_string());
        let header = last_event_id.as_deref().map(|id| ("Last-Event-ID", id));
        let stream = ("text/event-stream", "an event stream");
        let answer = remote.get(&path, stream, header.as_slice(), Some(STREAM_FOR));
        let mut body = match answer {
            Ok(answer) => answer.into_body().into_reader(),
            Err(error) => return drop(sender.blocking_send(Heard::Refused(error))),
        };
        let (mut parser, mut piece) = (Parser::default(), vec![0; 16 << 10]);
        let why = loop {
            match body.read(&mut piece) {
                Ok(0) => break "the server ended the stream".into(),
                Ok(n_bytes) => {
                    let frames = parser.feed(&piece[..n_bytes]);
                    if sender.blocking_send(Heard::Frames(frames)).is_err() {
                        return;
                    }
                }
                Err(error) => break format!("the connection broke: {error}"),
            }
        };
        // Whoever hears no more wants to know nothing.
        let _ = sender.blocking_send(Heard::Ended(why));
    });
    receiver
}

/// To whoever watches; standard output is for the rolls.
fn say(text: std::fmt::Arguments<'_>) {
    // Whoever closes standard error wants to know nothing.
    let _ = writeln!(io::stderr(), "rollcast: {text}");
}
