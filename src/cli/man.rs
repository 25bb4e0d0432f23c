//! `rollcast man` and `rollcast completions`: generated from the commands themselves.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::args::Cli;

const NAME: &str = "rollcast";

/// Prints the completions for a shell.
///
/// # Errors
///
/// Standard output cannot be written to.
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    io::stdout().write_all(&script).context("cannot write to standard output")
}

/// Writes a manual page per command into `folder`.
///
/// # Errors
///
/// The folder cannot be written to.
pub fn manual(folder: &Path) -> anyhow::Result<()> {
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write manual pages into `{}`", folder.display()))
}
