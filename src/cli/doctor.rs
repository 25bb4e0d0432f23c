//! `rollcast doctor`.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use doctor::report::examine;
use doctor::table::Style;
use doctor::visit::{Plan, Progress};
use event_stream::http_url::HttpUrl;
use event_stream::proxy::Proxies;
use jiff::SignedDuration;

use crate::cli::Failure;
use crate::cli::progress::ProgressLine;
use crate::cli::terminal::shows_colours;
use crate::cli::trust::TrustArgs;
use crate::text::ValueError;

/// How many columns the table has.
const TABLE_WIDTH: usize = 100;

/// Opens a page and its stream as a browser does. Names each fault, and the line of configuration
/// to change. Works on any event stream. A check that cannot be decided is `unknown`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit codes: 0 no fault, 1 faults found, 2 host unreachable or usage error."
)]
pub struct DoctorArgs {
    /// A page that opens a stream, or the stream itself
    url: HttpUrl,
    /// The stream, if the page does not name it
    #[arg(long, value_name = "URL")]
    stream: Option<HttpUrl>,
    /// How long to watch the stream, 100ms to 1h
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = duration)]
    watch_for: Duration,
    /// How long each connection and each answer may take, 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// How many streams to open at once, 1 to 100, as a household or a class does
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u8).range(1..=100))]
    streams: u8,
    #[command(flatten)]
    trust: TrustArgs,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

/// Examines an address, and prints the report.
///
/// # Errors
///
/// There are faults, or standard output cannot be written to: exit code 1. The host cannot be
/// reached, or the file of certificates cannot be used: exit code 2.
pub fn doctor(args: DoctorArgs) -> Result<(), Failure> {
    let usage = |error| Failure { error, exit_code: 2 };
    let plan = Plan {
        authorities: args.trust.authorities()?,
        url: args.url,
        stream: args.stream,
        watch_for: args.watch_for,
        timeout: args.timeout,
        n_streams: args.streams.into(),
        proxies: Proxies::from_environment(),
    };
    let mut line = ProgressLine::default();
    let total = plan.watch_for.as_secs_f64();
    let report = examine(&plan, &mut |progress| match progress {
        Progress::Page => line.show(format_args!("requesting the page")),
        Progress::Watching { elapsed, n_events } => line.show(format_args!(
            "watching the stream: {:.0} of {total:.0} s, {n_events} events",
            elapsed.as_secs_f64()
        )),
        Progress::MoreRequests => line.show(format_args!("reconnecting, opening several streams")),
    });
    drop(line);
    let report = report.map_err(|error| usage(error.into()))?;
    let text = if args.json {
        serde_json::to_string_pretty(&report).context("cannot write JSON")? + "\n"
    } else {
        let coloured = shows_colours(&io::stdout());
        let style = if coloured { Style::Coloured } else { Style::Plain };
        report.table(style, TABLE_WIDTH)
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    match report.n_faults {
        0 => Ok(()),
        1 => Err(anyhow::anyhow!("1 fault at {}", report.url).into()),
        n => Err(anyhow::anyhow!("{n} faults at {}", report.url).into()),
    }
}

/// Reads a duration with a unit, or in seconds: 100ms to 1h.
///
/// # Errors
///
/// The text is not a duration, or is out of range.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let with_unit = || Duration::try_from(text.parse::<SignedDuration>().ok()?).ok();
    let in_seconds = || Duration::try_from_secs_f64(text.parse().ok()?).ok();
    let bounds = Duration::from_millis(100)..=Duration::from_secs(3600);
    with_unit()
        .or_else(in_seconds)
        .filter(|time| bounds.contains(time))
        .ok_or_else(|| ValueError::new("a time of 100ms to 1h, such as `20s`", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        let table = [
            ("20s", Some(20_000)),
            ("1m 30s", Some(90_000)),
            ("250ms", Some(250)),
            ("90", Some(90_000)),
            ("0.5", Some(500)),
            ("1h", Some(3_600_000)),
            ("99ms", None),
            ("0", None),
            ("-1s", None),
            ("-1", None),
            ("3601", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ];
        for (text, millis) in table {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "`{text}`");
        }
    }
}
