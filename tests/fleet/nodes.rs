//! A node of a fleet: a rollcast server with its own folder and port, and the secret that all nodes share.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rollcast::seeds::Secret;
use serde_json::Value;

use crate::common::{Instance, Server, TIMEOUT, http, run, wait_for};
use crate::engine::{Engine, STREAM};

/// The time between rolls.
pub const EVERY: Duration = Duration::from_millis(200);

/// What a node's configuration has beside the paths.
#[derive(Clone)]
pub struct Settings {
    pub every: String,
    /// More lines of `[default.rollcast]`.
    pub rollcast: String,
    pub servers: Vec<String>,
    /// More lines of `[default.rollcast.fleet]`.
    pub fleet: String,
}

/// One node; its server is killed when it is dropped.
pub struct Node {
    pub instance: Instance,
    pub settings: Settings,
    pub server: Option<Server>,
    /// The address on which it listens.
    pub address: String,
    /// Makes the command that starts the server.
    launch: Box<dyn Fn(&Instance) -> Command + Send + Sync>,
}

impl Settings {
    /// A node that uses all servers of an engine.
    pub fn of(engine: &Engine) -> Settings {
        Settings {
            every: format!("{EVERY:?}"),
            rollcast: String::new(),
            servers: engine.urls(),
            fleet: String::new(),
        }
    }

    fn lines(&self) -> String {
        let Settings { every, rollcast, servers, fleet } = self;
        format!(
            "every = '{every}'\n{rollcast}\n\
             [default.rollcast.fleet]\nservers = {servers:?}\nstream = '{STREAM}'\n{fleet}"
        )
    }
}

/// A new secret, as the text of its file.
pub fn new_secret() -> String {
    Secret::generate().unwrap().to_file()
}

impl Node {
    /// A node without a history that is not started.
    pub fn new(secret: &str, settings: Settings) -> Node {
        let instance = Instance::new(&settings.lines());
        write_secret(instance.path(), secret);
        let launch = Box::new(Instance::command);
        Node { instance, settings, server: None, address: "127.0.0.1".into(), launch }
    }

    /// The same node, started by another command.
    pub fn launched(self, launch: impl Fn(&Instance) -> Command + Send + Sync + 'static) -> Node {
        Node { launch: Box::new(launch), ..self }
    }

    /// Replaces the settings; they hold from the next start on.
    pub fn configure(&mut self, settings: Settings) {
        self.instance.configure(&settings.lines());
        self.settings = settings;
    }

    /// Starts the server and waits until it listens.
    pub fn start(&mut self) {
        assert!(self.server.is_none(), "the node is running");
        self.server = Some(self.instance.start_with(&mut (self.launch)(&self.instance)));
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Stops the server, which must exit with success.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    pub fn is_running(&self) -> bool {
        self.server.is_some()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.address, self.instance.port())
    }

    /// The status and the body of an answer.
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = http().get(self.url(path)).call();
        let mut response = answer.unwrap_or_else(|error| self.panic_with_log(path, &error));
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn panic_with_log(&self, path: &str, error: &ureq::Error) -> ! {
        panic!("no answer to {path}: {error}, log: {:#?}", self.log());
    }

    /// What `/fleet` says.
    pub fn status(&self) -> Value {
        let request = http().get(self.url("/fleet")).header("Accept", "application/json");
        let answer = request.call();
        let mut response = answer.unwrap_or_else(|error| self.panic_with_log("/fleet", &error));
        let body = response.body_mut().read_to_string().unwrap();
        assert_eq!(response.status(), 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn state(&self) -> String {
        self.status()["state"].as_str().unwrap().to_owned()
    }

    /// The value of a metric without labels; `None` if it is left out.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// The id of the newest stored roll, or 0.
    pub fn head(&self) -> i64 {
        let newest = "select coalesce(max(id), 0) from rolls";
        self.instance.sqlite().query_row(newest, [], |row| row.get(0)).unwrap()
    }

    /// Waits until roll `id` is stored.
    pub fn wait_for_roll(&self, id: i64) {
        wait_for(&format!("roll {id}"), || (self.head() >= id).then_some(()));
    }

    /// Waits until `n` more rolls are stored.
    pub fn wait_for_more(&self, n: i64) {
        self.wait_for_roll(self.head() + n);
    }

    /// Waits for a state and returns the reason.
    pub fn wait_for_state(&self, state: &str) -> String {
        let start = Instant::now();
        loop {
            let status = self.status();
            if status["state"] == state {
                return status["reason"].as_str().unwrap_or("").to_owned();
            }
            if start.elapsed() > TIMEOUT {
                panic!("expected the state {state}: {status}, {:#?}", self.log());
            }
            // Each request costs the node some milliseconds.
            std::thread::park_timeout(Duration::from_millis(30));
        }
    }

    pub fn wait_until_it_follows(&self) {
        self.wait_for_state("following");
    }

    /// Waits until the node has refused the fleet, and returns the reason. `/readyz` and the log give
    /// the same one.
    pub fn wait_for_refusal(&self) -> String {
        let reason = self.wait_for_state("refused");
        let (status, ready) = self.get("/readyz");
        assert_eq!(status, 503, "{ready}");
        assert!(ready.contains("does not follow the fleet"), "{ready}");
        assert!(ready.contains(&reason), "expected `{reason}` in {ready}");
        wait_for("the log to say so", || {
            (self.n_logged("this node does not follow the fleet") > 0).then_some(())
        });
        reason
    }

    /// The lines that the server logged, without those about requests.
    pub fn log(&self) -> Vec<String> {
        let mut lines = self.server.as_ref().map(Server::log).unwrap_or_default();
        lines.retain(|line| !line.contains("rollcast::web::http::access"));
        lines
    }

    /// How many lines of the log contain a text.
    pub fn n_logged(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// Runs a command of rollcast in the node's folder.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run((self.launch)(&self.instance).args(arguments))
    }

    /// Runs `rollcast fleet create` until the engine does it. An election may be under way.
    pub fn create(&self, options: &[&str]) {
        let mut arguments = vec!["fleet", "create"];
        arguments.extend(options);
        let start = Instant::now();
        loop {
            let (code, stdout, stderr) = self.run(&arguments);
            match code {
                0 => return,
                1 if start.elapsed() < TIMEOUT => {}
                code => panic!("{arguments:?} ended with {code}: {stdout}{stderr}"),
            }
        }
    }

    /// Begins this node's history with a copy of another's, as an operator does.
    pub fn take_backup_of(&self, other: &Node) {
        let copy = self.instance.database();
        for name in ["rolls.db", "rolls.db-wal", "rolls.db-shm", "rolls.secret.checkpoint"] {
            let _ = fs::remove_file(self.instance.path().join(name));
        }
        let (code, _, stderr) = other.run(&["backup", copy.to_str().unwrap()]);
        assert_eq!(code, 0, "{stderr}");
    }
}

/// Writes a secret's file into a node's folder.
pub fn write_secret(folder: &Path, secret: &str) {
    let path = folder.join("rolls.secret");
    fs::write(&path, secret).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}
