//! Logging to standard error.

use std::env::{self, VarError};
use std::io;

use anyhow::Context;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::cli::journal::{self, JournalLines};
use crate::cli::terminal::shows_colours;
use crate::config::LogFormat;

/// Lines that may wait to be written: some megabytes. Further lines are lost.
const MAX_LINES: usize = 10_000;
/// Rocket logs each request itself, a 404 as an error and a closed stream as a warning. The access
/// log already has one line for each request. Panics and template errors are still logged.
const DEFAULT_FILTER: &str = "info,rocket=off,async_nats=off,rocket_dyn_templates=warn";

/// Starts logging. Call it before Rocket is built, which would otherwise install its own logger.
///
/// Logging runs on its own thread, so a blocked reader of standard error never blocks the server.
/// The guard waits for the last lines when it is dropped.
///
/// # Errors
///
/// `RUST_LOG` is not a filter, or logging has already been started.
pub fn start(format: LogFormat) -> anyhow::Result<WorkerGuard> {
    let filter = match env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        Err(VarError::NotUnicode(filter)) => {
            anyhow::bail!("expected a log filter in RUST_LOG, got `{}`", filter.display());
        }
        Ok(_) | Err(VarError::NotPresent) => DEFAULT_FILTER.into(),
    };
    let filter = EnvFilter::try_new(&filter)
        .with_context(|| format!("expected a log filter in RUST_LOG, got `{filter}`"))?;
    let (lines, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let lines = if journal::reads_stderr() {
        BoxMakeWriter::new(JournalLines(lines))
    } else {
        BoxMakeWriter::new(lines)
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        // A line that cannot be written (full disk, closed pipe) is lost. Reporting that on
        // standard error as well would panic, and end the process if it happens in the panic hook.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Text => logs
            .with_ansi(shows_colours(&io::stderr()))
            .with_target(false)
            // The message can be read alone; fields are for machines.
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
