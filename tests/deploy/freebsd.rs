//! FreeBSD's rc.d script, run as root against stand-ins for rc.subr and daemon(8), which make common
//! mistakes fail. It has not run on a real FreeBSD.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{Instance, ROLLCAST, TIMEOUT, http, let_others_read, signal, wait_for};
use crate::files::{Files, project};
use crate::program::{run, run_well};

const SCRIPT: &str = "rollcast";
/// The user that runs the server.
const USER: &str = "nobody";

/// A FreeBSD machine as the script sees it. Dropping it ends all its processes.
struct Machine {
    folder: TempDir,
    instance: Instance,
}

impl Machine {
    /// A machine with the delivered script after `edit`.
    fn new(edit: impl FnOnce(&mut Files)) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::new("every = '1h'");
        let machine = Machine { folder, instance };
        let stand_in = |name: &str| project().join("tests/deploy/freebsd").join(name);
        let mut files = Files::read("freebsd");
        for (old, new) in [
            ("/etc/rc.subr", stand_in("rc.subr")),
            ("/usr/sbin/daemon", machine.path("daemon")),
            ("/usr/local/bin/rollcast", machine.path("program")),
            ("/var/db/rollcast", machine.path("db")),
            ("/var/log/rollcast/", machine.path("log/")),
            ("/var/run/", machine.path("run/")),
        ] {
            files.replace(SCRIPT, old, &new.display().to_string());
        }
        edit(&mut files);
        files.write_one(SCRIPT, machine.path(SCRIPT));
        // Another user runs these programs, so that user must be able to read them.
        for (from, name) in [(Path::new(ROLLCAST), "program"), (&stand_in("daemon.py"), "daemon")] {
            run_well(Command::new("cp").arg(from).arg(machine.path(name)));
            run_well(Command::new("chmod").arg("0755").arg(machine.path(name)));
        }
        let_others_read(machine.folder.path());
        fs::create_dir(machine.path("run")).unwrap();
        let toml = fs::read_to_string(machine.instance.path().join("Rocket.toml")).unwrap();
        let toml =
            toml.replace("'rolls.db'", &format!("'{}'", machine.path("db/rolls.db").display()));
        fs::write(machine.path("Rocket.toml"), toml).unwrap();
        let_others_read(&machine.path("Rocket.toml"));
        machine.configure("YES");
        machine
    }

    fn configure(&self, enable: &str) {
        let config = self.path("Rocket.toml");
        let lines = format!(
            "rollcast_enable={enable}\nrollcast_user={USER}\n\
             rollcast_env='ROCKET_PROFILE=release ROCKET_CONFIG={}'\n",
            config.display()
        );
        fs::write(self.path("rc.conf"), lines).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `service rollcast COMMAND`. Returns its exit code and its output.
    fn service(&self, command: &str) -> (i32, String) {
        let mut script = Command::new("sh");
        script.arg(self.path(SCRIPT)).arg(command).env("RC_CONF", self.path("rc.conf"));
        // `su -m` uses root's shell on FreeBSD and $SHELL on Linux. Without SHELL it uses the user's
        // shell, which does not allow a login.
        run(script.current_dir("/").env("SHELL", "/bin/sh"))
    }

    fn serves(&self) -> bool {
        http().get(self.instance.url("/")).call().is_ok_and(|answer| answer.status() == 200)
    }

    /// The ids of the processes that run a program of this machine.
    fn processes(&self, name: &str) -> Vec<u32> {
        let path = self.path(name).display().to_string();
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.path().into());
        all.filter_map(|process: PathBuf| {
            let line = fs::read(process.join("cmdline")).ok()?;
            let id = process.file_name()?.to_str()?.parse().ok()?;
            let first = line.split(|byte| *byte == 0).take(2);
            first.into_iter().any(|word| word == path.as_bytes()).then_some(id)
        })
        .collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log/rollcast.log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for name in ["daemon", "program"] {
            for process in self.processes(name) {
                let _ = run(Command::new("sh").args(["-c", &format!("kill -s KILL {process}")]));
            }
        }
    }
}

/// Starts the server, kills it, rotates its log and stops it.
///
/// # Errors
/// Says what failed first.
fn exercise(machine: &Machine) -> Result<(), String> {
    let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let (code, output) = machine.service("start");
    expect(code == 0, &format!("start failed: {output}"))?;
    wait_for("the server", || machine.serves().then_some(()));

    let program = || machine.processes("program");
    let owner = fs::metadata(format!("/proc/{}", program()[0])).unwrap();
    let user = run_well(Command::new("id").args(["-u", USER]));
    let owner = std::os::unix::fs::MetadataExt::uid(&owner).to_string();
    expect(owner == user.trim(), &format!("the server runs as user {owner}"))?;
    expect(machine.service("status").0 == 0, "status does not find the server")?;
    expect(machine.service("start").0 != 0, "a second start succeeded")?;

    let killed = program();
    signal("KILL", killed[0]);
    wait_for("another process", || (!program().is_empty() && program() != killed).then_some(()));
    wait_for("the server to be back", || machine.serves().then_some(()));

    // The same steps as newsyslog(8).
    let before = program();
    fs::rename(machine.path("log/rollcast.log"), machine.path("log/rollcast.log.0")).unwrap();
    let pid = fs::read_to_string(machine.path("run/rollcast.pid")).unwrap();
    signal("HUP", pid.parse().unwrap());
    let start = Instant::now();
    while !machine.log().contains("GET /") {
        machine.serves();
        expect(start.elapsed() < Duration::from_secs(5), "nothing in the log after a rotation")?;
        std::thread::park_timeout(Duration::from_millis(50));
    }
    expect(program() == before, "a rotation restarted the server")?;

    let (code, output) = machine.service("stop");
    expect(code == 0, &format!("stop failed: {output}"))?;
    // daemon(8) would restart it after a second.
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(3) {
        expect(!machine.serves(), "the server runs after a stop")?;
        std::thread::park_timeout(Duration::from_millis(50));
    }
    expect(machine.service("status").0 != 0, "status finds the server after a stop")?;
    expect(machine.processes("daemon").is_empty(), "daemon(8) runs after a stop")
}

#[test]
fn the_script_starts_restarts_rotates_and_stops_the_server() {
    let machine = Machine::new(|_| {});
    exercise(&machine).unwrap();
    assert!(machine.path("db/rolls.db").is_file());
    // A second start works.
    assert_eq!(machine.service("start").0, 0);
    wait_for("the server", || machine.serves().then_some(()));
    assert_eq!(machine.service("restart").0, 0);
    wait_for("the server", || machine.serves().then_some(()));
    assert_eq!(machine.service("stop").0, 0);

    machine.configure("NO");
    let (code, output) = machine.service("start");
    assert!(code != 0 && output.contains("rollcast_enable"), "{output}");
}

#[test]
fn common_mistakes_with_daemon_are_detected() {
    let error_of = |old: &str, new: &str| {
        exercise(&Machine::new(|files| files.replace(SCRIPT, old, new))).unwrap_err()
    };
    // With the program's pid, a rotation stops the server, and daemon(8) restarts it after a stop.
    let program_pid = error_of("-P $pidfile", "-p $pidfile");
    assert!(program_pid.contains("rotation"), "{program_pid}");
    let kept_open = error_of("-H -P", "-P");
    assert!(kept_open.contains("nothing in the log after a rotation"), "{kept_open}");
}

#[test]
fn a_stop_of_the_program_without_daemon_is_detected() {
    let machine = Machine::new(|files| files.replace(SCRIPT, "-P $pidfile", "-p $pidfile"));
    assert_eq!(machine.service("start").0, 0);
    wait_for("the server", || machine.serves().then_some(()));
    machine.service("stop");
    let start = Instant::now();
    wait_for("the server to run again after a stop", || machine.serves().then_some(()));
    assert!(start.elapsed() < TIMEOUT);
}

#[test]
fn common_mistakes_with_users_are_detected() {
    let error_of = |old: &str, new: &str| {
        exercise(&Machine::new(|files| files.replace(SCRIPT, old, new))).unwrap_err()
    };
    // rc.subr and daemon(8) both change the user, and the second change is not permitted.
    let twice = error_of("unset rollcast_user", ":");
    assert!(twice.contains("failed to set user environment"), "{twice}");
    let never = error_of("-u $run_as ", "");
    assert!(never.contains("the server runs as user 0"), "{never}");
}

#[test]
fn service_check_prints_the_configuration() {
    let machine = Machine::new(|_| {});
    run_well(Command::new("install").args(["-d", "-o", USER]).arg(machine.path("db")));
    let (code, output) = machine.service("check");
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("release") && output.contains("db/rolls.db"), "{output}");
    // As in the guide, before the service is enabled.
    machine.configure("NO");
    let (code, output) = machine.service("onecheck");
    assert!(code == 0 && output.contains("db/rolls.db"), "{output}");
    let (code, output) = machine.service("check");
    assert!(code != 0 && output.contains("onecheck"), "{output}");
}

#[test]
fn the_log_folder_belongs_to_root_and_the_data_folder_to_the_user() {
    use std::os::unix::fs::MetadataExt;
    let machine = Machine::new(|_| {});
    // Also if an older release gave it to the user.
    run_well(Command::new("install").args(["-d", "-o", USER]).arg(machine.path("log")));
    assert_eq!(machine.service("start").0, 0);
    wait_for("the server", || machine.serves().then_some(()));
    let folder = |name: &str| {
        let folder = fs::metadata(machine.path(name)).unwrap();
        (folder.uid() == 0, folder.mode() & 0o777)
    };
    assert_eq!((folder("log"), folder("db")), ((true, 0o750), (false, 0o750)));
    assert_eq!(machine.service("stop").0, 0);
}
