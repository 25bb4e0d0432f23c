//! Judges public clients of event streams, one after the other, into `docs/clients.md` and
//! `docs/clients/verdicts.json`. `make clients` sets up the adapters and runs it.
//!
//! Clients that are not run, because of `--only`, `--skip-browsers` or `--render`, keep their verdicts.

mod verdicts;
mod markdown;
mod marionette;
mod browsers;

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use lab::case::Level;
use lab::cases;
use lab::judge::Outcome;
use lab::report::{Known, Summary};
use lab::run::{Judged, Plan, run, select};
use lab::server::{Audience, Lab};

use browsers::Browser;
use markdown::{BROWSER, Frame};
use verdicts::{Client, Configuration, Kind, Reason, Verdict};

const USAGE: &str = "\
usage: clients [--only NAME…] [--cases PATTERNS] [--out FOLDER] [--skip-browsers] [--render]
  --only NAME…      run only clients and browsers with these names
  --cases PATTERNS  judge only these cases again, and keep the other verdicts; not in browsers
  --out FOLDER      write clients.md and clients/verdicts.json here (default: docs)
  --skip-browsers   run no browsers
  --render          run nothing: write clients.md again, from verdicts.json and guide.md";

const N_JOBS: usize = 6;
const N_TRIES: usize = 3;
const SEED: u64 = 1;

struct Options {
    only: Vec<String>,
    cases: Option<String>,
    out: PathBuf,
    with_browsers: bool,
    is_render: bool,
}

/// The files that are written.
struct Output {
    folder: PathBuf,
    guide: String,
    machine: String,
    clients: Vec<Client>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let done = tokio::select! {
        done = judge_all() => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("stopped by a signal")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show("");
            eprintln!("clients: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn judge_all() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = Options::parse(env::args().skip(1), root)?;
    let adapters = root.join("adapters");
    // The commands are relative to it.
    env::set_current_dir(&adapters).context("cannot enter the folder of adapters")?;
    let all = verdicts::configurations(&adapters)?;
    let mut output = Output::open(&options.out, &adapters, &all)?;
    let is_wanted = |name: &str| {
        let is_named = options.only.iter().any(|it| it.eq_ignore_ascii_case(name));
        !options.is_render && (options.only.is_empty() || is_named)
    };
    for name in &options.only {
        let is_it = |other: &str| other.eq_ignore_ascii_case(name);
        let is_known = all.iter().any(|it| is_it(&it.name))
            || Browser::ALL.iter().any(|browser| is_it(browser.name()));
        ensure!(is_known, "expected the name of a client or a browser, got `{name}`");
    }
    let wanted: Vec<&Configuration> = all.iter().filter(|it| is_wanted(&it.name)).collect();
    for configuration in &wanted {
        check(configuration).await?;
    }
    for (i, configuration) in wanted.iter().enumerate() {
        let place = format!("client {} of {}: {}", i + 1, wanted.len(), configuration.title());
        let cases = judge_client(configuration, options.cases.as_deref(), &place).await?;
        let cases = output.with_others(configuration, cases, options.cases.is_some())?;
        output.add((*configuration).clone(), cases)?;
    }
    let browsers = Browser::ALL.into_iter().filter(|browser| is_wanted(browser.name()));
    for browser in browsers.filter(|_| options.with_browsers) {
        if let Some(program) = browser.missing() {
            eprintln!("skipped {}: {program} is not installed", browser.name());
            continue;
        }
        let (version, cases) = judge_browser(browser).await?;
        output.clients.retain(|it| it.client.name != browser.name());
        output.add(describe(browser, version), cases)?;
    }
    output.write()
}

impl Options {
    fn parse(args: impl Iterator<Item = String>, root: &Path) -> anyhow::Result<Options> {
        let out = root.join("../../docs");
        let (only, with_browsers, is_render) = (Vec::new(), true, false);
        let mut options = Options { only, cases: None, out, with_browsers, is_render };
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            match &*arg {
                "--only" => {
                    while let Some(name) = args.next_if(|it| !it.starts_with("--")) {
                        options.only.push(name);
                    }
                    ensure!(!options.only.is_empty(), "expected a name after `--only`\n{USAGE}");
                }
                "--out" => {
                    let folder = args.next();
                    let folder = folder.with_context(|| format!("expected a folder\n{USAGE}"))?;
                    options.out = absolute(folder)?;
                }
                "--cases" => {
                    let cases = args.next();
                    options.cases =
                        Some(cases.with_context(|| format!("expected cases\n{USAGE}"))?);
                    options.with_browsers = false;
                }
                "--skip-browsers" => options.with_browsers = false,
                "--render" => options.is_render = true,
                _ => bail!("expected an option, got `{arg}`\n{USAGE}"),
            }
        }
        Ok(options)
    }
}

impl Output {
    /// Reads the verdicts of earlier runs on clients that still exist.
    fn open(folder: &Path, adapters: &Path, all: &[Configuration]) -> anyhow::Result<Output> {
        let guide = adapters.join("guide.md");
        let guide = fs::read_to_string(&guide)
            .with_context(|| format!("cannot read `{}`", guide.display()))?;
        let mut clients = verdicts::read(&folder.join("clients/verdicts.json"))?;
        clients.retain_mut(|it| {
            if it.client.language == BROWSER {
                let browser = Browser::ALL.into_iter().find(|other| other.name() == it.client.name);
                let Some(browser) = browser else { return false };
                it.client = describe(browser, it.client.version.clone());
                return true;
            }
            let Some(newer) = all.iter().find(|other| other.title() == it.client.title()) else {
                return false;
            };
            it.client = newer.clone();
            true
        });
        Ok(Output { folder: folder.to_owned(), guide, machine: machine(), clients })
    }

    /// These verdicts, together with the client's other ones if only some cases were judged again.
    fn with_others(
        &self,
        client: &Configuration,
        mut cases: Vec<Verdict>,
        are_some: bool,
    ) -> anyhow::Result<Vec<Verdict>> {
        if !are_some {
            return Ok(cases);
        }
        let before = self.clients.iter().find(|it| it.client.title() == client.title());
        let before = before.with_context(|| {
            format!("`{}` has no verdicts yet: run it without `--cases`", client.title())
        })?;
        let is_judged = |id: &str| cases.iter().any(|it| it.case == id);
        let others: Vec<_> = before.cases.iter().filter(|it| !is_judged(&it.case)).collect();
        let others: Vec<Verdict> = others.into_iter().cloned().collect();
        cases.extend(others);
        let place = |it: &Verdict| cases::all().iter().position(|case| case.id == it.case);
        cases.sort_by_key(place);
        Ok(cases)
    }

    /// Adds a client, or replaces it, and writes the files.
    fn add(&mut self, client: Configuration, cases: Vec<Verdict>) -> anyhow::Result<()> {
        let date = first_line("date", &["-u", "+%F"]).context("`date` prints no date")?;
        self.clients.retain(|it| it.client.title() != client.title());
        self.clients.push(Client { client, date, cases });
        self.write()
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.clients.sort_by_key(|it| (it.client.language.clone(), it.client.title()));
        let folder = self.folder.join("clients");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        // The generator runs in the folder of adapters.
        let exists = |file: &str| Path::new(file).is_file();
        let frame =
            Frame { guide: &self.guide, machine: &self.machine, n_tries: N_TRIES, exists: &exists };
        for (file, text) in [
            (folder.join("verdicts.json"), verdicts::json(&self.clients)?),
            (self.folder.join("clients.md"), markdown::page(&self.clients, &frame)),
        ] {
            fs::write(&file, text).with_context(|| format!("cannot write `{}`", file.display()))?;
        }
        Ok(())
    }
}

/// Whether an adapter can start: it connects in the first case.
async fn check(configuration: &Configuration) -> anyhow::Result<()> {
    let mut plan = plan(configuration);
    plan.cases.truncate(1);
    plan.n_tries = 1;
    let judged = run_plan(&plan, |_| {}).await?;
    never_connected(configuration, &judged)
}

/// An error if the client never connected: an adapter at fault is not a client that fails.
fn never_connected(configuration: &Configuration, judged: &[Judged]) -> anyhow::Result<()> {
    if judged.iter().all(|it| it.is_unconnected) {
        let said = judged.iter().flat_map(|it| it.verdict.errors.iter().chain(&it.stderr));
        let mut said: Vec<&str> = said.map(String::as_str).collect();
        said.dedup();
        said.truncate(20);
        bail!(
            "`{}` never connected, so its adapter is at fault (crates/lab/adapters/setup.sh installs what it needs): {}\n{}",
            configuration.title(),
            configuration.command.join(" "),
            said.join("\n")
        );
    }
    Ok(())
}

async fn judge_client(
    configuration: &Configuration,
    patterns: Option<&str>,
    place: &str,
) -> anyhow::Result<Vec<Verdict>> {
    let mut plan = plan(configuration);
    plan.cases.retain(|case| cases::matches(patterns.unwrap_or("*"), case.id));
    if plan.cases.is_empty() {
        return Ok(Vec::new());
    }
    let mut n_done = 0;
    let judged = run_plan(&plan, |_| {
        n_done += 1;
        show(&format!("{place}: case {n_done} of {}", plan.cases.len()));
    })
    .await?;
    never_connected(configuration, &judged)?;
    show("");
    eprintln!("{place}: {}", Summary::of(&judged, &Known::default()));
    for it in judged.iter().filter(|it| it.is_unconnected) {
        let said: Vec<&str> = it.verdict.errors.iter().chain(&it.stderr).map(|it| &**it).collect();
        eprintln!("  never connected in {}: {}", it.case.id, said.join(" / "));
    }
    Ok(judged.iter().map(verdict).collect())
}

fn plan(configuration: &Configuration) -> Plan {
    let needs = configuration.kind.needs();
    Plan {
        command: configuration.command.clone(),
        cases: select(cases::all(), "*", needs, Level::Info, false),
        n_jobs: N_JOBS,
        n_tries: N_TRIES,
        seed: SEED,
    }
}

async fn run_plan(plan: &Plan, report: impl FnMut(&Judged)) -> anyhow::Result<Vec<Judged>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let lab = Lab::start(address, cases::all(), Audience::Local).context("cannot listen")?;
    Ok(run(Arc::new(lab), plan, report).await?)
}

fn verdict(judged: &Judged) -> Verdict {
    let because = judged.verdict.because.iter();
    let because = because.map(|it| Reason { said: it.said.clone(), expected: it.expected.clone() });
    let outcome = judged.verdict.verdict;
    Verdict { case: judged.case.id.into(), outcome, because: because.collect() }
}

async fn judge_browser(browser: Browser) -> anyhow::Result<(String, Vec<Verdict>)> {
    let name = browser.name();
    show(&format!("{name}: starts"));
    let judged = browser.judge(N_TRIES, |progress| show(&format!("{name}: {progress}"))).await;
    show("");
    let (version, verdicts) = judged.with_context(|| format!("cannot judge {name}"))?;
    let count = |outcome| verdicts.iter().filter(|it| it.outcome == outcome).count();
    let (ok, fails) = (count(Outcome::Ok), count(Outcome::Fails));
    eprintln!("{name} {version}: {} cases: {ok} ok, {fails} fail", verdicts.len());
    for it in verdicts.iter().filter(|it| it.outcome == Outcome::Skipped) {
        let said: Vec<&str> = it.because.iter().map(|it| &*it.said).collect();
        eprintln!("  not judged in {}: {}", it.case, said.join(" / "));
    }
    Ok((version, verdicts))
}

fn describe(browser: Browser, version: String) -> Configuration {
    Configuration {
        name: browser.name().into(),
        version,
        registry: String::new(),
        language: BROWSER.into(),
        kind: Kind::Reconnects,
        command: Vec::new(),
        url: browser.url().into(),
        note: browser.note().into(),
    }
}

/// The kind of this machine, with the versions that matter.
fn machine() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system = name.map(|name| name.trim_matches('"').to_owned());
    let system = system.or_else(|| first_line("uname", &["-sr"]));
    let python = "target/venv/bin/python";
    let versions = [
        system,
        first_line("node", &["--version"]).map(|it| format!("Node {}", it.trim_start_matches('v'))),
        first_line(python, &["--version"]),
        first_line("rustc", &["--version"])
            .map(|it| format!("Rust {}", it.split(' ').nth(1).unwrap_or_default())),
    ];
    versions.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The first line that a command prints.
fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// Shows progress on a terminal, over the progress before.
fn show(text: &str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // Standard error may be closed.
        let _ = write!(stderr, "\r\x1b[K{text}");
    }
}
