//! Runs a client, a command, once per case.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, interval, timeout};

use crate::case::{Case, Level, Needs};
use crate::judge::Outcome;
use crate::log::Line;
use crate::server::{BeginError, Lab};
use crate::session::Session;
use crate::verdict::Verdict;

/// How long a client may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a run is checked for its end.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// How long the rest of a client's output may take.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest line of a client.
const MAX_LINE: u64 = 64 << 20;
/// How many of the last lines of standard error are kept.
const MAX_STDERR: usize = 20;

/// Which cases are run, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The command of the client, with its arguments.
    pub command: Vec<String>,
    /// Which cases, in the order in which they are reported.
    pub cases: Vec<&'static Case>,
    /// How many clients run at once.
    pub n_jobs: usize,
    /// How often a case that fails is tried, at most. It fails if every try does.
    pub n_tries: usize,
    /// The seed of the cases that have one.
    pub seed: u64,
}

/// The verdict of a case, and what the client printed.
#[derive(Clone, Debug)]
pub struct Judged {
    pub case: &'static Case,
    pub verdict: Verdict,
    /// It has never connected.
    pub is_unconnected: bool,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
}

/// Why a case cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot run `{command}`")]
    Spawn { command: String, source: io::Error },
    #[error("cannot begin a run")]
    Begin(#[from] BeginError),
}

/// The cases that apply to a client.
pub fn select(
    cases: &'static [Case],
    patterns: &str,
    needs: Needs,
    level: Level,
    with_slow: bool,
) -> Vec<&'static Case> {
    let applies = |case: &&Case| {
        let is_named = patterns.split(',').any(|pattern| pattern.trim() == case.id);
        crate::cases::matches(patterns, case.id)
            && case.needs <= needs
            && case.level >= level
            && (with_slow || is_named || !case.slow)
    };
    cases.iter().filter(applies).collect()
}

/// Runs all cases of a plan. Calls `report` with each verdict, in the order of the plan.
///
/// # Errors
///
/// The command cannot be run at all.
pub async fn run(
    lab: Arc<Lab>,
    plan: &Plan,
    mut report: impl FnMut(&Judged),
) -> Result<Vec<Judged>, RunError> {
    let jobs = Arc::new(Semaphore::new(plan.n_jobs.max(1)));
    let shared = Arc::new(plan.clone());
    let mut tasks = Vec::new();
    for (number, &case) in plan.cases.iter().enumerate() {
        let (jobs, lab, plan) = (jobs.clone(), lab.clone(), shared.clone());
        tasks.push(tokio::spawn(async move {
            let _job = jobs.acquire_owned().await;
            run_case(&lab, &plan, case, number).await
        }));
    }
    let mut all = Vec::new();
    for (i, task) in tasks.iter_mut().enumerate() {
        match task.await {
            Ok(Ok(judged)) => {
                report(&judged);
                all.push(judged);
            }
            Ok(Err(error)) => {
                tasks[i + 1..].iter().for_each(|task| task.abort());
                return Err(error);
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    Ok(all)
}

/// Runs a case until it does not fail, or often enough.
async fn run_case(
    lab: &Lab,
    plan: &Plan,
    case: &'static Case,
    number: usize,
) -> Result<Judged, RunError> {
    let mut n_tries = 1;
    loop {
        let judged = try_case(lab, plan, case, &format!("run-{number}-{n_tries}")).await?;
        let is_bad = matches!(judged.verdict.verdict, Outcome::Fails | Outcome::Differs);
        if !is_bad || n_tries >= plan.n_tries {
            return Ok(judged);
        }
        n_tries += 1;
    }
}

async fn try_case(
    lab: &Lab,
    plan: &Plan,
    case: &'static Case,
    name: &str,
) -> Result<Judged, RunError> {
    let run = lab.begin(case, name, plan.seed)?;
    let session = run.session.clone();
    let mut client = Client::spawn(&plan.command, case, &run.url, session.clone())?;
    let started = Instant::now();
    let mut check = interval(CHECK_EVERY);
    loop {
        tokio::select! {
            status = client.child.wait() => {
                client.drain().await;
                session.exits(describe(status));
                break;
            }
            _ = check.tick() => {
                let is_late = !session.is_connected() && started.elapsed() > CONNECT_TIMEOUT;
                if is_late || session.is_over() {
                    break;
                }
            }
        }
    }
    let memory = client.memory();
    let is_unconnected = !session.is_connected();
    if is_unconnected && !session.is_over() {
        session.exits("still runs".into());
    }
    let mut verdict = session.verdict();
    verdict.memory = memory;
    client.kill().await;
    let stderr = client.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Judged { case, verdict, is_unconnected, stderr })
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) if status.success() => "ended by itself".into(),
        Ok(status) => format!("ended: {status}"),
        Err(error) => format!("cannot be waited for: {error}"),
    }
}

/// A running client, in a process group of its own.
struct Client {
    child: Child,
    group: Option<Pid>,
    /// Closed once all of its output has been read.
    output: mpsc::Receiver<()>,
    stderr: Arc<Mutex<Vec<String>>>,
}

impl Client {
    fn spawn(
        command: &[String],
        case: &Case,
        url: &str,
        session: Arc<Session>,
    ) -> Result<Client, RunError> {
        let [program, arguments @ ..] = command else { unreachable!("a command has a program") };
        let mut child = Command::new(program)
            .args(arguments)
            .env("LAB_URL", url)
            .env("LAB_EVENTS", serde_json::json!(case.event_names()).to_string())
            .env("LAB_CASE", case.id)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| RunError::Spawn { command: program.clone(), source })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (sender, output) = mpsc::channel(1);
        let (stdout, from_stderr) = (child.stdout.take(), child.stderr.take());
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let last_lines = stderr.clone();
        let other = sender.clone();
        tokio::spawn(async move {
            each_line(stdout, |line| match Line::parse(&line) {
                Some(Line::Heard(heard)) => session.hears(heard),
                Some(Line::Error { error }) => session.hears_error(&error),
                None => {}
            })
            .await;
            drop(sender);
        });
        tokio::spawn(async move {
            each_line(from_stderr, |line| {
                let mut lines = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == MAX_STDERR {
                    lines.remove(0);
                }
                lines.push(line.chars().take(500).collect());
            })
            .await;
            drop(other);
        });
        Ok(Client { child, group, output, stderr })
    }

    /// Waits until the rest of the output has been read.
    async fn drain(&mut self) {
        let _ = timeout(OUTPUT_TIMEOUT, self.output.recv()).await;
    }

    /// The most memory that it has used, in bytes. Only on Linux.
    fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib << 10)
    }

    /// Ends it, and everything that it has started.
    async fn kill(&mut self) {
        self.kill_group();
        let _ = timeout(OUTPUT_TIMEOUT, self.child.wait()).await;
        self.drain().await;
    }

    fn kill_group(&mut self) {
        // Kill it only once: the system may give its number to another group.
        if let Some(group) = self.group.take() {
            // It may have ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Kills the processes also when a signal or an error stops the run.
impl Drop for Client {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Calls `take` with each line that can be read. Lines above [`MAX_LINE`] are split.
async fn each_line(from: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(String)) {
    let Some(from) = from else { return };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => take(String::from_utf8_lossy(&line).trim_end().to_owned()),
        }
    }
}
