//! `rollcast-bench`: measures rollcast beside its peers, and checks every delivery.
//!
//! `fleet` opens the streams, `connection`, `decode` and `marks` read them; `server` starts rollcast and its
//! peers; `procs` and `writes` ask the kernel what they cost; `measure` puts these together;
//! `scenarios` define the measurements; `budgets` compares them; `report` and `plot` write the results. Linux only.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::report::{Machine, Section};
use crate::scenarios::{
    compare, crowd, durable, fill, log, pages, reconnect, replay, scale, stalled, start,
};
use crate::server::Places;

mod budgets;
mod connection;
mod decode;
mod fleet;
mod marks;
mod measure;
mod plot;
mod procs;
mod report;
mod scenarios;
mod server;
mod web;
mod writes;

/// Measures rollcast beside its peers on this machine, and checks that every client gets every
/// roll once and in order.
///
/// Every command but `all` and `fill` is one scenario: it prints its results as Markdown on stdout
/// and its progress on stderr. Servers are started, and ended, by the program; all traffic stays on
/// loopback. Build the binaries first: make bench-build.
///
/// Exit codes: 0 measured, 1 a fault of rollcast or of the machine, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Print JSON instead of Markdown
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// CPU per delivery: many clients, a few rolls a second
    Fanout(compare::Fanout),
    /// Deliveries a second when the server cannot do more
    Saturation(compare::Saturation),
    /// Memory per idle client
    Memory(compare::Memory),
    /// From the commit to each client, and to the last one
    Latency(compare::Latency),
    /// Cost per delivery as clients, or rolls, become more
    Scale(scale::Scale),
    /// Time to resume, by number of missed rolls
    Replay(replay::Replay),
    /// Clients that never read, beside healthy ones
    Stalled(stalled::Stalled),
    /// As many open streams as a machine can have
    Crowd(crowd::Crowd),
    /// All clients come back at once
    Reconnect(reconnect::Reconnect),
    /// Pages under open streams, and history pages at any depth
    Pages(pages::Pages),
    /// From the start of the process to the first page
    Start(start::Start),
    /// Durable rolls a second, against the disk
    Durable(durable::Durable),
    /// The log of verifiable rolls: upgrade, cost of a roll, proofs, verification
    Log(log::Log),
    /// Create a database with a number of rolls
    Fill(fill::Fill),
    /// Every scenario, into a folder: Markdown, JSON, plots; 30 minutes
    All(All),
}

#[derive(Debug, clap::Args)]
struct All {
    /// Where the results go
    #[arg(long, default_value = "docs/bench")]
    out: PathBuf,
    /// A minute's run of the same, to see that everything works; its figures say little
    #[arg(long)]
    smoke: bool,
    /// Scenarios to leave out, such as `log`, which takes 7 minutes
    #[arg(long, value_delimiter = ',')]
    skip: Vec<String>,
}

/// What `all` runs, as one would type it.
const ALL: &[&str] = &[
    "fanout",
    "fanout --peers door,door-tls,nginx-rollcast,nginx-door,nchan,nchan-tls --rounds 3",
    "saturation --peers rollcast,door,nchan,axum,rocket",
    "saturation --peers rollcast,door,nchan,axum,rocket --rate 1000",
    "memory",
    "memory --peers door,door-tls,nginx-rollcast,nginx-door,nchan,nchan-tls --clients 2000 --rounds 3",
    "latency --peers rollcast,door,nchan,axum,rocket",
    "crowd",
    "scale",
    "replay",
    "stalled",
    "reconnect",
    "pages",
    "start",
    "durable",
    "log",
];

const SMOKE: &[&str] = &[
    "fanout --clients 200 --seconds 1 --rounds 1",
    "saturation --clients 100 --seconds 1 --rounds 1 --peers rollcast",
    "fanout --clients 50 --seconds 1 --rounds 1 --peers door-tls,nginx-rollcast,nginx-door,nchan-tls",
    "memory --clients 200 --rounds 1 --peers rollcast,door,axum",
    "crowd --clients 300 --every-seconds 1 --seconds 3",
    "latency --clients 200 --seconds 2 --rounds 1 --peers rollcast,nchan",
    "scale --clients 50,200 --rates 100 --seconds 1 --peers rollcast",
    "replay --rolls 20000 --missed 1,1000,10000",
    "stalled --clients 100 --stalled 20 --seconds 1 --rounds 1",
    "reconnect --clients 200 --rounds 1",
    "pages --rolls 20000 --clients 100 --requests 50",
    "start --rolls 20000 --rounds 1",
    "durable --seconds 1 --rounds 1",
    "log --rolls 20000 --proven 2000 --seconds 1 --rounds 1 --requests 50",
];

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rollcast-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let places = Places::find()?;
    match &cli.command {
        Command::All(all) => run_all(&places, all),
        Command::Fill(fill) => fill.run(&places),
        command => {
            let mut section = scenario(&places, command)?;
            // There is no folder here to put them into.
            section.plots.clear();
            if cli.json {
                println!("{}", serde_json::to_string_pretty(&section)?);
            } else {
                print!("{}", section.to_markdown());
            }
            Ok(())
        }
    }
}

fn scenario(places: &Places, command: &Command) -> Result<Section> {
    let begin = Instant::now();
    let mut section = match command {
        Command::Fanout(scenario) => scenario.run(places),
        Command::Saturation(scenario) => scenario.run(places),
        Command::Memory(scenario) => scenario.run(places),
        Command::Latency(scenario) => scenario.run(places),
        Command::Scale(scenario) => scenario.run(places),
        Command::Replay(scenario) => scenario.run(places),
        Command::Stalled(scenario) => scenario.run(places),
        Command::Crowd(scenario) => scenario.run(places),
        Command::Reconnect(scenario) => scenario.run(places),
        Command::Pages(scenario) => scenario.run(places),
        Command::Start(scenario) => scenario.run(places),
        Command::Durable(scenario) => scenario.run(places),
        Command::Log(scenario) => scenario.run(places),
        Command::Fill(_) | Command::All(_) => bail!("expected a scenario"),
    }?;
    section.seconds = begin.elapsed().as_secs_f64();
    if section.command.is_empty() {
        let words: Vec<String> = std::env::args().skip(1).collect();
        section.command = format!("rollcast-bench {}", words.join(" "));
    }
    Ok(section)
}

fn run_all(places: &Places, all: &All) -> Result<()> {
    let begin = Instant::now();
    let machine = Machine::look(places);
    let (mut sections, mut failed) = (Vec::new(), Vec::new());
    let lines = if all.smoke { SMOKE } else { ALL };
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_string();
    if let Some(unknown) = all.skip.iter().find(|it| !lines.iter().any(|line| name(line) == **it)) {
        bail!("expected a scenario to skip, such as `log`, got `{unknown}`");
    }
    let is_run = |line: &&str| !all.skip.contains(&name(line));
    let lines: Vec<&str> = lines.iter().copied().filter(is_run).collect();
    for (i, line) in lines.iter().enumerate() {
        eprintln!("[{}/{}] rollcast-bench {line}", i + 1, lines.len());
        let words = ["rollcast-bench"].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).with_context(|| format!("in `{line}`"))?;
        // One that fails keeps nobody from the others' results, but is not forgotten.
        match scenario(places, &cli.command) {
            Ok(mut section) => {
                section.command = format!("rollcast-bench {line}");
                eprintln!("      {:.0} s", section.seconds);
                sections.push(section);
            }
            Err(error) => {
                eprintln!("rollcast-bench {line}: {error:#}");
                failed.push(format!("{line}: {error:#}"));
            }
        }
    }
    if let Some(budgets) = budgets::section(&sections) {
        sections.insert(0, budgets);
    }
    report::write(&all.out, &machine, &sections)?;
    eprintln!(
        "wrote {} after {:.0} s",
        all.out.join("README.md").display(),
        begin.elapsed().as_secs_f64()
    );
    if !failed.is_empty() {
        bail!("{} of {} scenarios failed: {}", failed.len(), lines.len(), failed.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use clap::CommandFactory;

    #[test]
    fn every_line_of_all_is_a_command() {
        Cli::command().debug_assert();
        for line in ALL.iter().chain(SMOKE) {
            let words = ["rollcast-bench"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
