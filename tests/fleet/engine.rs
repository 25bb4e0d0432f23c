//! The engine: one or several nats-servers with JetStream, which decide the fleet's log.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{free_port, http, wait_for};
use crate::nats::{Entry, Login, Nats};
use crate::process::Process;

/// The stream of every fleet here.
pub const STREAM: &str = "ROLLS";

/// The nats-server that `tests/setup.sh` installed, or the one in NATS_SERVER.
pub fn nats_server() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        Some(path) => path.into(),
        None => {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleet");
            let program = folder.join("venv/bin/nats-server");
            assert!(program.is_file(), "expected {}: run tests/setup.sh", program.display());
            program
        }
    })
}

/// Where a server runs and what it listens on.
pub struct Place {
    pub address: String,
    /// The command and the arguments that run a program there; empty on this host.
    pub enter: Vec<String>,
}

/// What the servers have beside the defaults.
#[derive(Default)]
pub struct Options {
    /// Lines of the configuration, such as users and TLS.
    pub configuration: String,
    /// The user of the harness, if the servers know users.
    pub login: Login<'static>,
    /// The harness cannot connect, because it speaks no TLS.
    pub is_tls: bool,
}

struct Server {
    process: Option<Process>,
    place: Place,
    client_port: u16,
    monitor_port: u16,
}

/// Servers with their folders. They are killed when dropped.
pub struct Engine {
    folder: TempDir,
    servers: Vec<Server>,
    options: Options,
}

/// A copy of the folders of all servers.
pub struct Snapshot(TempDir);

impl Engine {
    /// Starts `n` servers on loopback and waits until they can decide.
    pub fn start(n: usize) -> Engine {
        Engine::start_with(n, Options::default())
    }

    pub fn start_with(n: usize, options: Options) -> Engine {
        let here = || Place { address: "127.0.0.1".into(), enter: Vec::new() };
        Engine::start_at((0..n).map(|_| here()).collect(), options)
    }

    /// Starts a server at each place.
    pub fn start_at(places: Vec<Place>, options: Options) -> Engine {
        let folder = tempfile::tempdir().unwrap();
        let routes: Vec<(String, u16)> =
            places.iter().map(|place| (place.address.clone(), free_port())).collect();
        let mut servers = Vec::new();
        for (n, place) in places.into_iter().enumerate() {
            let server = Server {
                process: None,
                place,
                client_port: free_port(),
                monitor_port: free_port(),
            };
            let path = folder.path().join(format!("{n}.conf"));
            fs::write(path, configuration(n, &server, &routes, folder.path(), &options)).unwrap();
            servers.push(server);
        }
        let mut engine = Engine { folder, servers, options };
        for n in 0..engine.len() {
            engine.restart(n);
        }
        engine.wait_until_ready();
        engine
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// The servers as a node's configuration names them.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.options.is_tls { "tls" } else { "nats" };
        let url = |server: &Server| format!("{scheme}://{}", server.client());
        self.servers.iter().map(url).collect()
    }

    pub fn address(&self, n: usize) -> SocketAddr {
        self.servers[n].client().parse().unwrap()
    }

    /// Kills a server with SIGKILL.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.servers[n].process.take() {
            process.kill();
        }
    }

    pub fn kill_all(&mut self) {
        (0..self.len()).for_each(|n| self.kill(n));
    }

    /// Stops all servers with SIGTERM.
    pub fn stop_all(&mut self) {
        for server in &mut self.servers {
            if let Some(mut process) = server.process.take() {
                process.stop();
            }
        }
    }

    /// Starts a server that is not running.
    pub fn restart(&mut self, n: usize) {
        assert!(self.servers[n].process.is_none(), "server {n} is running");
        let program = nats_server();
        let mut command = match self.servers[n].place.enter.split_first() {
            None => Command::new(program),
            Some((enter, arguments)) => {
                let mut command = Command::new(enter);
                command.args(arguments).arg(program);
                command
            }
        };
        let path = |extension| self.folder.path().join(format!("{n}.{extension}"));
        command.arg("--config").arg(path("conf")).arg("--log").arg(path("log"));
        self.servers[n].process = Some(Process::start(&mut command));
    }

    pub fn restart_all(&mut self) {
        (0..self.len()).for_each(|n| self.restart(n));
        self.wait_until_ready();
    }

    /// Stops a server's execution until [`resume`](Engine::resume).
    pub fn pause(&self, n: usize) {
        self.servers[n].process.as_ref().expect("a running server").signal("STOP");
    }

    pub fn resume(&self, n: usize) {
        self.servers[n].process.as_ref().expect("a running server").signal("CONT");
    }

    /// Waits until all running servers follow a leader of the cluster.
    pub fn wait_until_ready(&mut self) {
        let n_servers = self.len();
        for (n, server) in self.servers.iter_mut().enumerate() {
            let Some(process) = &mut server.process else { continue };
            let url = format!("http://{}:{}/jsz", server.place.address, server.monitor_port);
            let log = self.folder.path().join(format!("{n}.log"));
            wait_for("the servers to have a leader", || {
                let log = || fs::read_to_string(&log).unwrap_or_default();
                assert!(!process.has_ended(), "a nats-server ended: {}", log());
                let answer = http().get(&url).call().ok()?.body_mut().read_to_string().ok()?;
                let state: Value = serde_json::from_str(&answer).ok()?;
                let has_leader = state["meta_cluster"]["leader"].as_str().is_some();
                let is_alone = n_servers == 1 && state["config"].is_object();
                (is_alone || has_leader).then_some(())
            });
        }
    }

    /// A connection to any server that answers.
    pub fn nats(&self) -> Nats {
        wait_for("a server that accepts clients", || (0..self.len()).find_map(|n| self.nats_of(n)))
    }

    fn nats_of(&self, n: usize) -> Option<Nats> {
        self.servers[n].process.as_ref()?;
        Nats::connect(self.address(n), self.options.login).ok()
    }

    /// Asks JetStream until it answers. An election may be under way.
    pub fn api(&self, what: &str, question: &Value) -> Value {
        wait_for(&format!("an answer to {what}"), || {
            self.running().find_map(|n| self.nats_of(n)?.api(what, question).ok())
        })
    }

    /// What JetStream says about the stream, with its `error` if there is none.
    pub fn stream_info(&self) -> Value {
        self.api(&format!("STREAM.INFO.{STREAM}"), &Value::Null)
    }

    /// The server that leads the stream.
    pub fn leader(&self) -> usize {
        wait_for("a leader of the stream", || {
            let info = self.stream_info();
            let leader = info["cluster"]["leader"].as_str()?.strip_prefix('s')?;
            leader.parse::<usize>().ok().filter(|n| self.servers[*n].process.is_some())
        })
    }

    /// Waits until all replicas of the stream are current.
    pub fn wait_for_replicas(&self) {
        wait_for("all replicas to be current", || {
            let info = self.stream_info();
            let replicas = info["cluster"]["replicas"].as_array()?;
            let is_whole = replicas.len() + 1 == self.len();
            (is_whole
                && replicas
                    .iter()
                    .all(|replica| replica["current"] == true && replica["offline"] != true))
            .then_some(())
        });
    }

    /// All entries of the stream.
    pub fn entries(&self) -> Vec<Entry> {
        let info = self.stream_info();
        let place = |which| info["state"][which].as_u64().unwrap();
        let mut nats = self.nats();
        let mut entries = Vec::new();
        for sequence in place("first_seq")..=place("last_seq") {
            entries.extend(nats.entry(STREAM, sequence).unwrap());
        }
        entries
    }

    /// Copies the folders of stopped servers.
    pub fn snapshot(&self) -> Snapshot {
        let copy = tempfile::tempdir().unwrap();
        copy_stores(self.folder.path(), copy.path());
        Snapshot(copy)
    }

    /// Puts the folders of stopped servers back to a copy.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.wipe();
        copy_stores(snapshot.0.path(), self.folder.path());
    }

    /// Removes the folders of stopped servers.
    pub fn wipe(&mut self) {
        assert_eq!(self.running().count(), 0, "the servers must be stopped");
        let _ = fs::remove_dir_all(self.folder.path().join("stores"));
    }

    /// Removes the folder of one stopped server.
    pub fn wipe_one(&mut self, n: usize) {
        assert!(self.servers[n].process.is_none(), "server {n} is running");
        fs::remove_dir_all(self.folder.path().join("stores").join(n.to_string())).unwrap();
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter(|n| self.servers[*n].process.is_some())
    }
}

impl Server {
    fn client(&self) -> String {
        format!("{}:{}", self.place.address, self.client_port)
    }
}

/// The configuration of server `n`. Each write is synced, as the guide demands.
fn configuration(
    n: usize,
    server: &Server,
    routes: &[(String, u16)],
    folder: &Path,
    options: &Options,
) -> String {
    let Server { place, client_port, monitor_port, .. } = server;
    let address = &place.address;
    let store = folder.join("stores").join(n.to_string());
    let mut text = format!(
        "server_name: s{n}\nlisten: \"{address}:{client_port}\"\n\
         http: \"{address}:{monitor_port}\"\n\
         jetstream {{ store_dir: {store:?}, sync_interval: always, max_file_store: 256MB }}\n\
         {}\n",
        options.configuration
    );
    if routes.len() > 1 {
        let urls: Vec<String> =
            routes.iter().map(|(address, port)| format!("\"nats://{address}:{port}\"")).collect();
        let (urls, port) = (urls.join(", "), routes[n].1);
        writeln!(text, "cluster {{ name: test, listen: \"{address}:{port}\", routes: [{urls}] }}")
            .unwrap();
    }
    text
}

fn copy_stores(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-R").arg(from.join("stores")).arg(to).status().unwrap();
    assert!(status.success(), "cp ended with {status}");
}
