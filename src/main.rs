//! Parses, runs, prints what went wrong, and says so by its exit code.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use rollcast::cli::Cli;

/// How long the end waits for what is said last to be written.
const LAST_WORD: Duration = Duration::from_secs(2);

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Not by `eprintln`, which panics where it cannot be written; and by a thread, since who
            // stops reading must not hold up the end. The exit code still tells.
            let (tell, told) = mpsc::channel();
            thread::spawn(move || {
                let _ = writeln!(io::stderr(), "rollcast: {:#}", failure.error);
                let _ = tell.send(());
            });
            let _ = told.recv_timeout(LAST_WORD);
            ExitCode::from(failure.exit_code)
        }
    }
}
