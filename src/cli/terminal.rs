//! What a terminal shows: colours and lines that change.

use std::env;
use std::ffi::OsStr;
use std::io::IsTerminal;

/// Whether this output may have colours: a terminal that has them, unless `NO_COLOR` is set.
///
/// <https://no-color.org>
pub fn shows_colours(output: &impl IsTerminal) -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    moves_cursor(output) && !unwanted
}

/// Whether this output understands control sequences: a terminal whose type is known and not
/// `dumb`.
pub fn moves_cursor(output: &impl IsTerminal) -> bool {
    output.is_terminal() && understands_sequences(env::var_os("TERM").as_deref())
}

fn understands_sequences(term: Option<&OsStr>) -> bool {
    term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_a_type_is_dumb() {
        let table = [
            (None, false),
            (Some(""), false),
            (Some("dumb"), false),
            (Some("xterm-256color"), true),
        ];
        for (term, expected) in table {
            assert_eq!(understands_sequences(term.map(OsStr::new)), expected, "{term:?}");
        }
    }
}
