//! `rollcast export`.

mod database;
mod download;
mod gap_counter;
pub mod output;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use event_stream::http_url::HttpUrl;

use self::gap_counter::GapCounter;
use self::output::Output;
use crate::cli::progress::ProgressLine;
use crate::cli::trust::TrustArgs;
use crate::cli::{Failure, GAP};
use crate::config::Config;
use crate::cursor::Cursor;
use crate::draft::Existing;
use crate::export_format::Format;
use crate::remote::{Remote, server_url};
use crate::store::{Store, StoreError};
use crate::time_spec::TimeSpec;

/// Writes stored rolls, oldest first, up to the newest roll of this moment: from the database,
/// also while a server adds to it, or from a server. A broken download continues where it broke.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed while running, 2 usage or configuration error,\n\
                  3 done, but rolls are missing: they are no longer kept, or cannot be read."
)]
pub struct ExportArgs {
    /// A server's URL; by default the configured database is read
    #[arg(value_parser = server_url)]
    url: Option<HttpUrl>,
    /// The format; by default the one that FILE's extension names, else csv
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Only rolls after this one: a cursor such as 41-1763861860123, or an id
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// Only rolls before this one
    #[arg(long, value_name = "CURSOR")]
    before: Option<Cursor>,
    /// Only rolls since this time: a time ago such as 10m, or a timestamp. If the clock was set
    /// back, some rolls after the first one have earlier timestamps
    #[arg(long, value_name = "WHEN", conflicts_with = "after")]
    since: Option<TimeSpec>,
    /// Write to this file, which appears when it is complete; `-` is standard output, and a
    /// device or pipe is written to
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it exists
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    trust: TrustArgs,
}

/// [`Format`] as an argument.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FormatArg {
    /// Comma-separated values, one column per die, for spreadsheets
    Csv,
    /// One JSON object per line
    Ndjson,
    /// One JSON array
    Json,
}

/// Which rolls to export, and how.
struct Selection {
    format: Format,
    after: Option<Cursor>,
    before: Option<Cursor>,
    since: Option<TimeSpec>,
}

/// Why an export is not complete.
enum ExportError {
    Write(io::Error),
    Read(anyhow::Error),
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> ExportError {
        ExportError::Write(error)
    }
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> ExportError {
        ExportError::Read(error.into())
    }
}

impl ExportArgs {
    fn selection(&self) -> Selection {
        let ExportArgs { after, before, since, .. } = *self;
        let extension = self.output.as_deref().and_then(Path::extension);
        let extension = extension.and_then(|extension| extension.to_str()).map(str::to_lowercase);
        let format = match (self.format, extension.as_deref()) {
            (Some(FormatArg::Csv), _) => Format::Csv,
            (Some(FormatArg::Ndjson), _) | (None, Some("ndjson" | "jsonl")) => Format::Ndjson,
            (Some(FormatArg::Json), _) | (None, Some("json")) => Format::Json,
            (None, _) => Format::Csv,
        };
        Selection { format, after, before, since }
    }
}

/// Writes the selected rolls to standard output or a file.
///
/// # Errors
///
/// A certificate or the configuration cannot be used, or the file must not be replaced: exit code
/// 2. Rolls are missing: exit code 3. Rolls cannot be read or written: exit code 1.
pub fn export(
    args: ExportArgs,
    config: impl FnOnce() -> Result<Config, Failure>,
) -> Result<(), Failure> {
    let selection = args.selection();
    let mut gaps = GapCounter::after(selection.after);
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    let mut out;
    let written = match &args.url {
        Some(url) => {
            let remote = Remote::new(url.clone(), args.trust.certificates()?);
            out = Output::new(args.output.as_deref(), existing, |_| anyhow::Ok(()))?;
            download::export(&selection, &remote, &mut gaps, &mut out)
        }
        None => {
            let config = config()?;
            let refuse_own = |file: &Path| Store::refuse_own(&config.store, file);
            out = Output::new(args.output.as_deref(), existing, refuse_own)?;
            database::export(&selection, &config.store, &mut gaps, &mut out)
        }
    };
    match written.and_then(|()| Ok(out.finish()?)) {
        Ok(()) if gaps.n_gaps() == 0 => Ok(()),
        Ok(()) => {
            let error = anyhow::anyhow!("rolls are missing (gaps: {})", gaps.n_gaps());
            Err(Failure { error, exit_code: GAP })
        }
        // The reader of standard output has closed it, as `head` does.
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(ExportError::Write(error)) => {
            Err(anyhow::Error::new(error).context("cannot write").into())
        }
        Err(ExportError::Read(error)) => Err(error.into()),
    }
}

/// How far an export is, as a bar.
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
