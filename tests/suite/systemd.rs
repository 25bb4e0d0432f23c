//! What the program tells systemd: priorities in the journal, and when it is ready.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Instance, Server, TIMEOUT, http, run, wait_for};

/// What a command writes on standard error, which is a file. `JOURNAL_STREAM` names that file, as
/// systemd does for the journal, unless `edit` changes it.
fn written(command: &mut Command, folder: &Path, edit: impl FnOnce(String) -> String) -> String {
    let path = folder.join("stderr");
    let file = File::create(&path).unwrap();
    let metadata = file.metadata().unwrap();
    let stream = edit(format!("{}:{}", metadata.dev(), metadata.ino()));
    command.env("JOURNAL_STREAM", stream).stdout(Stdio::null()).stderr(file);
    let mut child = command.spawn().unwrap();
    wait_for("the command to end", || child.try_wait().unwrap());
    fs::read_to_string(path).unwrap()
}

/// A server that logs a warning, information and an error, and ends.
fn noisy(instance: &Instance) -> Command {
    let mut command = instance.command();
    // The port is in use, and the limit of open files is too low.
    command.env("RUST_LOG", "debug,rocket=off");
    command
}

#[test]
fn every_line_for_the_journal_starts_with_its_priority() {
    for format in ["text", "json"] {
        let instance = Instance::new("max_streams = 1000000");
        let toml = instance.path().join("Rocket.toml");
        let text = fs::read_to_string(&toml).unwrap().replace("'json'", &format!("'{format}'"));
        fs::write(&toml, text).unwrap();
        let in_use = std::net::TcpListener::bind(("127.0.0.1", instance.port())).unwrap();
        let log = written(&mut noisy(&instance), instance.path(), |stream| stream);
        drop(in_use);
        let line = |text: &str| {
            let line = log.lines().find(|line| line.contains(text));
            line.unwrap_or_else(|| panic!("{format}: expected `{text}` in {log}"))
        };
        assert!(line("open files").starts_with("<4>"), "{format}: {log}");
        assert!(line("cannot listen on").starts_with("<3>rollcast: "), "{format}: {log}");
        assert!(log.lines().any(|line| line.starts_with("<7>")), "{format}: {log}");
        for line in log.lines() {
            let (priority, rest) = line.split_at(3);
            assert!(["<3>", "<4>", "<6>", "<7>"].contains(&priority), "{format}: {log}");
            // The journal removes the priority, and what remains is the line as elsewhere.
            assert!(!rest.starts_with('<'), "{format}: {log}");
            assert!(format == "text" || rest.starts_with(['{', 'r']), "{format}: {log}");
        }
    }
}

#[test]
fn an_error_of_several_lines_has_its_priority_on_each_of_them() {
    let instance = Instance::new("dice = [\"1D6\", \"x\ny\"]");
    let log = written(instance.command().arg("check"), instance.path(), |stream| stream);
    assert!(log.lines().count() > 1, "expected several lines: {log}");
    assert!(log.lines().all(|line| line.starts_with("<3>")), "{log}");
}

#[test]
fn lines_for_another_reader_than_the_journal_have_no_priority() {
    // As below supervisord, which passes on the variable but not the journal.
    for edit in [|_| "1:1".to_string(), |_| String::new(), |own| format!("{own}0")] {
        let instance = Instance::new("wrong = 1");
        let log = written(&mut instance.command(), instance.path(), edit);
        assert!(log.starts_with("rollcast: "), "{log}");
    }
}

/// A socket as that of a service manager.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Manager {
    fn new(folder: &Path) -> Manager {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Manager { socket, path }
    }

    /// Waits for the next message.
    fn next(&self) -> String {
        let mut message = [0; 4096];
        let n_bytes = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..n_bytes].to_vec()).unwrap()
    }

    /// All messages that have arrived.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut message = [0; 4096];
        let messages = std::iter::from_fn(|| self.socket.recv(&mut message).ok());
        messages.map(|n_bytes| format!("{n_bytes} bytes")).collect()
    }
}

#[test]
fn the_server_reports_ready_once_it_answers_and_stopping_when_it_stops() {
    let instance = Instance::new("every = '20ms'");
    let manager = Manager::new(instance.path());
    let mut server = Server::spawn(instance.command().env("NOTIFY_SOCKET", &manager.path));
    assert_eq!(manager.next(), "READY=1\n");
    // The first attempt is answered.
    assert_eq!(http().get(instance.url("/healthz")).call().unwrap().status(), 200);
    assert_eq!(manager.rest(), Vec::<String>::new());
    manager.socket.set_nonblocking(false).unwrap();
    server.signal("TERM");
    assert_eq!(manager.next(), "STOPPING=1\n");
    assert!(server.wait().success(), "{:#?}", server.log());
    assert_eq!(manager.rest(), Vec::<String>::new());
}

#[test]
fn a_server_that_cannot_start_never_reports_ready() {
    let wrong_key = Instance::new("wrong = 1");
    let port_in_use = Instance::new("");
    let _in_use = std::net::TcpListener::bind(("127.0.0.1", port_in_use.port())).unwrap();
    let foreign_database = Instance::new("");
    fs::write(foreign_database.database(), "something else").unwrap();
    for (instance, code) in [(wrong_key, 2), (port_in_use, 1), (foreign_database, 1)] {
        let manager = Manager::new(instance.path());
        let (ended, _, stderr) = run(instance.command().env("NOTIFY_SOCKET", &manager.path));
        assert_eq!(ended, code, "{stderr}");
        assert_eq!(manager.rest(), Vec::<String>::new(), "{stderr}");
    }
}

#[test]
fn a_service_manager_that_does_not_listen_is_logged_and_harms_nothing() {
    let instance = Instance::new("every = '20ms'");
    let nobody = instance.path().join("nobody");
    let mut server = instance.start_with(instance.command().env("NOTIFY_SOCKET", nobody));
    wait_for("two rolls", || (instance.stored().len() > 1).then_some(()));
    server.stop();
    let log = server.log().join("\n");
    assert!(log.contains("cannot report to the service manager"), "{log}");
}
