//! Progress of long work, for whoever waits at a terminal.

use std::fmt;
use std::io::{self, IsTerminal, Write};

/// One line about long work that changes as the work goes on, on a terminal; gone at its end.
#[derive(Default)]
pub struct ProgressLine {
    shown: String,
}

impl ProgressLine {
    pub fn show(&mut self, text: fmt::Arguments<'_>) {
        let text = text.to_string();
        if io::stderr().is_terminal() && text != self.shown {
            // Whoever closes standard error wants to know nothing.
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            self.shown = text;
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
