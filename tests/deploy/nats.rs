//! Real nats-servers with the files in `deploy/nats`, the certificates and the passwords that the
//! guide makes. `tests/setup.sh` installs nats-server; NATS_SERVER=PATH names another.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::common::{free_port, http, wait_for};
use crate::files::{Files, project};
use crate::program::{Daemon, run, run_well};

const MAIN: &str = "nats-server.conf";
const MACHINE: &str = "machine.conf";

pub fn nats_server() -> Command {
    let pinned = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleet/venv/bin/nats-server");
    let program = std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty());
    Command::new(program.map_or(pinned, PathBuf::from))
}

/// The exit code of `nats-server -t` and its output.
fn check(file: &Path) -> (i32, String) {
    run(nats_server().arg("-t").arg("-c").arg(file))
}

/// Runs the commands under a heading of the guide, up to the first line that needs another machine.
/// Addresses are those of loopback, and the home folder is `home`.
fn run_the_guide(heading: &str, home: &Path) {
    let guide = fs::read_to_string(project().join("deploy/nats/README.md")).unwrap();
    let (_, chapter) = guide.split_once(&format!("\n### {heading}\n")).expect("the heading");
    let (_, block) = chapter.split_once("\n```sh\n").unwrap();
    let (block, _) = block.split_once("\n```\n").unwrap();
    let examples = "examples=/usr/local/share/examples/rollcast\n";
    assert!(block.contains(examples), "{block}");
    let block = block.replace(examples, &format!("examples='{}/deploy'\n", project().display()));
    let block = block.replace("10.0.0.", "127.0.0.");
    run_well(Command::new("bash").args(["-euc", &block]).env("HOME", home));
}

/// The files of three machines. They differ from the delivered ones by paths, ports, and addresses of
/// loopback. n1 has the address 127.0.0.1, and so on.
struct Machines {
    folder: TempDir,
    port: u16,
    monitoring_port: u16,
}

impl Machines {
    fn prepare() -> Machines {
        let folder = tempfile::tempdir().unwrap();
        run_the_guide("2. Certificates and passwords, on n1", folder.path());
        let machines = Machines { folder, port: free_port(), monitoring_port: free_port() };
        let made = fs::read_to_string(machines.home().join(MAIN)).unwrap();
        let cluster_port = free_port();
        for n in 1..=3 {
            let (etc, name) = (machines.etc(n), format!("n{n}"));
            let path = |name: &str| etc.join(name).display().to_string();
            let mut files = Files::read("nats");
            // The guide's commands have replaced the passwords.
            let delivered = fs::read_to_string(project().join("deploy/nats").join(MAIN)).unwrap();
            files.replace(MAIN, &delivered, &made);
            for (old, new) in [
                ("/etc/nats/server.pem", &*path("server.pem")),
                ("/etc/nats/server.key", &*path("server.key")),
                ("/etc/nats/ca.pem", &*path("ca.pem")),
                ("/var/lib/nats", &*path("data")),
                ("127.0.0.1:8222", &*format!("127.0.0.{n}:{}", machines.monitoring_port)),
                ("port: 4222", &*format!("port: {}", machines.port)),
                ("port: 6222", &*format!("port: {cluster_port}")),
                (":6222\"", &*format!(":{cluster_port}\"")),
                ("10.0.0.", "127.0.0."),
                // Clients begin with TLS, because the client of these tests is openssl.
                ("tls {\n    cert", "tls {\n    handshake_first: true\n    cert"),
            ] {
                files.replace(MAIN, old, new);
            }
            files.replace(MACHINE, "server_name: n1 ", &format!("server_name: {name} "));
            files.replace(MACHINE, "10.0.0.1", &format!("127.0.0.{n}"));
            files.write(&etc);
            machines.install_certificate(n, &machines.home());
        }
        machines
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("fleet")
    }

    fn etc(&self, n: usize) -> PathBuf {
        self.folder.path().join(format!("n{n}"))
    }

    /// Gives a machine its certificate, from a folder in which `certificates.sh` ran.
    fn install_certificate(&self, n: usize, from: &Path) {
        for (name, to) in [
            ("ca.pem", "ca.pem"),
            (&*format!("n{n}.pem"), "server.pem"),
            (&*format!("n{n}.key"), "server.key"),
        ] {
            fs::copy(from.join(name), self.etc(n).join(to)).unwrap();
        }
    }

    fn start(&self, n: usize) -> Daemon {
        let file = self.etc(n).join(MAIN);
        let (code, output) = check(&file);
        assert_eq!(code, 0, "{output}");
        Daemon::spawn(nats_server().arg("-c").arg(file).arg("--log").arg(self.etc(n).join("log")))
    }

    /// What a server says about itself, or an empty text.
    fn monitor(&self, n: usize, path: &str) -> String {
        let answer =
            http().get(format!("http://127.0.0.{n}:{}{path}", self.monitoring_port)).call();
        answer.ok().and_then(|mut it| it.body_mut().read_to_string().ok()).unwrap_or_default()
    }

    fn wait_until_healthy(&self, n: usize) {
        wait_for("a healthy server", || {
            (self.monitor(n, "/healthz").contains("\"ok\"")).then_some(())
        });
    }

    fn client(&self, n: usize, user: &str) -> Client {
        let password = fs::read_to_string(self.home().join(format!("{user}.password"))).unwrap();
        let mut client = Client::connect(n, self.port, &self.home().join("ca.pem"));
        assert_eq!(client.log_in(user, password.trim_end()), "PONG", "{user}");
        client
    }
}

/// A client that speaks NATS through `openssl s_client`. Dropping it ends it.
/// <https://docs.nats.io/reference/reference-protocols/nats-protocol>
struct Client {
    openssl: Child,
    answers: BufReader<ChildStdout>,
    n_requests: usize,
}

impl Client {
    fn connect(n: usize, port: u16, authority: &Path) -> Client {
        let address = format!("127.0.0.{n}");
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", "-verify_ip", &address]);
        command.args(["-connect", &format!("{address}:{port}")]).arg("-CAfile").arg(authority);
        command.args(["-no-CApath", "-no-CAstore"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut openssl = command.spawn().unwrap();
        let answers = BufReader::new(openssl.stdout.take().unwrap());
        Client { openssl, answers, n_requests: 0 }
    }

    /// The next line, or an empty text at the end of the connection.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().into()
    }

    fn send(&mut self, text: &str) {
        let stdin = self.openssl.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Sends a password. Returns the line that ends the login: `PONG`, an error, or an empty text.
    fn log_in(&mut self, user: &str, password: &str) -> String {
        let options = serde_json::json!({
            "user": user, "pass": password, "verbose": false, "headers": true, "no_responders": true,
        });
        self.send(&format!("CONNECT {options}\r\nPING\r\n"));
        loop {
            let line = self.line();
            if !line.starts_with("INFO ") && line != "PING" {
                return line;
            }
        }
    }

    /// Publishes a message. Returns the answer, or the error of the server.
    fn request(&mut self, subject: &str, header: &str, payload: &str) -> String {
        self.n_requests += 1;
        let inbox = format!("_INBOX.test.{}", self.n_requests);
        let headers = format!("NATS/1.0\r\n{header}\r\n\r\n");
        let sizes = format!("{} {}", headers.len(), headers.len() + payload.len());
        self.send(&format!(
            "SUB {inbox} {}\r\nHPUB {subject} {inbox} {sizes}\r\n{headers}{payload}\r\n",
            self.n_requests
        ));
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["MSG" | "HMSG", subject, .., size] if subject == inbox => {
                    // With the end of the line.
                    let mut answer = vec![0; size.parse::<usize>().unwrap() + 2];
                    self.answers.read_exact(&mut answer).unwrap();
                    return String::from_utf8(answer).unwrap();
                }
                ["-ERR", ..] | [""] => return line,
                ["PING"] => self.send("PONG\r\n"),
                _ => {}
            }
        }
    }

    fn propose(&mut self, id: u64) -> String {
        let header = format!("Nats-Expected-Last-Sequence: {}", id - 1);
        self.request("rollcast.ROLLS", &header, &format!("{{\"id\":{id}}}"))
    }

    /// Proposes until a server takes the message: for a moment after a stream is created, the other
    /// servers do not know its leader and answer 503, "no responders". Nothing has been stored then.
    /// <https://docs.nats.io/nats-concepts/core-nats/reqreply>
    fn propose_to_new_stream(&mut self, id: u64) -> String {
        wait_for("the stream to have a leader", || {
            let answer = self.propose(id);
            (!answer.starts_with("NATS/1.0 503")).then_some(answer)
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.openssl.kill();
        let _ = self.openssl.wait();
    }
}

/// What `rollcast fleet create` asks for.
const STREAM: &str = r#"{"name":"ROLLS","subjects":["rollcast.ROLLS"],"retention":"limits",
"storage":"file","num_replicas":3,"deny_delete":true,"deny_purge":true,"max_msgs":1000000,
"discard":"old","max_msg_size":4096,"first_seq":42,"metadata":{"rollcast.origin":"41-1763861860123"}}"#;

#[test]
fn three_servers_form_a_cluster_and_each_user_may_do_what_it_must_and_no_more() {
    let machines = Machines::prepare();
    let _servers = [1, 2, 3].map(|n| machines.start(n));
    (1..=3).for_each(|n| machines.wait_until_healthy(n));
    for n in 1..=3 {
        let jetstream = machines.monitor(n, "/jsz");
        assert!(jetstream.contains("\"sync_always\": true"), "{jetstream}");
    }

    let [mut node, mut operator, mut follower] =
        [(1, "rollcast"), (2, "operator"), (3, "follower")]
            .map(|(n, user)| machines.client(n, user));
    let refused = |answer: String| {
        assert!(answer.contains("Permissions Violation for Publish"), "{answer}");
    };
    refused(node.request("$JS.API.STREAM.CREATE.ROLLS", "", STREAM));
    let created = operator.request("$JS.API.STREAM.CREATE.ROLLS", "", STREAM);
    assert!(created.contains("\"did_create\":true"), "{created}");
    refused(operator.propose(42));

    let taken = node.propose_to_new_stream(42);
    assert!(taken.contains("\"stream\":\"ROLLS\"") && taken.contains("\"seq\":42"), "{taken}");
    let lost = node.propose(42);
    assert!(lost.contains("wrong last sequence"), "{lost}");
    refused(follower.propose(43));
    for client in [&mut node, &mut operator, &mut follower] {
        let information = client.request("$JS.API.STREAM.INFO.ROLLS", "", "");
        assert!(information.contains("\"last_seq\":42"), "{information}");
        let entry = client.request("$JS.API.STREAM.MSG.GET.ROLLS", "", "{\"seq\":42}");
        assert!(entry.contains("\"seq\":42"), "{entry}");
    }
    for api in ["STREAM.DELETE", "STREAM.UPDATE", "STREAM.PURGE", "STREAM.MSG.DELETE"] {
        refused(node.request(&format!("$JS.API.{api}.ROLLS"), "", "{\"seq\":42}"));
    }
    let deleted = operator.request("$JS.API.STREAM.DELETE.ROLLS", "", "");
    assert!(deleted.contains("\"success\":true"), "{deleted}");

    let authority = machines.home().join("ca.pem");
    let mut stranger = Client::connect(1, machines.port, &authority);
    assert!(stranger.log_in("rollcast", "wrong").contains("Authorization Violation"));
    // Control: a client that does not know the authority refuses the server.
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    let mut distrustful = Client::connect(1, machines.port, &other.path().join("ca.pem"));
    assert_eq!(distrustful.line(), "");
}

/// Makes certificates of an authority that the cluster does not know.
fn certificates(folder: &Path) {
    let script = project().join("deploy/nats/certificates.sh");
    let machines = ["n1=127.0.0.1", "n2=127.0.0.2", "n3=127.0.0.3"];
    run_well(Command::new("sh").arg(script).args(machines).current_dir(folder));
}

#[test]
fn a_server_of_another_authority_cannot_join_the_cluster() {
    let machines = Machines::prepare();
    let [_first, _second, third] = [1, 2, 3].map(|n| machines.start(n));
    (1..=3).for_each(|n| machines.wait_until_healthy(n));
    let joined = || machines.monitor(1, "/routez").contains("\"remote_name\": \"n3\"");
    assert!(joined());
    drop(third);
    wait_for("it to leave", || (!joined()).then_some(()));
    // Two of three are a majority.
    (1..=2).for_each(|n| machines.wait_until_healthy(n));

    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    machines.install_certificate(3, other.path());
    let stranger = machines.start(3);
    // Each of the others has refused it, or was refused by it.
    for n in [1, 2] {
        wait_for("a refusal", || {
            let log = fs::read_to_string(machines.etc(3).join("log")).unwrap_or_default();
            let is_refusal = |line: &&str| line.contains("TLS route handshake error");
            let place = format!("127.0.0.{n}:");
            log.lines().filter(is_refusal).any(|line| line.contains(&place)).then_some(())
        });
    }
    assert!(!joined());
    drop(stranger);

    // Control: with its own certificate it joins.
    machines.install_certificate(3, &machines.home());
    let _third = machines.start(3);
    wait_for("it to join", || joined().then_some(()));
    machines.wait_until_healthy(3);
}

#[test]
fn nats_server_accepts_the_configuration_and_finds_mistakes_in_it() {
    let machines = Machines::prepare();
    let file = machines.etc(1).join(MAIN);
    assert_eq!(check(&file).0, 0, "{}", check(&file).1);
    let right = fs::read_to_string(&file).unwrap();
    for (old, new) in [
        ("sync_interval:", "sync_intervall:"),
        ("/server.pem", "/missing.pem"),
        ("include \"machine.conf\"", ""),
    ] {
        let wrong = right.replacen(old, new, 1);
        assert_ne!(wrong, right);
        fs::write(&file, wrong).unwrap();
        let (code, output) = check(&file);
        assert_ne!(code, 0, "`{new}`: {output}");
    }
}

#[test]
fn the_guide_replaces_all_three_passwords() {
    let machines = Machines::prepare();
    let delivered = fs::read_to_string(project().join("deploy/nats").join(MAIN)).unwrap();
    let made = fs::read_to_string(machines.home().join(MAIN)).unwrap();
    let hashes = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("password: "));
        lines.map(String::from).collect()
    };
    let (old, new) = (hashes(&delivered), hashes(&made));
    assert_eq!((old.len(), new.len()), (3, 3));
    for hash in &new {
        assert!(hash.starts_with("\"$2a$11$") && hash.len() == 62, "{hash}");
        assert!(!old.contains(hash), "{hash}");
    }
    // Nothing else has changed.
    let without = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.trim().starts_with("password: "));
        lines.map(String::from).collect()
    };
    assert_eq!(without(&delivered), without(&made));
}

#[test]
fn nats_server_accepts_the_configuration_of_the_containers() {
    let file = project().join("deploy/container/nats.conf");
    let check = |name: Option<&str>| {
        let mut command = nats_server();
        command.env_remove("NAME").envs(name.map(|name| ("NAME", name)));
        run(command.arg("-t").arg("-c").arg(&file))
    };
    assert_eq!(check(Some("nats1")).0, 0, "{}", check(Some("nats1")).1);
    // Control: without the variable that the compose file sets.
    assert_ne!(check(None).0, 0);
}
