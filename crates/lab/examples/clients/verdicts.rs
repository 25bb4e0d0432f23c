//! The verdicts on clients, and the file that keeps them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use lab::case::{Case, Level, Needs};
use lab::cases;
use lab::judge::Outcome;
use serde::{Deserialize, Serialize};

/// A client, and how to run its adapter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    pub name: String,
    pub version: String,
    pub registry: String,
    pub language: String,
    pub kind: Kind,
    /// The command of the adapter, in the folder of adapters. Browsers have none.
    pub command: Vec<String>,
    pub url: String,
    pub note: String,
}

/// What a client does, which decides which cases apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Reconnects,
    Http,
    Parser,
}

/// The verdicts on a client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Client {
    pub client: Configuration,
    /// The day on which it was judged.
    pub date: String,
    pub cases: Vec<Verdict>,
}

/// The verdict on a client in one case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Verdict {
    pub case: String,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Reason>,
}

/// What the client did, and what it should have done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reason {
    pub said: String,
    pub expected: String,
}

/// How many cases have which outcome. Recorded and skipped cases are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub cases: usize,
    pub ok: usize,
    pub fails_must: usize,
    pub fails_should: usize,
    pub differs: usize,
}

impl Kind {
    /// Which cases apply.
    pub fn needs(self) -> Needs {
        match self {
            Kind::Reconnects => Needs::Reconnect,
            Kind::Http => Needs::Http,
            Kind::Parser => Needs::Parser,
        }
    }

    /// The option of `rollcast lab run`.
    pub fn option(self) -> &'static str {
        match self {
            Kind::Reconnects => "",
            Kind::Http => "--no-reconnect ",
            Kind::Parser => "--parser ",
        }
    }

    /// What the client does, as a verb.
    pub fn verb(self) -> &'static str {
        match self {
            Kind::Reconnects => "reconnects",
            Kind::Http => "makes requests",
            Kind::Parser => "parses",
        }
    }
}

impl Configuration {
    /// The name and version.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// The source of the adapter, in the folder of adapters. `exists` says which files are there.
    pub fn adapter(&self, exists: &dyn Fn(&str) -> bool) -> Option<String> {
        let sources = self.command.iter().flat_map(|word| {
            let name = word.strip_prefix("target/release/").unwrap_or(word);
            let module = name.replace('-', "_");
            [
                word.clone(),
                format!("crates/src/bin/{name}.rs"),
                format!("crates/src/bin/{module}.rs"),
                format!("crates/src/{module}.rs"),
                format!("crates/{name}/src/main.rs"),
            ]
        });
        let is_source =
            |file: &String| !file.starts_with(['/', '-']) && !file.starts_with("target/");
        sources.filter(is_source).find(|file| exists(file))
    }
}

impl Verdict {
    /// Its case, if the lab still has it.
    pub fn found(&self) -> Option<&'static Case> {
        cases::find(&self.case)
    }
}

impl Client {
    /// Counts the outcomes.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for verdict in &self.cases {
            let Some(case) = verdict.found() else { continue };
            match (verdict.outcome, case.level) {
                (Outcome::Ok, _) => counts.ok += 1,
                (Outcome::Fails, Level::Must) => counts.fails_must += 1,
                (Outcome::Fails, _) => counts.fails_should += 1,
                (Outcome::Differs, _) => counts.differs += 1,
                (Outcome::Recorded | Outcome::Skipped | Outcome::Running, _) => continue,
            }
            counts.cases += 1;
        }
        counts
    }

    /// Whether it makes requests without a sensible pause, in some case.
    pub fn storms(&self) -> bool {
        self.cases.iter().any(|verdict| {
            let is_bounded = |case: &Case| case.expect.at_most.is_some();
            let too_many = |reason: &Reason| {
                reason.expected.starts_with("at most ") && reason.expected.contains(" in ")
            };
            verdict.outcome == Outcome::Fails
                && verdict.found().is_some_and(is_bounded)
                && verdict.because.iter().any(too_many)
        })
    }

    /// The order in a table: those that do more, then those that fail less, then by name.
    pub fn compare(&self, other: &Client) -> Ordering {
        let key = |it: &Client| {
            let Counts { fails_must, fails_should, differs, .. } = it.counts();
            (it.client.kind, fails_must, fails_should, differs, it.client.title())
        };
        key(self).cmp(&key(other))
    }
}

/// Reads all files `clients-*.json` in the folder.
pub fn configurations(folder: &Path) -> anyhow::Result<Vec<Configuration>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).context("cannot read the folder of adapters")? {
        let path = entry.context("cannot read the folder of adapters")?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("clients-") && name.ends_with(".json") {
            files.push(path);
        }
    }
    files.sort();
    let mut all: Vec<Configuration> = Vec::new();
    for file in files {
        let text = fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let some: Vec<Configuration> = serde_json::from_slice(&text)
            .with_context(|| format!("`{}` contains no clients", file.display()))?;
        all.extend(some);
    }
    let mut titles = HashSet::new();
    for configuration in &all {
        let title = configuration.title();
        ensure!(!configuration.command.is_empty(), "expected a command for `{title}`");
        ensure!(titles.insert(title.clone()), "expected one entry for `{title}`, got two");
    }
    Ok(all)
}

/// Reads the verdicts of earlier runs, if there are any.
pub fn read(file: &Path) -> anyhow::Result<Vec<Client>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` has no verdicts", file.display()))
}

/// The verdicts as JSON, with a line per case.
pub fn json(clients: &[Client]) -> serde_json::Result<String> {
    let mut text = String::from("[");
    for (i, Client { client, date, cases }) in clients.iter().enumerate() {
        text += if i == 0 { "\n" } else { ",\n" };
        let (client, date) = (serde_json::to_string(client)?, serde_json::to_string(date)?);
        text += &format!("{{\"client\":{client},\n\"date\":{date},\n\"cases\":[");
        for (i, verdict) in cases.iter().enumerate() {
            text += if i == 0 { "\n" } else { ",\n" };
            text += &serde_json::to_string(verdict)?;
        }
        text += "\n]}";
    }
    Ok(text + "\n]\n")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A client with these verdicts: the case, the outcome, what it did, and what was expected.
    pub fn client(name: &str, verdicts: &[(&str, Outcome, &str, &str)]) -> Client {
        let cases = verdicts.iter().map(|&(case, outcome, said, expected)| {
            let reason = Reason { said: said.into(), expected: expected.into() };
            let because = if said.is_empty() { Vec::new() } else { vec![reason] };
            Verdict { case: case.into(), outcome, because }
        });
        let client = Configuration {
            name: name.into(),
            version: "1.0".into(),
            registry: "npm".into(),
            language: "JavaScript".into(),
            kind: Kind::Reconnects,
            command: vec!["node".into(), format!("npm/{name}.mjs")],
            url: "https://example.org/".into(),
            note: String::new(),
        };
        Client { client, date: "2026-11-28".into(), cases: cases.collect() }
    }

    #[test]
    fn outcomes_are_counted_by_level() {
        let verdicts = [
            ("p-bom", Outcome::Ok, "", ""),
            ("r-resume", Outcome::Fails, "no", ""),
            ("q-7", Outcome::Fails, "no", ""),
            ("s-404", Outcome::Differs, "no", ""),
            ("r-502", Outcome::Recorded, "no", ""),
            ("i-nul", Outcome::Skipped, "no", ""),
            ("gone", Outcome::Fails, "no", ""),
        ];
        let expected = Counts { cases: 4, ok: 1, fails_must: 1, fails_should: 1, differs: 1 };
        assert_eq!(client("a", &verdicts).counts(), expected);
    }

    #[test]
    fn only_too_many_requests_are_a_storm() {
        for (case, outcome, expected, storms) in [
            ("r-retry-32", Outcome::Fails, "at most 6 in 3 s", true),
            ("s-loop", Outcome::Fails, "at most 60 in 3 s", true),
            ("r-storm-empty", Outcome::Fails, "at most 12 in 3 s", true),
            ("s-loop", Outcome::Fails, "no event", false),
            ("r-retry-0", Outcome::Recorded, "at most 1000 in 2 s", false),
            ("r-storm-reset", Outcome::Fails, "at least 200 ms", false),
        ] {
            let storming = client("a", &[(case, outcome, "no", expected)]).storms();
            assert_eq!(storming, storms, "{case} {expected}");
        }
    }

    #[test]
    fn a_file_keeps_all_verdicts_with_a_line_per_case() -> anyhow::Result<()> {
        let verdicts = [
            ("p-bom", Outcome::Ok, "", ""),
            ("s-404", Outcome::Differs, "reported `\n\"`", "no event"),
        ];
        let clients = vec![client("a", &verdicts), client("b", &[])];
        let text = json(&clients)?;
        assert_eq!(serde_json::from_str::<Vec<Client>>(&text)?, clients);
        assert!(text.contains("\n{\"case\":\"p-bom\",\"outcome\":\"ok\"},\n"), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Client>>(&json(&[])?)?, []);
        Ok(())
    }

    #[test]
    fn the_source_of_an_adapter_is_a_file_that_exists() {
        let files =
            ["npm/a.mjs", "pypi/a.py", "crates/src/bin/a_b.rs", "target/release/a-b", "node"];
        for (command, expected) in [
            (vec!["deno", "npm/a.mjs"], Some("npm/a.mjs")),
            (vec!["target/venv/bin/python", "pypi/a.py"], Some("pypi/a.py")),
            (vec!["target/release/a-b"], Some("crates/src/bin/a_b.rs")),
            (vec!["target/release/adapters", "a-b"], Some("crates/src/bin/a_b.rs")),
            (vec!["deno", "npm/b.mjs"], None),
            (vec![], None),
        ] {
            let mut client = client("a", &[]).client;
            client.command = command.iter().map(|word| (*word).into()).collect();
            assert_eq!(client.adapter(&|file| files.contains(&file)).as_deref(), expected);
        }
    }
}
