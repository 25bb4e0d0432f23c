//! `rollcast lab`.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use lab::case::{Case, Level, Needs};
use lab::cases;
use lab::page::{json_list, level_name, needs_name};
use lab::report::{Conclusion, Known, Summary, json, junit, lines};
use lab::run::{Plan, RunError, run, select};
use lab::server::{Audience, Lab};

use crate::app;
use crate::cli::progress::ProgressLine;
use crate::cli::{Failure, GAP, note};

const LAB_HELP: &str = "\
A case is a stream on which the server does one wrong or rare thing. `lab run` starts that server,
runs a client once per case, and judges by rule what the client reported and requested.
docs/lab.md describes how to write an adapter for a client, and how to use the lab in CI.";

const RUN_HELP: &str = "\
The command is run once per case. It opens the stream at LAB_URL and prints each event as one line
of JSON: {\"event\":\"message\",\"data\":\"…\",\"id\":\"…\"}. LAB_EVENTS contains the names of the case's
events other than `message`, as a JSON array. LAB_CASE is the id of the case. The command and its
child processes are killed when the verdict is known.
Marks: ✗ fails, ≠ differs from EventSource on purpose, k known failure, ! a known failure that
passes, i recorded, - skipped.
Exit codes: 0 no `must` fails, except known failures; 1 another `must` fails, a known failure passes,
the run was stopped, or a report cannot be written; 2 usage error, or the command cannot be started;
3 the command connected in none of the cases.";

/// Test a client of event streams against a server that misbehaves on demand
#[derive(Clone, Debug, Args)]
#[command(after_help = LAB_HELP)]
pub struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum LabCommand {
    /// Run the command of a client once per case
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// List all cases
    List {
        /// List as JSON
        #[arg(long)]
        json: bool,
    },
    /// Serve the cases and their pages until stopped
    Serve(ServeArgs),
    /// Serve the cases, and print the address of the page that tests a browser
    Browser(ServeArgs),
}

#[derive(Clone, Debug, Args)]
struct RunArgs {
    /// Only cases with these ids; `*` stands for any characters. Separate patterns with commas
    #[arg(long, value_name = "PATTERNS", default_value = "*")]
    cases: String,
    /// The client only parses: the calling code makes the requests and reconnects
    #[arg(long)]
    parser: bool,
    /// The client makes requests, but the calling code reconnects
    #[arg(long, conflicts_with = "parser")]
    no_reconnect: bool,
    /// Only cases of this level and above
    #[arg(long, value_enum, default_value = "info")]
    level: LevelArg,
    /// Also run the cases that take longer than 10 s
    #[arg(long)]
    slow: bool,
    /// Ids of cases that are known to fail, one per line; `#` starts a comment
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    known: Option<PathBuf>,
    /// How many clients run at once, 1 to 64
    #[arg(long, value_name = "N", default_value = "6", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// How many times a failing case is tried in all, 1 to 10; it fails if every try fails
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=10))]
    tries: u8,
    /// The seed of the cases that are cut at random bytes
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Write the verdicts as JSON into this file; `-` for standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
    /// Write the verdicts as JUnit XML into this file; `-` for standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    junit: Option<PathBuf>,
    /// The client's command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Clone, Debug, Args)]
struct ServeArgs {
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    address: IpAddr,
    /// The port to listen on; 0 for any free one
    #[arg(long, value_name = "N", default_value_t = 8_002)]
    port: u16,
    /// Limit the runs, connections and bytes of each client, for a lab on a public network
    #[arg(long)]
    public: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelArg {
    Must,
    Should,
    Policy,
    Info,
}

impl From<LevelArg> for Level {
    fn from(level: LevelArg) -> Level {
        match level {
            LevelArg::Must => Level::Must,
            LevelArg::Should => Level::Should,
            LevelArg::Policy => Level::Policy,
            LevelArg::Info => Level::Info,
        }
    }
}

/// Runs a command of the lab.
///
/// # Errors
///
/// A `must` fails: exit code 1. Usage error, or the client cannot be run: 2. It never connected: 3.
pub fn lab(args: LabArgs) -> Result<(), Failure> {
    let out = match args.command {
        LabCommand::Run(args) => return run_client(&args),
        LabCommand::List { json: true } => json_list(cases::all()),
        LabCommand::List { json: false } => table(cases::all()),
        LabCommand::Serve(args) => return serve(&args, "/lab/"),
        LabCommand::Browser(args) => return serve(&args, "/lab/browser"),
    };
    io::stdout().write_all(out.as_bytes()).context("cannot write to standard output")?;
    Ok(())
}

fn table(all: &[Case]) -> String {
    let row = |case: &Case| {
        let Case { id, what, level, needs, rule, .. } = case;
        let (level, needs) = (level_name(*level), needs_name(*needs));
        format!("{id:<18} {level:<7} {needs:<23} {what}  {rule}\n")
    };
    all.iter().map(row).collect()
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn run_client(args: &RunArgs) -> Result<(), Failure> {
    let n_to_stdout =
        [&args.json, &args.junit].into_iter().flatten().filter(|it| is_dash(it)).count();
    if n_to_stdout > 1 {
        let error = anyhow::anyhow!(
            "expected one report on standard output, got `--json -` and `--junit -`: write one into a file"
        );
        return Err(Failure::usage(error));
    }
    let known = match &args.known {
        Some(file) => read_known(file).map_err(Failure::usage)?,
        None => Known::default(),
    };
    let needs = match (args.parser, args.no_reconnect) {
        (true, _) => Needs::Parser,
        (false, true) => Needs::Http,
        (false, false) => Needs::Reconnect,
    };
    let selected = select(cases::all(), &args.cases, needs, args.level.into(), args.slow);
    if selected.is_empty() {
        let error = anyhow::anyhow!(
            "expected at least one case, got none: `--cases {}`, `--level`, `--parser`, \
             `--no-reconnect` or a missing `--slow` leaves out all (`rollcast lab list` shows them)",
            args.cases
        );
        return Err(Failure::usage(error));
    }
    let plan = Plan {
        command: args.command.clone(),
        cases: selected,
        n_jobs: args.jobs.into(),
        n_tries: args.tries.into(),
        seed: args.seed,
    };
    let n_cases = plan.cases.len();
    let mut progress = ProgressLine::default();
    let mut n_done = 0;
    let judged = runtime()?.block_on(async {
        let stop = app::stop_signal().context("cannot listen for signals")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let lab = Lab::start(address, cases::all(), Audience::Local).context("cannot listen")?;
        progress.show(format_args!("case 0 of {n_cases}"));
        let report = |judged: &_| {
            n_done += 1;
            let text = lines(judged, &known);
            progress.show(format_args!(""));
            // A report on standard output stays valid.
            let _ = if n_to_stdout > 0 {
                io::stderr().write_all(text.as_bytes())
            } else {
                io::stdout().write_all(text.as_bytes())
            };
            progress.show(format_args!("case {n_done} of {n_cases}"));
        };
        tokio::select! {
            judged = run(Arc::new(lab), &plan, report) => judged.map_err(cannot_run),
            _ = stop => Err(anyhow::anyhow!("stopped by a signal").into()),
        }
    })?;
    drop(progress);
    let summary = Summary::of(&judged, &known);
    for (file, text) in [(&args.json, json(&judged, &known)), (&args.junit, junit(&judged, &known))]
    {
        if let Some(file) = file {
            write_report(file, &text)?;
        }
    }
    note(summary);
    match summary.conclusion() {
        Conclusion::Good => Ok(()),
        Conclusion::Bad => Err(anyhow::anyhow!("{}", failures(&summary)).into()),
        Conclusion::Unconnected => {
            let error = anyhow::anyhow!(
                "`{}` never connected to LAB_URL: fix the adapter first",
                args.command.join(" ")
            );
            Err(Failure { error, exit_code: GAP })
        }
    }
}

fn failures(summary: &Summary) -> String {
    let cases = |n| if n == 1 { "1 case".into() } else { format!("{n} cases") };
    match (summary.new_failures, summary.known_passes) {
        (n, 0) => format!("{} of the level `must` failed", cases(n)),
        (0, n) => format!("{} passed that `--known` lists as failing", cases(n)),
        (n, known) => format!(
            "{} of the level `must` failed, and {} passed that `--known` lists as failing",
            cases(n),
            cases(known)
        ),
    }
}

fn cannot_run(error: RunError) -> Failure {
    Failure::usage(error)
}

fn read_known(file: &Path) -> anyhow::Result<Known> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the known failures in `{}`", file.display()))?;
    Known::parse(&text, |id| cases::find(id).is_some())
        .with_context(|| format!("in `{}`", file.display()))
}

fn is_dash(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn write_report(file: &Path, text: &str) -> anyhow::Result<()> {
    if is_dash(file) {
        return io::stdout().write_all(text.as_bytes()).context("cannot write to standard output");
    }
    fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
}

fn serve(args: &ServeArgs, path: &str) -> Result<(), Failure> {
    let address = SocketAddr::new(args.address, args.port);
    let audience = if args.public { Audience::Public } else { Audience::Local };
    runtime()?.block_on(async {
        let stop = app::stop_signal().context("cannot listen for signals")?;
        let lab = Lab::start(address, cases::all(), audience)
            .with_context(|| format!("cannot listen on {address}: `--port` sets another port"))?;
        writeln!(io::stdout(), "http://{}{path}", lab.address())
            .context("cannot write to standard output")?;
        stop.await;
        Ok::<(), anyhow::Error>(())
    })?;
    Ok(())
}
