//! `rollcast backup`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::app;
use crate::cli::progress::ProgressLine;
use crate::cli::{Failure, say};
use crate::config::Config;
use crate::draft::{DraftError, Existing};
use crate::store::{BackupStep, Store, StoreError};

/// Copies the database to `file`, and checks the copy.
///
/// # Errors
///
/// `file` is not a place for a copy, or exists and must not be replaced: exit code 2. The backup
/// failed, or a signal stopped it: exit code 1.
pub fn backup(config: Config, file: &Path, existing: Existing) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut line = ProgressLine::default();
    let progress = move |step| match step {
        BackupStep::Copying { n_copied, n_bytes } => {
            let percent = 100 * n_copied / n_bytes.max(1);
            line.show(format_args!("copying: {percent} % of {}", megabytes(n_bytes)));
        }
        BackupStep::Checking => line.show(format_args!("checking the copy")),
    };
    let copied = app::run(&config, async {
        let signal = app::stop_signal().context("cannot listen for signals")?;
        let is_stopped = stop.clone();
        let listener = tokio::spawn(async move {
            signal.await;
            is_stopped.store(true, Ordering::Relaxed);
        });
        let copied = Store::backup(&config.store, file, existing, stop, progress).await;
        listener.abort();
        anyhow::Ok(copied)
    })??;
    let kept = copied.map_err(|error| {
        let is_usage = matches!(error, StoreError::Draft(DraftError::Target { .. }));
        Failure { error: error.into(), exit_code: if is_usage { 2 } else { 1 } }
    })?;
    let n_bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    say("backup", format!("{}, {}, intact", file.display(), megabytes(n_bytes)))?;
    match kept.n_rolls() {
        0 => say("", "no rolls yet".into())?,
        _ => say("", format!("rolls {} to {}", kept.oldest, kept.head.id))?,
    }
    Ok(())
}

fn megabytes(n_bytes: u64) -> String {
    format!("{:.1} MB", n_bytes as f64 / 1e6)
}
