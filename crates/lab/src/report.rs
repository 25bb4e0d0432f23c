//! Verdicts as text, JSON and JUnit, and what they mean for an exit code.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;

use crate::case::Level;
use crate::judge::Outcome;
use crate::run::Judged;
use crate::verdict::Verdict;

/// Failures that are known: they do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(BTreeSet<String>);

/// How many cases have which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub cases: usize,
    pub ok: usize,
    /// Cases of the level `must`, known failures included.
    pub fails_must: usize,
    /// Cases of the level `should`.
    pub fails_should: usize,
    pub differs: usize,
    pub recorded: usize,
    pub skipped: usize,
    /// Failures of the level `must` that are not known.
    pub new_failures: usize,
    /// Known failures that pass.
    pub known_passes: usize,
    /// Cases in which the client never connected.
    pub unconnected: usize,
}

/// What a run of all cases means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// No `must` fails but known ones.
    Good,
    /// Some `must` fails that is not known, or a known failure passes.
    Bad,
    /// The client never connected.
    Unconnected,
}

/// A report for other programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    summary: Summary,
    cases: Vec<&'a Verdict>,
}

impl Known {
    /// Reads a file with an id of a case per line. `#` starts a comment.
    ///
    /// # Errors
    ///
    /// The first line that names no case.
    pub fn parse(text: &str, is_case: impl Fn(&str) -> bool) -> Result<Known, UnknownCase> {
        let ids = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let ids: BTreeSet<String> = ids.filter(|id| !id.is_empty()).map(String::from).collect();
        match ids.iter().find(|id| !is_case(id)) {
            Some(id) => Err(UnknownCase(id.clone())),
            None => Ok(Known(ids)),
        }
    }

    fn contains(&self, judged: &Judged) -> bool {
        self.0.contains(judged.case.id)
    }
}

/// A line of a file of known failures that names no case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the id of a case, got `{0}`: `rollcast lab list` shows all")]
pub struct UnknownCase(String);

impl Summary {
    /// Counts outcomes.
    pub fn of(all: &[Judged], known: &Known) -> Summary {
        let mut summary = Summary { cases: all.len(), ..Summary::default() };
        for judged in all {
            let is_must = judged.case.level == Level::Must;
            let is_known = known.contains(judged);
            let count = match judged.verdict.verdict {
                Outcome::Ok => &mut summary.ok,
                Outcome::Fails if is_must => &mut summary.fails_must,
                Outcome::Fails => &mut summary.fails_should,
                Outcome::Differs => &mut summary.differs,
                Outcome::Recorded => &mut summary.recorded,
                // A run that is judged is not running.
                Outcome::Skipped | Outcome::Running => &mut summary.skipped,
            };
            *count += 1;
            match judged.verdict.verdict {
                Outcome::Fails if is_must && !is_known => summary.new_failures += 1,
                Outcome::Ok if is_known => summary.known_passes += 1,
                _ => {}
            }
            summary.unconnected += usize::from(judged.is_unconnected);
        }
        summary
    }

    /// What the counts mean.
    pub fn conclusion(&self) -> Conclusion {
        if self.cases > 0 && self.unconnected == self.cases {
            Conclusion::Unconnected
        } else if self.new_failures > 0 || self.known_passes > 0 {
            Conclusion::Bad
        } else {
            Conclusion::Good
        }
    }
}

/// The counts in words.
impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cases = if self.cases == 1 { "case" } else { "cases" };
        write!(f, "{} {cases}: {} ok", self.cases, self.ok)?;
        for (n, what) in [
            (self.fails_must, "fail a must"),
            (self.fails_should, "fail a should"),
            (self.differs, "differ from EventSource"),
            (self.recorded, "recorded"),
            (self.skipped, "skipped"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        Ok(())
    }
}

/// The lines about a case on the terminal. Cases that are ok have none.
pub fn lines(judged: &Judged, known: &Known) -> String {
    let Verdict { verdict, because, errors, .. } = &judged.verdict;
    let is_known = known.contains(judged);
    let mark = match verdict {
        Outcome::Ok if is_known => "!",
        Outcome::Ok | Outcome::Running => return String::new(),
        Outcome::Fails if is_known => "k",
        Outcome::Fails => "✗",
        Outcome::Differs => "≠",
        Outcome::Recorded => "i",
        Outcome::Skipped => "-",
    };
    let mut reasons: Vec<String> = because.iter().map(ToString::to_string).collect();
    if *verdict == Outcome::Ok {
        reasons.push("passes, but is listed as a known failure: remove it from the file".into());
    }
    if reasons.is_empty() {
        reasons.push(recorded(&judged.verdict));
    }
    let level = if judged.case.level == Level::Should { " (should)" } else { "" };
    let mut text = format!(
        "{mark} {}{level}  {}: {}  {}\n",
        judged.case.id,
        judged.case.what,
        reasons.join("; "),
        judged.case.rule
    );
    if judged.is_unconnected {
        let said = errors.iter().chain(&judged.stderr);
        said.for_each(|line| text += &format!("    {line}\n"));
    }
    text
}

/// What is recorded of a client that did what was expected.
fn recorded(verdict: &Verdict) -> String {
    let mut text = format!("{} requests, {:.1} s", verdict.n_requests, verdict.seconds);
    if let Some(memory) = verdict.memory {
        text += &format!(", {} MiB", memory >> 20);
    }
    text
}

/// The report as JSON.
pub fn json(all: &[Judged], known: &Known) -> String {
    let cases = all.iter().map(|judged| &judged.verdict).collect();
    let document = Document { summary: Summary::of(all, known), cases };
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// The report as JUnit's XML, which CI systems show. Only new failures of the level `must` are failures.
pub fn junit(all: &[Judged], known: &Known) -> String {
    let summary = Summary::of(all, known);
    let n_skipped = summary.skipped;
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let n_failures = summary.new_failures + summary.known_passes;
    let _ = writeln!(
        text,
        "<testsuite name=\"rollcast lab\" tests=\"{}\" failures=\"{n_failures}\" \
         skipped=\"{n_skipped}\">",
        all.len()
    );
    for judged in all {
        let Verdict { verdict, because, seconds, .. } = &judged.verdict;
        let id = judged.case.id;
        let _ = write!(text, "  <testcase classname=\"lab\" name=\"{id}\" time=\"{seconds:.3}\"");
        let because: Vec<String> = because.iter().map(ToString::to_string).collect();
        let because = escaped(&because.join("; "));
        let is_known = known.contains(judged);
        let is_must = judged.case.level == Level::Must;
        let inside = match verdict {
            Outcome::Fails if is_must && !is_known => {
                let place = format!("{}\n{}", judged.case.what, judged.case.rule.url());
                format!("<failure message=\"{because}\">{}</failure>", escaped(&place))
            }
            Outcome::Ok if is_known => {
                "<failure message=\"passes, but is listed as a known failure\"/>".into()
            }
            Outcome::Skipped => format!("<skipped message=\"{because}\"/>"),
            _ if because.is_empty() => {
                text += "/>\n";
                continue;
            }
            _ => format!("<system-out>{verdict}: {because}</system-out>"),
        };
        let _ = writeln!(text, ">{inside}</testcase>");
    }
    text + "</testsuite>\n"
}

/// A text for XML 1.0, which allows no control characters.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
        escaped
    })
}
