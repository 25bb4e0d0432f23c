//! Parses the command line, runs the command, and reports an error by a message and an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use rollcast::cli;
use rollcast::cli::usage;

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match usage::parse() {
        Ok(cli) => cli,
        Err(exit_code) => return exit_code,
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (text, exit_code) = (failure.text(), failure.exit_code);
            // Not `eprintln`, which panics if standard error cannot be written to.
            cli::say_last(move || {
                let _ = writeln!(io::stderr(), "rollcast: {text}");
            });
            ExitCode::from(exit_code)
        }
    }
}
