//! What all suites share: the real server as a process, clients, and servers made by hand.

#![allow(dead_code, reason = "each suite uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

pub mod door;
pub mod events;
pub mod falsified;
pub mod hand_server;
pub mod lab_rolls;
pub mod listener;
pub mod log_reader;
pub mod log_server;
pub mod replies;
pub mod sockets;
pub mod tail;

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

/// Far longer than anything takes, also on a machine that is five times slower. A test that waits
/// this long has failed.
pub const TIMEOUT: Duration = Duration::from_secs(60);

#[allow(unused_imports, reason = "each suite uses its own part")]
pub use self::door::Door;
#[allow(unused_imports, reason = "each suite uses its own part")]
pub(crate) use self::door::at_each_door;

/// The binary under test.
pub const ROLLCAST: &str = env!("CARGO_BIN_EXE_rollcast");

/// A temporary folder with its own `Rocket.toml`, in which servers run one after the other.
pub struct Instance {
    folder: TempDir,
    port: u16,
    /// The port of the fan-out door, if the tests use it.
    door_port: Option<u16>,
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    address: String,
}

impl Instance {
    /// An instance whose `[default.rollcast]` table has these lines beside the paths.
    pub fn new(rollcast: &str) -> Instance {
        Door::Rocket.instance(rollcast)
    }

    /// Replaces `Rocket.toml`.
    pub fn configure(&self, rollcast: &str) {
        let door = self.door_port.map(|port| format!("fanout.port = {port}")).unwrap_or_default();
        let toml = format!(
            "[default]\nport = {}\n[default.rollcast]\ndatabase = 'rolls.db'\n\
             log_format = 'json'\n{door}\n{rollcast}\n",
            self.port
        );
        let path = self.path().join("Rocket.toml");
        std::fs::write(&path, toml).unwrap();
        let_others_read(&path);
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("rolls.db")
    }

    /// A URL on the server, the same at every start: `http://127.0.0.1:…`. Streams are at the
    /// instance's door.
    pub fn url(&self, path: &str) -> String {
        let port = if path.starts_with("/stream") { self.stream_port() } else { self.port };
        format!("http://127.0.0.1:{port}{path}")
    }

    /// The port of the door at which streams are opened.
    pub fn stream_port(&self) -> u16 {
        self.door_port.unwrap_or(self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection to the door at which streams are opened. Its reads have a timeout.
    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.stream_port())).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket
    }

    /// The program as a command in this instance, without configuration from the environment.
    pub fn command(&self) -> Command {
        let mut command = with_default_signals(ROLLCAST);
        for (name, _) in std::env::vars() {
            if name.starts_with("ROCKET_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.current_dir(self.path());
        command
    }

    /// Starts a server and waits until it listens.
    pub fn start(&self) -> Server {
        self.start_with(&mut self.command())
    }

    /// Starts a server and waits for a roll that is stored on time. The first rolls are late and come
    /// together, because the server computes their seeds first. `every` must be short.
    pub fn start_rolling(&self) -> Server {
        let server = self.start();
        let is_on_time = "select count(*) from rolls where id > 1
                          and julianday('now') - julianday(rolled_at) < 0.5 / 86400";
        wait_for("a roll on time", || {
            let n: i64 = self.sqlite().query_row(is_on_time, [], |row| row.get(0)).unwrap();
            (n > 0).then_some(())
        });
        server
    }

    /// The same with another command, for example with environment variables. It must log JSON.
    pub fn start_with(&self, command: &mut Command) -> Server {
        let mut server = Server::spawn(command);
        server.wait_until_it_listens();
        server
    }

    /// A read-only connection to the database.
    pub fn sqlite(&self) -> Connection {
        Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    /// All stored rolls: id, timestamp and dice.
    pub fn stored(&self) -> Vec<(i64, String, String)> {
        let connection = self.sqlite();
        let mut statement =
            connection.prepare("select id, rolled_at, dice from rolls order by id").unwrap();
        let rolls = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rolls.unwrap().map(Result::unwrap).collect()
    }

    /// Stores rolls `oldest..=n_rolls`, one per second, as if all before were pruned. Starts and
    /// stops a server to create the database. The next start takes them into the log.
    pub fn fill(&self, n_rolls: i64, oldest: i64) {
        let mut server = self.start();
        server.stop();
        let connection = Connection::open(self.database()).unwrap();
        // The triggers check every roll, which would take most of the time. All of these are valid.
        let triggers = |column| {
            let select = format!(
                "select ifnull(group_concat({column}, ';') || ';', '')
                 from sqlite_schema where type = 'trigger' and tbl_name = 'rolls'"
            );
            connection.query_row(&select, [], |row| row.get::<_, String>(0)).unwrap()
        };
        let (drop_triggers, create_triggers) =
            (triggers("'drop trigger ' || name"), triggers("sql"));
        connection
            .execute_batch(&format!(
                "begin;
                 {drop_triggers}
                 delete from rolls; delete from sqlite_sequence; update projections set last_id = 0;
                 delete from die_statistics; delete from result_statistics;
                 delete from block_cells; delete from p_value_bins; delete from evidence_peaks;
                 delete from tile_hashes; delete from seed_runs;
                 -- The parts of timestamps, and the dice, which repeat every 60 rolls.
                 create temp table hours as
                 with recursive n(n) as
                   (values ({oldest} / 3600) union all select n + 1 from n where n < {n_rolls} / 3600)
                 select n, strftime('%Y-%m-%dT%H:', 1795392000 + 3600 * n, 'unixepoch') as text from n;
                 create temp table seconds as
                 with recursive n(n) as (values (0) union all select n + 1 from n where n < 3599)
                 select n, strftime('%M:%S', n, 'unixepoch') || '.123Z' as text,
                        json_object('1D6', 1 + n % 6, '1D20', 1 + n % 20) as dice from n;
                 insert into rolls (id, rolled_at, dice)
                 select 3600 * hours.n + seconds.n, hours.text || seconds.text, seconds.dice
                 from hours cross join seconds
                 where 3600 * hours.n + seconds.n between {oldest} and {n_rolls};
                 {create_triggers}
                 commit;"
            ))
            .unwrap();
        // The next start begins a log, as that of a history without one.
        self.remove_secret();
    }

    /// Removes the secret and the newest checkpoint, as a history without a log has neither.
    pub fn remove_secret(&self) {
        std::fs::remove_file(self.path().join("rolls.secret")).unwrap();
        // Before its first roll the server has no checkpoint.
        let _ = std::fs::remove_file(self.path().join("rolls.secret.checkpoint"));
    }

    /// Makes a new secret, with which the server starts although signed rolls were changed.
    pub fn rekey(&self) {
        let (code, _, stderr) = run(self.command().arg("rekey"));
        assert_eq!(code, 0, "{stderr}");
    }
}

impl Server {
    /// Starts a server without waiting for it.
    pub fn spawn(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = log.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                written.lock().unwrap().push(line);
            }
        });
        Server { child, log, reader: Some(reader), address: String::new() }
    }

    fn wait_until_it_listens(&mut self) {
        let announced = wait_for("the server to listen", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended with {status} instead of listening: {:#?}", self.log());
            }
            self.log().iter().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                Some(line.get("address")?.as_str()?.to_string())
            })
        });
        self.address = format!("http://{announced}");
    }

    /// A URL on this server, by the address that it logged.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Kills the server with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Stops the server with SIGTERM, and asserts that it exits with success.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "stopped with {status}: {:#?}", self.log());
    }

    /// Whether the server has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the server's end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the server to end", || self.child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Lets all users read a file or folder, also under a strict umask. Some tests of root run a program
/// as another user.
pub fn let_others_read(path: &Path) {
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Copies a folder of the source tree, such as `static`.
pub fn copy_folder(name: &str, to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let status = Command::new("cp").arg("-R").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp ended with {status}");
}

/// Runs a command to its end: its exit code, standard output and standard error.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Sends a signal by name, such as `TERM`, to a process.
pub fn signal(name: &str, process: u32) {
    // Every shell has a built-in `kill`; not every machine has the program.
    let kill = format!("kill -s {name} {process}");
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(status.success(), "`{kill}` ended with {status}");
}

/// A command that ignores none of the signals of a stop, also if this process does because somebody
/// started the tests with `nohup` or in the background.
fn with_default_signals(program: &str) -> Command {
    // SIGHUP, SIGINT and SIGTERM.
    const STOP_SIGNALS: u64 = 1 | 1 << 1 | 1 << 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    if ignored.unwrap_or(0) & STOP_SIGNALS == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM", program]);
    command
}

/// Calls `look` every 5 ms until it returns something. Panics after [`TIMEOUT`].
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_at_most(TIMEOUT, look).unwrap_or_else(|| panic!("waited {TIMEOUT:?} for {what}"))
}

/// Calls `look` every 5 ms until it returns something. Returns `None` after `timeout`.
pub fn wait_at_most<T>(timeout: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if start.elapsed() >= timeout {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A port on which nothing listens, each time another one. It is below the range that the kernel
/// uses for outgoing connections, so it stays free while a server is stopped.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other test processes start at another port.
    let first = 12_000 + (std::process::id() * 61 % 17_000) as u16;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An HTTP client that returns every status, follows no redirect, and has timeouts.
pub fn http() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .build();
    config.into()
}
