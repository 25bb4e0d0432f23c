//! supervisord with the delivered files: a killed server, a server that cannot start, log rotation
//! and stops.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::common::{Instance, ROLLCAST, http, signal, wait_for};
use crate::files::Files;
use crate::program::{Daemon, run, run_well};

pub const MAIN: &str = "supervisord.conf";
pub const PROGRAM: &str = "rollcast.conf";

/// A running supervisord with a rollcast server. Dropping it stops both.
pub struct Supervisor {
    folder: TempDir,
    daemon: Option<Daemon>,
}

impl Supervisor {
    /// Starts supervisord with the delivered files, except for paths and the user.
    pub fn start(instance: &Instance) -> Supervisor {
        Supervisor::start_with(instance, |_| {})
    }

    /// The same after `edit`.
    pub fn start_with(instance: &Instance, edit: impl FnOnce(&mut Files)) -> Supervisor {
        let mut supervisor = Supervisor { folder: tempfile::tempdir().unwrap(), daemon: None };
        let mut files = Files::read("supervisor");
        let path = |name: &str| supervisor.path(name).display().to_string();
        let user = run_well(Command::new("id").arg("-un"));
        for (name, old, new) in [
            (MAIN, "/var/run/supervisor/", path("").as_str()),
            (MAIN, "/var/log/", &path("")),
            // Within the open file limit of the test run.
            (MAIN, "minfds=16384", "minfds=1024"),
            (PROGRAM, "/usr/local/bin/rollcast", ROLLCAST),
            (PROGRAM, "/var/db/rollcast", &instance.path().display().to_string()),
            (PROGRAM, "user=rollcast", &format!("user={}", user.trim())),
            (PROGRAM, "/var/log/rollcast/", &path("")),
        ] {
            files.replace(name, old, new);
        }
        edit(&mut files);
        files.write_one(MAIN, supervisor.path(MAIN));
        files.write_one(PROGRAM, supervisor.path("conf.d").join(PROGRAM));
        let mut command = Command::new("supervisord");
        command.arg("--nodaemon").arg("--configuration").arg(supervisor.path(MAIN));
        supervisor.daemon = Some(Daemon::spawn(&mut command));
        wait_for("supervisord to answer", || supervisor.ctl(&["pid"]).0.eq(&0).then_some(()));
        supervisor
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs supervisorctl. Returns its exit code and its output.
    pub fn ctl(&self, args: &[&str]) -> (i32, String) {
        run(Command::new("supervisorctl").arg("-c").arg(self.path(MAIN)).args(args))
    }

    /// Waits until rollcast is in a state, such as `RUNNING`.
    pub fn wait_until(&self, state: &str) {
        wait_for(&format!("{state}, now {:?}", self.ctl(&["status"])), || {
            self.ctl(&["status", "rollcast"]).1.contains(state).then_some(())
        });
    }

    /// The server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("stdout.log")).unwrap_or_default()
    }

    fn child(&self) -> u32 {
        self.ctl(&["pid", "rollcast"]).1.trim().parse().unwrap()
    }
}

fn serves(instance: &Instance) -> bool {
    http().get(instance.url("/")).call().is_ok_and(|answer| answer.status() == 200)
}

#[test]
fn a_killed_server_is_restarted_at_once() {
    let instance = Instance::new("every = '1h'");
    let supervisor = Supervisor::start(&instance);
    supervisor.wait_until("RUNNING");
    let kill = |supervisor: &Supervisor| {
        signal("KILL", supervisor.child());
        let killed = Instant::now();
        wait_for("the end", || (!serves(&instance)).then_some(()));
        killed
    };
    let killed = kill(&supervisor);
    wait_for("the server to run again", || serves(&instance).then_some(()));
    println!("served again {:?} after the kill", killed.elapsed());
    supervisor.wait_until("RUNNING");
    drop(supervisor);

    let control = Supervisor::start_with(&instance, |files| {
        files.replace(PROGRAM, "autorestart=true", "autorestart=false");
    });
    control.wait_until("RUNNING");
    kill(&control);
    control.wait_until("EXITED");
    assert!(!serves(&instance));
}

#[test]
fn a_server_that_cannot_listen_becomes_fatal_and_its_log_has_the_reason() {
    let instance = Instance::new("every = '1h'");
    let few = |files: &mut Files| {
        // The delivered ten retries take a minute.
        files.replace(PROGRAM, "startretries=10", "startretries=1");
        // On a slow machine a start that fails may take longer than three seconds.
        files.replace(PROGRAM, "startsecs=3", "startsecs=15");
    };
    let taken = std::net::TcpListener::bind(("127.0.0.1", instance.port())).unwrap();
    let supervisor = Supervisor::start_with(&instance, few);
    supervisor.wait_until("FATAL");
    let message = format!("cannot listen on http://127.0.0.1:{}", instance.port());
    assert!(supervisor.log().contains(&message), "{}", supervisor.log());
    drop(taken);
    let (code, output) = supervisor.ctl(&["start", "rollcast"]);
    assert_eq!(code, 0, "{output}");
    supervisor.wait_until("RUNNING");
}

#[test]
fn logs_rotate_without_loss_while_the_server_runs() {
    let instance = Instance::new("every = '1h'");
    let rotates = |limit: &str| {
        let supervisor = Supervisor::start_with(&instance, |files| {
            let limit = format!("stdout_logfile_maxbytes={limit}");
            files.replace(PROGRAM, "stdout_logfile_maxbytes=50MB", &limit);
        });
        supervisor.wait_until("RUNNING");
        for n in 0..200 {
            http().get(instance.url(&format!("/rolls?n={n}"))).call().unwrap();
        }
        let rotated = || fs::read_to_string(supervisor.path("stdout.log.1")).unwrap_or_default();
        // No line is lost between the files that are kept.
        wait_for("the last request's line", || {
            (rotated() + &supervisor.log()).contains("/rolls?n=199").then_some(())
        });
        supervisor.path("stdout.log.2").exists()
    };
    assert!(rotates("10KB"));
    assert!(!rotates("0"), "the control rotated");
}

#[test]
fn a_stop_waits_for_the_server_which_stops_cleanly() {
    let instance = Instance::new("every = '50ms'");
    let supervisor = Supervisor::start(&instance);
    supervisor.wait_until("RUNNING");
    let start = Instant::now();
    assert_eq!(supervisor.ctl(&["stop", "rollcast"]).0, 0);
    println!("stopped in {:?}", start.elapsed());
    assert!(supervisor.log().contains("stopped"), "{}", supervisor.log());
    // Control: SIGKILL, which follows a timeout, leaves no such line.
    let mut control = Supervisor::start_with(&instance, |files| {
        files.replace(PROGRAM, "stopsignal=TERM", "stopsignal=KILL");
    });
    control.wait_until("RUNNING");
    assert_eq!(control.ctl(&["stop", "rollcast"]).0, 0);
    // Stops supervisord, which flushes the log.
    control.daemon = None;
    assert!(!control.log().contains("stopped"), "{}", control.log());
}
