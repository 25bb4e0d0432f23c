//! Parses, runs, prints what went wrong, and says so by its exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use rollcast::cli;
use rollcast::cli::args::Cli;

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Not by `eprintln`, which panics where it cannot be written: the exit code still tells.
            cli::say_last(move || {
                let _ = writeln!(io::stderr(), "rollcast: {:#}", failure.error);
            });
            ExitCode::from(failure.exit_code)
        }
    }
}
