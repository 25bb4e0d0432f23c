//! Parses, runs, prints what went wrong, and says so by its exit code.

use std::process::ExitCode;

use clap::Parser;
use rollcast::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("rollcast: {:#}", failure.error);
            ExitCode::from(failure.exit_code)
        }
    }
}
