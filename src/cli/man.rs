//! `rollcast man` and `rollcast completions`: generated from the commands themselves.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;

use crate::cli::args::Cli;

const NAME: &str = "rollcast";

/// Prints the completions for a shell.
///
/// # Errors
///
/// Standard output cannot be written to.
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut command = Cli::command().mut_subcommands(|command| command.mut_args(without_files));
    command.build();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut script);
    if shell == Shell::Fish {
        script.extend(fish_arguments(&command).into_bytes());
    }
    io::stdout().write_all(&script).context("cannot write to standard output")
}

/// Shells complete file names where they know nothing about a value. Only a path is one.
fn without_files(argument: Arg) -> Arg {
    let takes_value = argument.get_action().takes_values();
    match argument.get_value_hint() {
        ValueHint::Unknown if takes_value => argument.value_hint(ValueHint::Other),
        _ => argument,
    }
}

/// Lines that clap's script for fish lacks: it knows no arguments without a name, for which fish
/// then completes file names.
fn fish_arguments(command: &Command) -> String {
    let mut lines = format!("complete -c {NAME} -f\n");
    for subcommand in command.get_subcommands() {
        for argument in subcommand.get_positionals() {
            let values: Vec<_> = argument.get_possible_values();
            let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
            let what = match argument.get_value_hint() {
                ValueHint::AnyPath | ValueHint::FilePath => "-F".to_owned(),
                ValueHint::DirPath => "-a \"(__fish_complete_directories)\"".to_owned(),
                _ if !values.is_empty() => format!("-a \"{}\"", values.join(" ")),
                _ => continue,
            };
            lines += &format!(
                "complete -c {NAME} -n \"__fish_{NAME}_using_subcommand {}\" {what}\n",
                subcommand.get_name()
            );
        }
    }
    lines
}

/// Writes a manual page per command into `folder`, and creates it if it does not exist.
///
/// # Errors
///
/// The folder cannot be created or written to.
pub fn manual(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("cannot write manual pages into `{}`", folder.display()))
}
