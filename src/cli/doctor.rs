//! `rollcast doctor`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::cli::Failure;
use crate::cli::progress::ProgressLine;
use crate::doctor::{Plan, Progress, Url, examine};
use crate::roll::ValueError;

/// Opens page and stream as a browser would, and says what is wrong and which line to change. Works
/// on any event stream; what cannot be judged is called unknown.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit codes: 0 no fault, 1 faults, 2 wrong usage or nobody there.")]
pub struct DoctorArgs {
    /// A page that listens to a stream, or the stream itself
    url: Url,
    /// The stream, where the page does not name it
    #[arg(long, value_name = "URL")]
    stream: Option<Url>,
    /// How long to watch the stream, in seconds
    #[arg(long = "for", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    watch_for: Duration,
    /// How long a connection or an answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// How many streams to open at once, 1 to 100, as a household or a class would
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u8).range(1..=100))]
    streams: u8,
    /// Trust the certificates in this PEM file, instead of those that browsers trust
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

pub fn doctor(args: DoctorArgs) -> Result<(), Failure> {
    let usage = |error| Failure { error, exit_code: 2 };
    let trusted = args.cafile.as_deref().map(certificates).transpose().map_err(usage)?;
    let plan = Plan {
        url: args.url,
        stream: args.stream,
        watch_for: args.watch_for,
        timeout: args.timeout,
        n_streams: args.streams.into(),
        trusted,
    };
    let mut line = ProgressLine::default();
    let all = plan.watch_for.as_secs_f64();
    let report = examine(&plan, &mut |progress| match progress {
        Progress::Page => line.show(format_args!("looking at the page")),
        Progress::Watching { so_far, n_events } => line.show(format_args!(
            "watching the stream: {:.0} of {all:.0} s, {n_events} events",
            so_far.as_secs_f64()
        )),
        Progress::Asking => line.show(format_args!("asking again, and for several streams")),
    });
    drop(line);
    let report = report.map_err(|error| usage(error.into()))?;
    let text = if args.json {
        serde_json::to_string_pretty(&report).context("cannot write JSON")? + "\n"
    } else {
        let is_terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        report.table(is_terminal && !plain, 100)
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    match report.n_faults {
        0 => Ok(()),
        1 => Err(anyhow::anyhow!("1 fault at {}", report.url).into()),
        n => Err(anyhow::anyhow!("{n} faults at {}", report.url).into()),
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.with_context(|| format!("expected PEM in `{}`", file.display()))?
        {
            certificates.push(certificate);
        }
    }
    anyhow::ensure!(!certificates.is_empty(), "expected certificates in `{}`", file.display());
    Ok(certificates)
}

/// Reads a time in seconds, 0.1 to 3600.
fn seconds(text: &str) -> Result<Duration, ValueError> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    let seconds = seconds.ok_or_else(|| ValueError::new("0.1 to 3600 seconds", text))?;
    Ok(Duration::from_secs_f64(seconds))
}
