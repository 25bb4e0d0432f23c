//! Progress of long work, shown on a terminal.

use std::fmt;
use std::io::{self, Write};

use crate::cli::terminal::moves_cursor;

/// A line on standard error that changes as the work goes on and disappears when dropped. Shows
/// nothing if standard error is no terminal, or a dumb one.
#[derive(Default)]
pub struct ProgressLine {
    shown: String,
}

impl ProgressLine {
    /// Replaces the line.
    pub fn show(&mut self, text: fmt::Arguments<'_>) {
        let text = text.to_string();
        if moves_cursor(&io::stderr()) && text != self.shown {
            // Ignore the error: stderr may be closed.
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
