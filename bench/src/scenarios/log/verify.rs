//! `rollcast verify` of a history whose rolls have seeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::Connection;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::procs::{self, Usage};
use crate::report::count;
use crate::scenarios::log::Log;
use crate::scenarios::log::figures::{Budget, Figures};
use crate::scenarios::log::requests::{Requests, wait_until_signed};
use crate::scenarios::{every, fill};
use crate::server::{Peer, Places, Server, Setup};
use crate::web::Pages;

/// Rolls a second of the history to verify: the highest rate that can be configured.
pub const RATE: u32 = 1_000;
/// By how many bytes the rolls have made the log's tables and its index larger. Each has one page
/// before the first roll. The tables' primary keys have no pages of their own.
const LOG_BYTES: &str = "select sum(pgsize) - count(distinct name) * max(pgsize) from dbstat
                         where name in ('tile_hashes', 'seed_runs', 'chain_starts', 'new_secrets')";

impl Log {
    pub fn verify(
        &self,
        places: &Places,
        figures: &mut Figures,
        requests: &mut Requests,
    ) -> Result<()> {
        let database = proven(places, self.proven)?;
        let (server, head) = fill::start_still(places, &database)?;
        wait_until_signed(&server, head)?;
        let url = format!("http://{}/", server.target.address);
        let history = places.work.join("verified.history");
        let _ = fs::remove_file(&history);
        let key = key(&server)?;
        let command = |target: &Path| {
            let mut command = Command::new(places.binary("rollcast")?);
            command.arg("verify").arg(target).args(["--key", &key]);
            Ok::<_, anyhow::Error>(command)
        };
        verified(command(url.as_ref())?.arg("--save").arg(&history), head)?;
        let (mut of_server, mut of_file) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            of_server.push(verified(&mut command(url.as_ref())?, head)?);
            of_file.push(verified(&mut command(&history)?, head)?);
        }
        fs::remove_file(&history)?;
        for (of, seconds) in [("a server", of_server), ("a file", of_file)] {
            let name = format!("verify of {} rolls of {of}, CPU s per million", count(head));
            let seconds = seconds.iter().map(|seconds| seconds * 1e6 / head as f64).collect();
            figures.add(name, Budget::AtMost(4.0), seconds, vec![]);
        }
        requests.measure(&server, head, &format!("{} with seeds", count(head)))?;
        server.stop()?;

        let n_bytes: i64 =
            Connection::open(&database)?.query_row(LOG_BYTES, [], |row| row.get(0))?;
        figures.add(
            "file growth per million rolls with seeds, MB".to_string(),
            Budget::AtMost(0.4),
            vec![n_bytes as f64 / head as f64],
            vec![],
        );
        Ok(())
    }
}

/// A database with at least `n_rolls`, all of which have seeds. It is kept between runs.
fn proven(places: &Places, n_rolls: u64) -> Result<PathBuf> {
    let path = places.work.join(format!("proven-{n_rolls}.db"));
    // An incomplete one is continued.
    if !path.exists() || fill::head(&path)? < n_rolls {
        let mut setup = Setup::new(Peer::Rollcast, every(RATE));
        setup.database = Some(path.clone());
        let server = Server::start(places, &setup)?;
        let mut newest = (Instant::now(), fill::head(&path)?);
        while newest.1 < n_rolls {
            sleep(Duration::from_millis(200));
            let head = fill::head(&path)?;
            if head > newest.1 {
                newest = (Instant::now(), head);
            } else if newest.0.elapsed() > Duration::from_secs(20) {
                bail!("no roll came after {head}: {}", server.last_words());
            }
        }
        server.stop()?;
        eprintln!("  made {}: {} rolls with seeds", path.display(), count(newest.1));
    }
    Ok(path)
}

/// The key that a server names.
fn key(server: &Server) -> Result<String> {
    let info = Pages::connect(server.target.address)?.text("/api/proof")?;
    let info: serde_json::Value = serde_json::from_str(&info)?;
    Ok(info["key"].as_str().context("the server names no key")?.to_string())
}

/// Runs a command that verifies `n_rolls` with seeds. Returns its CPU seconds.
fn verified(command: &mut Command, n_rolls: u64) -> Result<f64> {
    let (seconds, said) = run(command)?;
    let proven = format!("the dice of {n_rolls} follow from their seeds");
    ensure!(said.contains(&proven), "expected that {proven}, got: {said}");
    Ok(seconds)
}

/// Runs a program to its end. Returns its CPU seconds and its output, which must be short.
fn run(command: &mut Command) -> Result<(f64, String)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    // The kernel keeps the times of a process that has ended until its status is read.
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(&child)), ended)?;
    let used = procs::usage(&[child.id()])?.since(&Usage::default());
    let output = child.wait_with_output()?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        said(&output.stderr)
    );
    Ok(((used.user_us + used.system_us) / 1e6, said(&output.stdout)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_cpu_time_of_a_program_is_known_when_it_has_ended() {
        let begin = Instant::now();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo $i";
        let (seconds, said) = run(&mut shell(busy)).unwrap();
        assert_eq!(said, "200000");
        assert!(seconds > 0.02 && seconds <= begin.elapsed().as_secs_f64(), "{seconds} s");
        let (idle, _) = run(&mut shell("sleep 0.1")).unwrap();
        assert!(idle < 0.05, "{idle} s of an idle program");
    }

    #[test]
    fn a_history_that_is_not_verified_is_an_error() {
        let said = "verified: rolls 1 to 9: the dice of 9 follow from their seeds";
        assert!(verified(&mut shell(&format!("echo '{said}'")), 9).is_ok());
        assert!(verified(&mut shell(&format!("echo '{said}'")), 8).is_err(), "too few");
        let error = verified(&mut shell(&format!("echo '{said}'; echo no >&2; exit 1")), 9);
        assert!(error.unwrap_err().to_string().ends_with("exit status: 1: no"));
    }
}
