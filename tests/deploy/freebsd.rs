//! FreeBSD's rc.d script, run by root, as it is there, against stand-ins for rc.subr and daemon(8)
//! which make the usual mistakes felt. A real FreeBSD has not seen it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{House, PATIENCE, ROLLCAST, http, signal, wait_for};
use crate::files::{Files, project};
use crate::program::{run, run_well};

const SCRIPT: &str = "rollcast";
/// Whom the server runs as.
const USER: &str = "nobody";

/// A FreeBSD machine as far as the script sees one; whatever it started is ended when dropped.
struct Machine {
    folder: TempDir,
    house: House,
}

impl Machine {
    /// With the delivered script, edited.
    fn new(edit: impl FnOnce(&mut Files)) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let house = House::new("every = '1h'");
        let machine = Machine { folder, house };
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
        // What another user runs must lie where that one may look.
        for (from, name) in [(Path::new(ROLLCAST), "program"), (&stand_in("daemon.py"), "daemon")] {
            run_well(Command::new("cp").arg(from).arg(machine.path(name)));
            run_well(Command::new("chmod").arg("0755").arg(machine.path(name)));
        }
        for folder in [machine.folder.path(), machine.house.path()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(machine.path("run")).unwrap();
        let toml = fs::read_to_string(machine.house.path().join("Rocket.toml")).unwrap();
        let toml =
            toml.replace("'rolls.db'", &format!("'{}'", machine.path("db/rolls.db").display()));
        fs::write(machine.path("Rocket.toml"), toml).unwrap();
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

    /// `service rollcast COMMAND`: its exit code and what it says.
    fn service(&self, command: &str) -> (i32, String) {
        let mut script = Command::new("sh");
        script.arg(self.path(SCRIPT)).arg(command).env("RC_CONF", self.path("rc.conf"));
        // FreeBSD's `su -m` takes root's own shell, Linux's the one that SHELL names; where that is
        // not set, the user's, which is no shell.
        run(script.current_dir("/").env("SHELL", "/bin/sh"))
    }

    fn serves(&self) -> bool {
        http().get(self.house.url("/")).call().is_ok_and(|answer| answer.status() == 200)
    }

    /// Processes that run something of this machine's.
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

/// Starts, breaks, rotates, stops; `Err` says what went wrong first.
fn live(machine: &Machine) -> Result<(), String> {
    let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let (code, said) = machine.service("start");
    expect(code == 0, &format!("start failed: {said}"))?;
    wait_for("the server", || machine.serves().then_some(()));

    let program = || machine.processes("program");
    let owner = fs::metadata(format!("/proc/{}", program()[0])).unwrap();
    let user = run_well(Command::new("id").args(["-u", USER]));
    let owner = std::os::unix::fs::MetadataExt::uid(&owner).to_string();
    expect(owner == user.trim(), &format!("it runs as user {owner}"))?;
    expect(machine.service("status").0 == 0, "status does not see it")?;
    expect(machine.service("start").0 != 0, "it started twice")?;

    let killed = program();
    signal("KILL", killed[0]);
    wait_for("another process", || (!program().is_empty() && program() != killed).then_some(()));
    wait_for("the server to be back", || machine.serves().then_some(()));

    // As newsyslog(8) does it.
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
    expect(program() == before, "a rotation restarted it")?;

    let (code, said) = machine.service("stop");
    expect(code == 0, &format!("stop failed: {said}"))?;
    // It would be started again after a second.
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(3) {
        expect(!machine.serves(), "it is there after a stop")?;
        std::thread::park_timeout(Duration::from_millis(50));
    }
    expect(machine.service("status").0 != 0, "status sees it after a stop")?;
    expect(machine.processes("daemon").is_empty(), "daemon(8) is there after a stop")
}

#[test]
fn the_script_starts_watches_rotates_and_stops() {
    let machine = Machine::new(|_| {});
    live(&machine).unwrap();
    assert!(machine.path("db/rolls.db").is_file());
    // And again.
    assert_eq!(machine.service("start").0, 0);
    wait_for("the server", || machine.serves().then_some(()));
    assert_eq!(machine.service("restart").0, 0);
    wait_for("the server", || machine.serves().then_some(()));
    assert_eq!(machine.service("stop").0, 0);

    machine.configure("NO");
    let (code, said) = machine.service("start");
    assert!(code != 0 && said.contains("rollcast_enable"), "{said}");
}

#[test]
fn the_usual_mistakes_with_daemon_are_found_out() {
    let seen = |old: &str, new: &str| {
        live(&Machine::new(|files| files.replace(SCRIPT, old, new))).unwrap_err()
    };
    // The program's own pid: a rotation would stop it, and a stop would start it again.
    let program_pid = seen("-P $pidfile", "-p $pidfile");
    assert!(program_pid.contains("rotation"), "{program_pid}");
    let kept_open = seen("-H -P", "-P");
    assert!(kept_open.contains("nothing in the log after a rotation"), "{kept_open}");
}

#[test]
fn a_stop_that_only_stops_the_program_is_found_out() {
    let machine = Machine::new(|files| files.replace(SCRIPT, "-P $pidfile", "-p $pidfile"));
    assert_eq!(machine.service("start").0, 0);
    wait_for("the server", || machine.serves().then_some(()));
    machine.service("stop");
    let start = Instant::now();
    wait_for("it to come back after a stop", || machine.serves().then_some(()));
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn the_usual_mistakes_with_users_are_found_out() {
    let seen = |old: &str, new: &str| {
        live(&Machine::new(|files| files.replace(SCRIPT, old, new))).unwrap_err()
    };
    // rc.subr and daemon(8) both change the user; the second one may not.
    let twice = seen("unset rollcast_user", ":");
    assert!(twice.contains("failed to set user environment"), "{twice}");
    let never = seen("-u $run_as ", "");
    assert!(never.contains("it runs as user 0"), "{never}");
}

#[test]
fn service_check_says_what_is_configured() {
    let machine = Machine::new(|_| {});
    run_well(Command::new("install").args(["-d", "-o", USER]).arg(machine.path("db")));
    let (code, said) = machine.service("check");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("release") && said.contains("db/rolls.db"), "{said}");
    // As the guide has it, before it is enabled.
    machine.configure("NO");
    let (code, said) = machine.service("onecheck");
    assert!(code == 0 && said.contains("db/rolls.db"), "{said}");
    let (code, said) = machine.service("check");
    assert!(code != 0 && said.contains("onecheck"), "{said}");
}

#[test]
fn the_folder_of_the_log_is_roots_and_of_the_data_the_users() {
    use std::os::unix::fs::MetadataExt;
    let machine = Machine::new(|_| {});
    // Also where an older release made it the user's.
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
