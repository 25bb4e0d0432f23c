//! `rollcast export`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;

use crate::app;
use crate::cli::progress::ProgressLine;
use crate::cli::trust::TrustArgs;
use crate::cli::{Failure, GAP};
use crate::config::Config;
use crate::cursor::Cursor;
use crate::record::{Encoder, Format};
use crate::remote::{Remote, RemoteError, Url};
use crate::roll::{RollId, RolledAt};
use crate::store::{Archive, Extent, RollRange, StoreError, Unreadable};
use crate::time_spec::TimeSpec;

/// Rolls that are read at a time.
const BATCH: usize = 1_000;
/// Attempts without a single roll before a server is given up, and the time between them.
const N_ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// A server that has not sent a whole file after so long is asked again, for the rest.
const FILE_FOR: Duration = Duration::from_secs(600);
/// Bytes: many times those of a roll of a thousand dice.
const LONGEST_LINE: u64 = 1 << 20;

/// Writes past rolls, oldest first, up to the newest roll of this moment. From the database, also
/// while a server adds to it; or from a server, where a broken download goes on where it broke.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed while running, 2 wrong usage or configuration,\n\
                  3 done, but rolls are missing that are no longer kept."
)]
pub struct ExportArgs {
    /// A server's address; by default the database that is configured is read
    url: Option<Url>,
    /// By default what FILE's name ends in, else csv
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Only rolls after this one: a cursor such as 41-1763861860123, or an id
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// Only rolls before this one
    #[arg(long, value_name = "CURSOR")]
    before: Option<Cursor>,
    /// Only rolls since then: a time ago such as 10m, or an instant
    #[arg(long, value_name = "WHEN", conflicts_with = "after")]
    since: Option<TimeSpec>,
    /// Write to this file, which appears when it is whole, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it exists
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    trust: TrustArgs,
}

impl ExportArgs {
    fn format(&self) -> Format {
        let extension = self.output.as_deref().and_then(Path::extension);
        self.format.unwrap_or(match extension.and_then(|extension| extension.to_str()) {
            Some("ndjson" | "jsonl") => Format::Ndjson,
            Some("json") => Format::Json,
            _ => Format::Csv,
        })
    }
}

pub fn export(
    args: ExportArgs,
    config: impl FnOnce() -> Result<Config, Failure>,
) -> Result<(), Failure> {
    let trusted = args.trust.certificates()?;
    let config = if args.url.is_none() { Some(config()?) } else { None };
    let mut out = match &args.output {
        Some(file) => Output::draft(file, args.force)?,
        None => Output::Standard(BufWriter::new(io::stdout())),
    };
    let mut row = InARow::after(args.after);
    let written = match (&args.url, config) {
        (Some(url), _) => from_server(&args, Remote::new(url.clone(), trusted), &mut row, &mut out),
        (None, Some(config)) => from_database(&args, &config, &mut row, &mut out),
        (None, None) => unreachable!("the configuration is read where there is no address"),
    };
    match written.and_then(|()| out.finish()) {
        Ok(()) if row.n_gaps == 0 => Ok(()),
        Ok(()) => {
            let error = anyhow::anyhow!("rolls are missing (gaps: {})", row.n_gaps);
            Err(Failure { error, exit_code: GAP })
        }
        // Nobody reads on: that is no fault of anybody.
        Err(Broken::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Broken::Write(error)) => Err(anyhow::Error::new(error).context("cannot write").into()),
        Err(Broken::Read(error)) => Err(error.into()),
    }
}

/// Whether rolls follow each other: those that are pruned before they are read are told.
struct InARow {
    /// The roll to come; `None` where it may be any.
    next: Option<RollId>,
    n_gaps: u64,
}

impl InARow {
    fn after(asked: Option<Cursor>) -> InARow {
        InARow { next: asked.map(|cursor| cursor.id.next()), n_gaps: 0 }
    }

    fn came(&mut self, id: RollId) {
        self.skipped_to(id);
        self.next = Some(id.next());
    }

    /// The rolls before this one, as far as they did not come, never will.
    fn skipped_to(&mut self, id: RollId) {
        let Some(next) = self.next.filter(|next| *next < id) else { return };
        let (first, last) = (next, id.previous());
        self.report(format_args!("rolls {first} to {last} are no longer kept"));
    }

    /// The roll before this one was the last that came; those in between cannot be read.
    fn unreadable_to(&mut self, id: RollId) {
        let Some(first) = self.next.filter(|next| *next < id) else { return };
        match id.previous() {
            last if last == first => self.report(format_args!("roll {first} cannot be read")),
            last => self.report(format_args!("rolls {first} to {last} cannot be read")),
        }
        self.next = Some(id);
    }

    fn report(&mut self, gap: fmt::Arguments<'_>) {
        self.n_gaps += 1;
        // Ignore the error: stderr may be closed.
        let _ = writeln!(io::stderr(), "rollcast: gap: {gap}");
    }
}

/// Why an export is not finished.
enum Broken {
    Write(io::Error),
    Read(anyhow::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Write(error)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Broken {
        Broken::Read(error.into())
    }
}

fn from_database(
    args: &ExportArgs,
    config: &Config,
    row: &mut InARow,
    out: &mut Output,
) -> Result<(), Broken> {
    let mut archive = Archive::open(&config.store)?;
    let since = args.since.map(|since| since.moment(Timestamp::now()));
    let range = RollRange { after: args.after, before: args.before, since };
    let Extent { mut ids, dice, .. } = archive.extent(&range)?;
    let mut encoder = Encoder::new(args.format(), dice);
    let mut progress = Progress::new(ids.n_rolls());
    out.write_all(&encoder.head())?;
    loop {
        let rows = archive.between(ids, BATCH)?;
        let Some(last) = rows.newest() else { break };
        ids.after = last;
        let mut unreadable = rows.unreadable.iter().peekable();
        for roll in &rows.rolls {
            while let Some(Unreadable { id, .. }) = unreadable.next_if(|row| row.id < roll.id) {
                row.skipped_to(*id);
                row.next = Some(*id);
                row.unreadable_to(id.next());
            }
            row.came(roll.id);
        }
        for Unreadable { id, .. } in unreadable {
            row.skipped_to(*id);
            row.next = Some(*id);
            row.unreadable_to(id.next());
        }
        let text = encoder.rolls(&rows.rolls).map_err(|error| Broken::Read(error.into()))?;
        out.write_all(&text)?;
        progress.add(rows.len() as u64);
    }
    row.skipped_to(ids.before);
    Ok(out.write_all(&encoder.foot())?)
}

/// Line by line, so that what comes after a broken connection joins what came before it.
fn from_server(
    args: &ExportArgs,
    remote: Remote,
    row: &mut InARow,
    out: &mut Output,
) -> Result<(), Broken> {
    let mut copy = Copy {
        format: args.format(),
        first_line: None,
        row,
        last: None,
        end: None,
        goes_on: false,
        progress: None,
    };
    let mut query = Vec::from_iter([
        args.after.map(|after| format!("after={after}")),
        args.before.map(|before| format!("before={before}")),
        args.since.map(|since| format!("since={}", since.in_query())),
    ]);
    let mut n_failures = 0;
    loop {
        let (had, query_text) = (copy.last, query.iter().flatten().cloned().collect::<Vec<_>>());
        let why = match copy.receive(&remote, &query_text.join("&"), out) {
            Ok(Received::Whole) => break,
            Ok(Received::Cut { end, why }) => {
                // The same file, also if the server has rolled on.
                query = vec![Some(format!("before={}", end.next()))];
                query.push(
                    copy.last
                        .map(|last| format!("after={last}"))
                        .or_else(|| args.after.map(|after| format!("after={after}"))),
                );
                if copy.last.is_none() && args.after.is_none() {
                    query.push(args.since.map(|since| format!("since={}", since.in_query())));
                }
                why
            }
            Err(Stopped::Refused(error)) if had.is_none() => {
                return Err(Broken::Read(error.into()));
            }
            Err(Stopped::Refused(error)) => anyhow::Error::new(error),
            Err(Stopped::Broken(broken)) => return Err(broken),
        };
        n_failures = if copy.last == had { n_failures + 1 } else { 1 };
        if n_failures >= N_ATTEMPTS {
            return Err(Broken::Read(why.context("the download does not get any further")));
        }
        let _ = writeln!(io::stderr(), "rollcast: {why:#}; going on with the rest");
        thread::sleep(PAUSE);
    }
    if let Some(end) = copy.end {
        copy.row.skipped_to(end.next());
    }
    if copy.format == Format::Json {
        out.write_all(if copy.last.is_some() { b"\n]\n" } else { b"[\n]\n" })?;
    }
    Ok(())
}

/// A file from a server, over several connections if it must be.
struct Copy<'a> {
    format: Format,
    /// The columns of a CSV file.
    first_line: Option<Vec<u8>>,
    row: &'a mut InARow,
    /// With its moment, so that a server whose history was replaced meanwhile says so.
    last: Option<Cursor>,
    /// The last roll of the whole file.
    end: Option<RollId>,
    /// Whether a roll came on this connection: within a file they follow each other.
    goes_on: bool,
    progress: Option<Progress>,
}

enum Received {
    Whole,
    Cut { end: RollId, why: anyhow::Error },
}

enum Stopped {
    Refused(RemoteError),
    Broken(Broken),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Broken(error.into())
    }
}

impl Copy<'_> {
    fn receive(
        &mut self,
        remote: &Remote,
        query: &str,
        out: &mut Output,
    ) -> Result<Received, Stopped> {
        let (name, content_type) = match self.format {
            Format::Csv => ("csv", ("text/csv", "a CSV file")),
            Format::Ndjson | Format::Json => ("ndjson", ("application/x-ndjson", "lines of JSON")),
        };
        let path = format!("/api/rolls.{name}?{query}");
        let answer = remote.get(&path, content_type, &[], Some(FILE_FOR));
        let answer = answer.map_err(Stopped::Refused)?;
        let end = answer.headers().get("Rollcast-Last").and_then(|id| id.to_str().ok());
        let Some(end) = end.and_then(|id| id.parse::<RollId>().ok()) else {
            let error = anyhow::anyhow!("expected the id of the last roll in `Rollcast-Last`");
            return Err(Stopped::Broken(Broken::Read(error)));
        };
        self.end.get_or_insert(end);
        self.goes_on = false;
        let mut lines = BufReader::new(answer.into_body().into_reader());
        let mut columns = self.format == Format::Csv;
        let why = loop {
            let mut line = Vec::new();
            match lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(0) => break anyhow::anyhow!("the server ended the file early"),
                // A line without its end.
                Ok(_) if line.last() != Some(&b'\n') => {
                    break anyhow::anyhow!("a line without an end came");
                }
                Ok(_) if columns => {
                    columns = false;
                    self.columns(line, out)?;
                }
                Ok(_) => self.roll(&line, end, out)?,
                Err(error) => break anyhow::Error::new(error).context("the connection broke"),
            }
        };
        let last = self.last.map_or(RollId::BEFORE_FIRST, |last| last.id);
        let whole = !columns && last >= end;
        Ok(if whole { Received::Whole } else { Received::Cut { end, why } })
    }

    /// The first line, once.
    fn columns(&mut self, line: Vec<u8>, out: &mut Output) -> Result<(), Stopped> {
        match &self.first_line {
            None => {
                out.write_all(&line)?;
                self.first_line = Some(line);
            }
            Some(first_line) if *first_line == line => {}
            Some(_) => {
                let error =
                    anyhow::anyhow!("the rest has other columns: other dice are rolled now");
                return Err(Stopped::Broken(Broken::Read(error)));
            }
        }
        Ok(())
    }

    fn roll(&mut self, line: &[u8], end: RollId, out: &mut Output) -> Result<(), Stopped> {
        let last = self.last.map(|last| last.id);
        let next =
            cursor_of(self.format, line).filter(|cursor| last.is_none_or(|last| cursor.id > last));
        let Some(cursor) = next else {
            let line = String::from_utf8_lossy(line).trim_end().to_string();
            let error = match last {
                Some(last) => anyhow::anyhow!("expected roll {}, got `{line}`", last.next()),
                None => anyhow::anyhow!("expected a roll, got `{line}`"),
            };
            return Err(Stopped::Broken(Broken::Read(error)));
        };
        let id = cursor.id;
        // A server leaves out rolls within a file only if they cannot be read.
        if self.goes_on {
            self.row.unreadable_to(id);
        }
        self.row.came(id);
        self.goes_on = true;
        if self.format == Format::Json {
            out.write_all(if self.last.is_none() { b"[\n" } else { b",\n" })?;
            out.write_all(line.trim_ascii_end())?;
        } else {
            out.write_all(line)?;
        }
        let n_rolls = u64::try_from(end.0 - id.0 + 1).unwrap_or(1);
        self.progress.get_or_insert_with(|| Progress::new(n_rolls)).add(1);
        self.last = Some(cursor);
        Ok(())
    }
}

/// The roll that a line of a file has.
fn cursor_of(format: Format, line: &[u8]) -> Option<Cursor> {
    let line = std::str::from_utf8(line).ok()?;
    let (id, rest, end) = match format {
        Format::Csv => {
            let (id, rest) = line.split_once(',')?;
            (id, rest, ',')
        }
        Format::Ndjson | Format::Json => {
            let (id, rest) = line.strip_prefix(r#"{"id":"#)?.split_once(r#","rolled_at":""#)?;
            (id, rest, '"')
        }
    };
    let rolled_at: RolledAt = rest.split(end).next()?.trim_end().parse().ok()?;
    Some(Cursor { id: id.parse().ok()?, unix_millis: Some(rolled_at.unix_millis()) })
}

/// How far an export is.
struct Progress {
    line: ProgressLine,
    n_done: u64,
    n_rolls: u64,
}

impl Progress {
    fn new(n_rolls: u64) -> Progress {
        Progress { line: ProgressLine::default(), n_done: 0, n_rolls }
    }

    fn add(&mut self, n_rolls: u64) {
        self.n_done += n_rolls;
        let percent = (100 * self.n_done / self.n_rolls.max(1)).min(100);
        let done = "#".repeat(percent as usize / 4);
        self.line.show(format_args!("[{done:<25}] {percent} % of {} rolls", self.n_rolls));
    }
}

/// Where the rolls go.
enum Output {
    Standard(BufWriter<io::Stdout>),
    File { draft: PathBuf, file: PathBuf, out: BufWriter<File> },
}

impl Output {
    /// A file that appears under its own name when it is whole.
    fn draft(file: &Path, force: bool) -> Result<Output, Failure> {
        let usage = |error| Failure { error, exit_code: 2 };
        if !force && file.exists() {
            let found = file.display();
            return Err(usage(anyhow::anyhow!("`{found}` exists; --force replaces it")));
        }
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        let draft = PathBuf::from(name);
        let out = OpenOptions::new().write(true).create(true).truncate(true).open(&draft);
        let out = out.with_context(|| format!("cannot create `{}`", draft.display()));
        let out = BufWriter::new(out.map_err(usage)?);
        remove_on_signal(draft.clone())?;
        Ok(Output::File { draft, file: file.to_path_buf(), out })
    }

    fn finish(mut self) -> Result<(), Broken> {
        self.flush()?;
        if let Output::File { draft, file, out } = &self {
            out.get_ref().sync_all()?;
            fs::rename(draft, file)?;
        }
        Ok(())
    }
}

/// A signal ends the program and leaves no half file.
fn remove_on_signal(draft: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let stop = {
        let _inside = runtime.enter();
        app::stop_signal().context("cannot listen for signals")?
    };
    thread::spawn(move || {
        let name = runtime.block_on(stop);
        let _ = fs::remove_file(&draft);
        let _ = writeln!(io::stderr(), "rollcast: {name} received, nothing was written");
        std::process::exit(1);
    });
    Ok(())
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Standard(out) => out.write(bytes),
            Output::File { out, .. } => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Standard(out) => out.flush(),
            Output::File { out, .. } => out.flush(),
        }
    }
}

impl Drop for Output {
    /// What was not finished goes away; what was has another name by now.
    fn drop(&mut self) {
        if let Output::File { draft, .. } = self {
            let _ = fs::remove_file(draft);
        }
    }
}
