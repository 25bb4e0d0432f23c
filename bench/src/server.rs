//! Starts and stops the measured servers: rollcast and its peers.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::connection::{Trust, trust};
use crate::fleet::{self, Target, now_us};
use crate::marks::Field;

/// Worker threads, or worker processes, of every server.
pub const N_WORKERS: usize = 2;
/// The timeout for a server to respond, and to stop.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The timeout for a server to respond that first takes a large history into its log.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(300);
/// The delay from which a tick counts as missed, as in tokio's `Interval::poll_tick`.
const LATE: Duration = Duration::from_millis(5);
/// The folders of nginx modules on Debian and other systems.
const MODULES: [&str; 3] = [
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/usr/lib64/nginx/modules/ngx_nchan_module.so",
    "/usr/local/libexec/nginx/ngx_nchan_module.so",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Peer {
    /// The product, through Rocket
    Rollcast,
    /// The product, through its fan-out door
    Door,
    /// The same door with TLS
    DoorTls,
    /// The product through nginx and Rocket
    NginxRollcast,
    /// The product through nginx and its fan-out door
    NginxDoor,
    /// nchan, a module of nginx, in C
    Nchan,
    /// The same with TLS
    NchanTls,
    /// A bare axum `Sse` over a broadcast channel
    Axum,
    /// A bare Rocket `EventStream`, as it comes
    Rocket,
    /// Flask on gevent, as in the article
    Flask,
}

impl Peer {
    pub const ALL: [Peer; 10] = [
        Peer::Rollcast,
        Peer::Door,
        Peer::DoorTls,
        Peer::NginxRollcast,
        Peer::NginxDoor,
        Peer::Nchan,
        Peer::NchanTls,
        Peer::Axum,
        Peer::Rocket,
        Peer::Flask,
    ];
    /// Those without TLS and without a proxy in front.
    pub const BARE: [Peer; 6] =
        [Peer::Rollcast, Peer::Door, Peer::Nchan, Peer::Axum, Peer::Rocket, Peer::Flask];

    /// Whether this is rollcast, whose faults end a run.
    pub fn is_product(self) -> bool {
        matches!(self, Peer::Rollcast | Peer::NginxRollcast) || self.has_door()
    }

    /// Whether the streams come from the fan-out door.
    fn has_door(self) -> bool {
        matches!(self, Peer::Door | Peer::DoorTls | Peer::NginxDoor)
    }

    /// Whether a proxy is in front.
    fn has_front(self) -> bool {
        matches!(self, Peer::NginxRollcast | Peer::NginxDoor)
    }

    fn has_tls(self) -> bool {
        matches!(self, Peer::DoorTls | Peer::NchanTls)
    }

    fn is_nchan(self) -> bool {
        matches!(self, Peer::Nchan | Peer::NchanTls)
    }

    pub fn name(self) -> &'static str {
        match self {
            Peer::Rollcast => "rollcast",
            Peer::Door => "door",
            Peer::DoorTls => "door-tls",
            Peer::NginxRollcast => "nginx-rollcast",
            Peer::NginxDoor => "nginx-door",
            Peer::Nchan => "nchan",
            Peer::NchanTls => "nchan-tls",
            Peer::Axum => "axum",
            Peer::Rocket => "rocket",
            Peer::Flask => "flask",
        }
    }
}

/// The folders that the benchmarks use.
#[derive(Clone, Debug)]
pub struct Places {
    /// The project's folder.
    pub project: PathBuf,
    /// The folder of the binaries.
    pub binaries: PathBuf,
    /// Databases, logs and files that are kept between runs, on a real disk.
    pub work: PathBuf,
}

impl Places {
    pub fn find() -> Result<Places> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let binaries = program.parent().context("this program is in no folder")?.to_path_buf();
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize();
        let project = project.context("the project's folder is gone since this was built")?;
        let work = binaries.parent().unwrap_or(&binaries).join("bench");
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        Ok(Places { project, binaries, work })
    }

    pub fn binary(&self, name: &str) -> Result<PathBuf> {
        let path = self.binaries.join(name);
        if !path.exists() {
            bail!("there is no {}: run `make bench-build` first", path.display());
        }
        Ok(path)
    }

    pub fn python(&self) -> PathBuf {
        self.work.join("venv/bin/python")
    }

    /// Why a peer cannot run here.
    pub fn missing(&self, peer: Peer) -> Option<String> {
        match peer {
            Peer::NginxRollcast | Peer::NginxDoor if !works("nginx", &["-v"]) => {
                Some("nginx is not installed (see bench/setup.sh)".to_string())
            }
            peer if peer.is_product() => {
                self.binary("rollcast").err().map(|error| error.to_string())
            }
            Peer::Axum | Peer::Rocket => {
                self.binary(&format!("peer-{}", peer.name())).err().map(|error| error.to_string())
            }
            Peer::Nchan | Peer::NchanTls => match (nchan_module(), works("nginx", &["-v"])) {
                (Some(_), true) => None,
                (_, false) => Some("nginx is not installed (see bench/setup.sh)".to_string()),
                (None, true) => Some("nginx has no nchan module (see bench/setup.sh)".to_string()),
            },
            Peer::Flask => {
                let python = self.python();
                let works = works(&python.to_string_lossy(), &["-c", "import flask, gevent"]);
                (!works).then(|| "Flask and gevent are not installed (see bench/setup.sh)".into())
            }
            _ => None,
        }
    }
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

pub fn nchan_module() -> Option<&'static str> {
    MODULES.into_iter().find(|path| Path::new(path).exists())
}

/// The configuration of a server.
#[derive(Clone, Debug)]
pub struct Setup {
    pub peer: Peer,
    pub every: Duration,
    /// The program of rollcast; `None` is the one of this build.
    pub program: Option<PathBuf>,
    /// rollcast's database; `None` creates a new one.
    pub database: Option<PathBuf>,
    /// The timeout for the server to respond.
    pub start_timeout: Duration,
    /// Whether to record the times of rollcast's commits, at the cost of a log line for each.
    pub commits: bool,
}

impl Setup {
    pub fn new(peer: Peer, every: Duration) -> Setup {
        Setup { peer, every, program: None, database: None, start_timeout: TIMEOUT, commits: false }
    }
}

/// A running server. Dropping it stops it.
pub struct Server {
    pub peer: Peer,
    pub target: Target,
    child: Child,
    /// nginx in front of it.
    front: Option<Child>,
    publisher: Option<Publisher>,
    commits: Option<JoinHandle<HashMap<u64, u64>>>,
    log: PathBuf,
    /// The time when the process started.
    pub started: Instant,
    /// The folder of the configuration, the log and the database.
    folder: TempDir,
}

impl Server {
    /// Starts a server and waits until it responds.
    pub fn start(places: &Places, setup: &Setup) -> Result<Server> {
        // The maximum, because servers inherit the limit.
        fleet::allow_files(0)?;
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(&places.work)?;
        let port = free_port()?;
        let log = folder.path().join("log");
        let behind = if setup.peer.has_front() { free_port()? } else { port };
        let publishing = free_port()?;
        let tls = setup.peer.has_tls().then(|| certificate(folder.path())).transpose()?;
        let mut command = match setup.peer.is_nchan() {
            true => nginx(places, "nchan", folder.path(), port, publishing)?,
            false => command(places, setup, folder.path(), behind)?,
        };
        let log_file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(log_file.try_clone()?);
        command.stderr(if setup.commits { Stdio::piped() } else { Stdio::from(log_file) });
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let commits = child
            .stderr
            .take()
            .map(|stderr| thread::spawn(move || read_commits(BufReader::new(stderr))));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let field = if setup.peer.is_nchan() { Field::Data } else { Field::Id };
        let target = Target { address, path: "/stream/", field, tls };
        let mut server = Server {
            peer: setup.peer,
            target,
            child,
            front: None,
            publisher: None,
            commits,
            log,
            started,
            folder,
        };
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        server.wait_until_it_listens(local(behind), setup.start_timeout)?;
        if setup.peer.has_front() {
            let folder = server.folder.path();
            server.front = Some(nginx(places, "proxy", folder, port, behind)?.spawn()?);
            server.wait_until_it_listens(address, TIMEOUT)?;
        }
        if setup.peer.is_nchan() {
            server.publisher = Some(Publisher::start(local(publishing), setup.every)?);
        }
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process, and that of the proxy in front.
    pub fn pids(&self) -> Vec<u32> {
        [Some(&self.child), self.front.as_ref()].into_iter().flatten().map(Child::id).collect()
    }

    /// An error with the end of the server's log.
    pub fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow!("{error:#}; the server's log ends:\n{}", self.last_words())
    }

    /// The end of the server's log as text.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Stops the server. Returns the commit time of each roll in microseconds since 1970. If rollcast
    /// does not stop cleanly, that is an error.
    pub fn stop(self) -> Result<HashMap<u64, u64>> {
        self.stop_within(TIMEOUT)
    }

    fn stop_within(mut self, timeout: Duration) -> Result<HashMap<u64, u64>> {
        self.publisher = None;
        if let Some(front) = &mut self.front {
            end(front, timeout)?;
        }
        let status = end(&mut self.child, timeout)?;
        let commits = match self.commits.take().map(JoinHandle::join) {
            None => HashMap::new(),
            // Without them, the latency would be missing in the results and nobody would notice.
            Some(Ok(commits)) if commits.is_empty() => {
                bail!("rollcast logged no commit: expected lines such as `stored roll 42`")
            }
            Some(Ok(commits)) => commits,
            Some(Err(_panic)) => bail!("the log's reader broke down"),
        };
        if self.peer.is_product() {
            match status {
                Some(status) if status.success() => {}
                Some(status) => bail!(
                    "rollcast is at fault: it ended with {status}; its log ends:\n{}",
                    self.last_words()
                ),
                None => bail!(
                    "rollcast is at fault: it did not end within {timeout:?} and was killed; its \
                     log ends:\n{}",
                    self.last_words()
                ),
            }
        }
        Ok(commits)
    }

    fn wait_until_it_listens(&mut self, address: SocketAddr, timeout: Duration) -> Result<()> {
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}): {}", self.peer.name(), self.last_words());
            }
            if self.started.elapsed() > timeout {
                bail!("{} does not listen: {}", self.peer.name(), self.last_words());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.publisher = None;
        // Ignored, because an earlier error is more useful than these.
        if let Some(front) = &mut self.front {
            let _ = end(front, TIMEOUT);
        }
        let _ = end(&mut self.child, TIMEOUT);
    }
}

/// Sends SIGTERM to a process, and kills it after a timeout. Returns its exit status if it ended by
/// itself.
fn end(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let begin = Instant::now();
    kill_process(Pid::from_child(child), Signal::TERM)?;
    while begin.elapsed() < timeout {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// A free port.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Writes a self-signed certificate for `localhost` and its key to `folder`. Returns a client
/// configuration that trusts the certificate.
fn certificate(folder: &Path) -> Result<Trust> {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_string()])?;
    fs::write(folder.join("cert.pem"), signed.cert.pem())?;
    fs::write(folder.join("key.pem"), signed.signing_key.serialize_pem())?;
    trust(&signed.cert)
}

/// nginx with a configuration of `bench/peers`, which listens on `port`. It publishes, or finds the
/// server, on the port `other`.
fn nginx(places: &Places, name: &str, folder: &Path, port: u16, other: u16) -> Result<Command> {
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let template = places.project.join("bench/peers").join(name).join("nginx.conf");
    let template = fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?;
    let tls = "ssl_certificate cert.pem; ssl_certificate_key key.pem;";
    let has_tls = folder.join("cert.pem").exists();
    let configuration = template
        .replace("@USER@", user)
        .replace("@MODULE@", nchan_module().unwrap_or_default())
        .replace("@WORKERS@", &N_WORKERS.to_string())
        .replace("@PORT@", &port.to_string())
        .replace("@OTHER@", &other.to_string())
        .replace("@SSL@", if has_tls { "ssl" } else { "" })
        .replace("@CERTIFICATE@", if has_tls { tls } else { "" });
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg("error.log");
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// The command of a server other than nchan.
fn command(places: &Places, setup: &Setup, folder: &Path, port: u16) -> Result<Command> {
    let every_us = setup.every.as_micros().to_string();
    let (port, workers) = (port.to_string(), N_WORKERS.to_string());
    let mut command;
    match setup.peer {
        peer if peer.is_product() => {
            let program = setup.program.clone().map_or_else(|| places.binary("rollcast"), Ok);
            command = Command::new(program?);
            let database = setup.database.clone().unwrap_or_else(|| folder.join("rolls.db"));
            let tls = format!(
                ",tls={{certs={:?},key={:?}}}",
                folder.join("cert.pem"),
                folder.join("key.pem")
            );
            // Rocket takes any free port while the streams are at the door.
            let (rocket_port, door) = match setup.peer {
                Peer::DoorTls => {
                    ("0".into(), format!(",fanout={{port={port},threads={workers}{tls}}}"))
                }
                peer if peer.has_door() => {
                    ("0".into(), format!(",fanout={{port={port},threads={workers}}}"))
                }
                _ => (port, String::new()),
            };
            let ours = format!(
                "{{database={database:?},every=\"{}ms\",max_streams=1000000,\
                 max_streams_per_address=1000000{door}}}",
                setup.every.as_millis()
            );
            command.env("ROCKET_CONFIG", places.project.join("Rocket.toml"));
            command.env("ROCKET_PROFILE", "release").env("ROCKET_PORT", rocket_port);
            command.env("ROCKET_ADDRESS", "127.0.0.1").env("ROCKET_WORKERS", workers);
            command.env("ROCKET_ROLLCAST", ours);
            if setup.commits {
                let filter = "info,rocket=off,rocket_dyn_templates=warn,rollcast::pump=debug";
                command.env("RUST_LOG", filter);
            }
        }
        Peer::Axum | Peer::Rocket => {
            command = Command::new(places.binary(&format!("peer-{}", setup.peer.name()))?);
            command.args([&port, &workers, &every_us]);
        }
        Peer::Flask => {
            command = Command::new(places.python());
            command.arg(places.project.join("bench/peers/flask/app.py")).args([&port, &every_us]);
        }
        peer => bail!("{} is started otherwise", peer.name()),
    }
    command.current_dir(folder);
    Ok(command)
}

/// Reads the times of rollcast's commits from its log, to the end. Each line is written after the
/// commit and before the publication.
fn read_commits(log: impl BufRead) -> HashMap<u64, u64> {
    let mut commits = HashMap::new();
    for line in log.lines() {
        let Ok(line) = line else { break };
        if let Some((n, at_us)) = commit(&line) {
            commits.insert(n, at_us);
        }
    }
    commits
}

fn commit(line: &str) -> Option<(u64, u64)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if !line.get("message")?.as_str()?.starts_with("stored roll") {
        return None;
    }
    let at: jiff::Timestamp = line.get("timestamp")?.as_str()?.parse().ok()?;
    Some((line.get("roll.id")?.as_u64()?, u64::try_from(at.as_microsecond()).ok()?))
}

/// Publishes to nchan at a fixed rate, over one connection.
struct Publisher {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    fn start(address: SocketAddr, every: Duration) -> Result<Publisher> {
        let mut connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut due = Instant::now();
            for n in 1_u64.. {
                due = next_due(due, every, Instant::now());
                if let Err(error) = publish(&mut connection, address, n) {
                    eprintln!("publishing to nchan ends: {error:#}");
                    return;
                }
                match stopped.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
            }
        });
        Ok(Publisher { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The thread has printed the error itself.
            let _ = thread.join();
        }
    }
}

/// Follows tokio's `Delay`, which the other servers use: after a late tick the next one comes a whole
/// period later, and missed ticks are not caught up.
fn next_due(due: Instant, every: Duration, now: Instant) -> Instant {
    if now > due + LATE { now + every } else { due + every }
}

fn publish(connection: &mut TcpStream, address: SocketAddr, n: u64) -> Result<()> {
    let dice = format!(r#"{{"1D6":{},"1D20":{}}}"#, n % 6 + 1, n % 20 + 1);
    let message = format!("{n}-{} {dice}", now_us());
    let length = message.len();
    let request = format!(
        "POST /publish/ HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n{message}"
    );
    connection.write_all(request.as_bytes())?;
    let mut decoder = crate::decode::Decoder::default();
    let mut buffer = [0; 2048];
    while !decoder.is_done() {
        let n = connection.read(&mut buffer)?;
        if n == 0 {
            bail!("nginx closed the connection");
        }
        decoder.feed(&buffer[..n], |_| Ok(()))?;
    }
    match decoder.status() {
        Some(200..=299) => Ok(()),
        status => bail!("expected nginx to take a message, got status {status:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_from_rollcasts_log() {
        let line = r#"{"timestamp":"2026-11-25T00:40:02.123456Z","level":"DEBUG","message":"stored roll 42","roll.id":42,"target":"rollcast::pump"}"#;
        assert_eq!(commit(line), Some((42, 1_795_567_202_123_456)));
        assert_eq!(commit("listening"), None);
        assert_eq!(commit(&line.replace("stored", "lost")), None);
    }

    /// A server that is a shell with this script. It has started.
    fn pretend(peer: Peer, script: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Server {
            peer,
            target: Target {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
                path: "/stream/",
                field: Field::Id,
                tls: None,
            },
            child,
            publisher: None,
            commits: None,
            log: folder.path().join("log"),
            started: Instant::now(),
            front: None,
            folder,
        }
    }

    #[test]
    fn a_rollcast_that_does_not_end_well_is_at_fault_and_a_peer_is_not() {
        let script = |on_term: &str| {
            format!("trap '{on_term}' TERM; echo ready; while :; do sleep 0.01; done")
        };
        let (well, badly, never) = (script("exit 0"), script("exit 3"), script(""));
        let (timeout, short) = (Duration::from_secs(60), Duration::from_millis(50));
        pretend(Peer::Rollcast, &well).stop_within(timeout).unwrap();
        let error = pretend(Peer::Rollcast, &badly).stop_within(timeout).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        let error = pretend(Peer::Rollcast, &never).stop_within(short).unwrap_err();
        assert!(error.to_string().contains("was killed"), "{error}");
        for script in [badly, never] {
            pretend(Peer::Axum, &script).stop_within(short).unwrap();
        }
    }

    #[test]
    fn a_tick_that_was_missed_is_left_out() {
        let (begin, every) = (Instant::now(), Duration::from_millis(100));
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(next_due(begin, every, at(0)), at(100), "in time");
        assert_eq!(next_due(begin, every, at(4)), at(100), "a little late: the clock is kept");
        assert_eq!(next_due(begin, every, at(350)), at(450), "too late: none is made up for");
    }
}
