//! The results as Markdown, JSON and plots.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use crate::plot::Plot;
use crate::server::{Peer, Places};

/// The result of one scenario.
#[derive(Debug, Default, Serialize)]
pub struct Section {
    pub name: &'static str,
    pub title: String,
    /// A description in one or two sentences.
    pub how: String,
    /// The command line that repeats it.
    pub command: String,
    pub seconds: f64,
    pub tables: Vec<Table>,
    /// Omissions and other remarks.
    pub notes: Vec<String>,
    /// All measurements.
    pub data: Value,
    #[serde(skip)]
    pub plots: Vec<Plot>,
}

#[derive(Debug, Serialize)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[&str]) -> Table {
        let columns = columns.iter().map(|column| column.to_string()).collect();
        Table { columns, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

/// The machine and the versions of the measured programs.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub date: String,
    pub commit: String,
    pub cpu: String,
    pub n_cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub system: String,
    pub versions: Vec<(String, String)>,
}

impl Machine {
    pub fn look(places: &Places) -> Machine {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str, separator: char| -> String {
            let mut lines = text.lines().filter_map(|line| line.split_once(separator));
            let found = lines.find(|(field, _)| field.trim() == name);
            found.map_or("unknown", |(_, value)| value.trim().trim_matches('"')).to_string()
        };
        let (cpus, memory) = (text("/proc/cpuinfo"), text("/proc/meminfo"));
        let kib = value(&memory, "MemTotal", ':').trim_end_matches(" kB").parse::<f64>();
        let in_project = |program: &str, arguments: &[&str]| {
            said(Command::new(program).args(arguments).current_dir(&places.project))
        };
        let changed = in_project("git", &["status", "--porcelain", "--untracked-files=no"]);
        let commit = in_project("git", &["rev-parse", "--short=12", "HEAD"]);
        let commit = commit.unwrap_or_else(|| "unknown".to_string());
        Machine {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            commit: if changed.is_some() { commit + " and changes" } else { commit },
            cpu: value(&cpus, "model name", ':'),
            n_cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib.unwrap_or_default() / f64::from(1 << 20),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_string(),
            system: value(&text("/etc/os-release"), "PRETTY_NAME", '='),
            versions: versions(places),
        }
    }
}

/// The output of a program, if it has any.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    // nginx prints its version on stderr.
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let said = String::from_utf8_lossy(&said).trim().to_string();
    (!said.is_empty()).then_some(said)
}

fn versions(places: &Places) -> Vec<(String, String)> {
    let mut versions = Vec::new();
    let mut add = |name: &str, version: Option<String>| {
        let version = version.unwrap_or_else(|| "unknown".to_string());
        versions.push((name.to_string(), version));
    };
    let binary = |name| places.binary(name).unwrap_or_default();
    add("rollcast", said(Command::new(binary("rollcast")).arg("--version")));
    let nginx = said(Command::new("nginx").arg("-v"));
    add("nginx", nginx.map(|said| said.replace("nginx version: ", "")));
    let nchan = ["-W", "-f", "${Version}", "libnginx-mod-nchan"];
    add("nchan", said(Command::new("dpkg-query").args(nchan)));
    let lock = fs::read_to_string(places.project.join("bench/Cargo.lock")).unwrap_or_default();
    add("axum", locked(&lock, "axum"));
    add("rocket", locked(&lock, "rocket"));
    let pip = "from importlib.metadata import version as v; import platform as p; \
        print(f'{v(\"flask\")}, gevent {v(\"gevent\")}, Python {p.python_version()}')";
    add("flask", said(Command::new(places.python()).args(["-c", pip])));
    add("rustc", said(Command::new("rustc").arg("--version")));
    versions
}

/// A package's version in a lock file.
fn locked(lock: &str, package: &str) -> Option<String> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next().map(String::from)
}

/// Writes `README.md`, `results.json` and the plots into a folder.
pub fn write(folder: &Path, machine: &Machine, sections: &[Section]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = |name: &str, content: String| {
        let path = folder.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    for plot in sections.iter().flat_map(|section| &section.plots) {
        file(&format!("{}.svg", plot.name), plot.to_svg())?;
    }
    let all = serde_json::json!({ "machine": machine, "sections": sections });
    file("results.json", serde_json::to_string_pretty(&all)? + "\n")?;
    file("README.md", to_markdown(machine, sections))
}

fn to_markdown(machine: &Machine, sections: &[Section]) -> String {
    let mut text = String::from("# Results\n\n");
    let _ = write!(
        text,
        "`rollcast-bench` wrote this page. [bench/README.md](../../bench/README.md) explains how \
         it measures, and its limits.\n\n\
         {}, commit {}. {} cores ({}), {:.0} GiB, {}, Linux {}. Clients and servers share the \
         machine. Versions: {}.\n",
        machine.date,
        machine.commit,
        machine.n_cores,
        machine.cpu,
        machine.memory_gib,
        machine.system,
        machine.kernel,
        machine.versions.iter().map(|(n, v)| version(n, v)).collect::<Vec<_>>().join("; "),
    );
    for section in sections {
        text += "\n";
        text += &section.to_markdown();
    }
    text
}

/// Removes the program's name from its version.
fn version(name: &str, version: &str) -> String {
    if version.starts_with(name) { version.to_string() } else { format!("{name} {version}") }
}

impl Section {
    pub fn to_markdown(&self) -> String {
        let Section { title, how, command, .. } = self;
        let mut text = format!("## {title}\n\n{how}\n\n    {command}\n");
        for table in &self.tables {
            let ruler = table.columns.iter().map(|_| "---".to_string()).collect();
            for row in [&table.columns, &ruler].into_iter().chain(&table.rows) {
                let start = if std::ptr::eq(row, &table.columns) { "\n" } else { "" };
                let _ = writeln!(text, "{start}| {} |", row.join(" | "));
            }
        }
        for plot in &self.plots {
            let _ = write!(text, "\n![{}]({}.svg)\n", plot.title, plot.name);
        }
        for note in &self.notes {
            let _ = write!(text, "\n- {note}\n");
        }
        text
    }

    /// Adds a remark for each peer that cannot run here. Returns the others.
    pub fn leave_out(&mut self, places: &Places, peers: &[Peer]) -> Vec<Peer> {
        let mut present = Vec::new();
        for &peer in peers {
            match places.missing(peer) {
                None => present.push(peer),
                Some(why) => {
                    eprintln!("SKIPPED: {}: {why}", peer.name());
                    self.notes.push(format!("Skipped: {}, because {why}.", peer.name()));
                }
            }
        }
        present
    }
}

/// The median. For an even number of values, the mean of the middle two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// The 99th percentile, or NaN for fewer than 100 values.
pub fn p99(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    if values.len() < 100 { f64::NAN } else { values[(values.len() * 99).div_ceil(100) - 1] }
}

/// The maximum, or NaN without values.
pub fn slowest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::NAN, f64::max)
}

/// A measured number with its significant digits.
pub fn figure(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_string(),
        large if large >= 1_000.0 => count(value.round() as u64),
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A count with thousands separators: 1,234.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_p99_needs_at_least_a_hundred_values() {
        let to = |n: u32| (1..=n).rev().map(f64::from);
        assert!(p99(to(99)).is_nan());
        assert_eq!((p99(to(100)), p99(to(1_000))), (99.0, 990.0));
        assert_eq!(slowest(to(5)), 5.0);
        assert!(slowest([]).is_nan());
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn figures_are_for_people() {
        let figures = [0.123, 12.34, 123.4, 1234.4, 1_234_567.0, f64::NAN].map(figure);
        assert_eq!(figures, ["0.12", "12.3", "123", "1,234", "1,234,567", "–"]);
        assert_eq!([0, 12, 123, 1_000, 12_034].map(count), ["0", "12", "123", "1,000", "12,034"]);
    }
}
