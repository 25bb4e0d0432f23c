//! The report for people: a table in which each fault is followed by the line to change.

use std::fmt::Write as _;

use crate::judge::Verdict;
use crate::report::Report;

/// The column at which the text of a finding begins.
const INDENT: usize = 22;

/// How the table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With the colours of a terminal.
    Coloured,
}

impl Report {
    /// The table, in lines of up to `width` columns.
    pub fn table(&self, style: Style, width: usize) -> String {
        let whose = if self.rollcast { "rollcast" } else { "not rollcast" };
        let mut text = format!("{}\nstream {}, {whose}\n\n", self.url, self.stream);
        for finding in &self.findings {
            let (word, colour) = match finding.verdict {
                Verdict::Fine => ("fine", "32"),
                Verdict::Note => ("note", "33"),
                Verdict::Fault => ("FAULT", "1;31"),
                Verdict::Unknown => ("unknown", "2"),
            };
            let (on, off) = match style {
                Style::Coloured => (format!("\x1b[{colour}m"), "\x1b[0m"),
                Style::Plain => (String::new(), ""),
            };
            let mut lines = wrap(&finding.saw, width).into_iter();
            let first = lines.next().unwrap_or_default();
            let _ = writeln!(text, "{on}{word:<7}{off}  {:<13}{first}", finding.check);
            for line in lines {
                let _ = writeln!(text, "{:INDENT$}{line}", "");
            }
            for (n, line) in finding.change.iter().flat_map(|c| wrap(c, width - 3)).enumerate() {
                let arrow = if n == 0 { "-> " } else { "   " };
                let _ = writeln!(text, "{:INDENT$}{arrow}{line}", "");
            }
        }
        let n = |verdict| self.findings.iter().filter(|f| f.verdict == verdict).count();
        let _ = writeln!(
            text,
            "\n{}, {}, {} unknown; {} s",
            counted(self.n_faults, "fault"),
            counted(n(Verdict::Note), "note"),
            n(Verdict::Unknown),
            self.seconds
        );
        text
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Breaks a text between words into lines that fit between [`INDENT`] and `width`.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.saturating_sub(INDENT).max(20);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.into());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
