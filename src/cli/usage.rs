//! Parses the command line. An error about it shows no password.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use event_stream::http_url::without_password;

use crate::cli::args::Cli;

/// The command to run; the exit code if it is already done, such as `--help`, or is not valid.
///
/// # Errors
///
/// There is no command to run.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        if error.use_stderr() {
            // clap quotes the arguments as they were given.
            let text = without_passwords(&error.to_string());
            // Ignore the error: stderr may be closed.
            let _ = write!(io::stderr(), "{text}");
        } else {
            // Ignore the error: stdout may be closed.
            let _ = error.print();
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Hides the password of each URL in a text for people, which puts them between quotes or spaces.
fn without_passwords(text: &str) -> String {
    let is_between = |c: char| c.is_whitespace() || matches!(c, '\'' | '`');
    text.split_inclusive(is_between).map(without_password).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_password_in_an_error_is_hidden_and_the_rest_stays() {
        let error =
            "error: invalid value 'htps://me:se@cret@h/' for '[URL]':\n  `a:b@h` is not one";
        let hidden = "error: invalid value 'htps://***@h/' for '[URL]':\n  `***@h` is not one";
        assert_eq!(without_passwords(error), hidden);
    }
}
