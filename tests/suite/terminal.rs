//! The program on a terminal: colours only where they are wanted and understood.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::common::{Instance, wait_for};

/// The output of a command whose standard output and error are a terminal, up to its end or until
/// `is_enough`. The command is killed then.
fn on_terminal(command: &mut Command, is_enough: impl Fn(&str) -> bool) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal: OwnedFd = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
    command.stdout(terminal.try_clone().unwrap()).stderr(terminal);
    let mut child = command.spawn().unwrap();
    // Close this process's handles of the terminal, so that reading ends with the child.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let output = Arc::new(Mutex::new(Vec::new()));
    let reader = std::thread::spawn({
        let output = output.clone();
        let mut ours = File::from(ours);
        move || {
            let mut bytes = [0; 4096];
            while let Ok(n_bytes @ 1..) = ours.read(&mut bytes) {
                output.lock().unwrap().extend_from_slice(&bytes[..n_bytes]);
            }
        }
    });
    let text = || String::from_utf8_lossy(&output.lock().unwrap()).into_owned();
    wait_for("the output", || {
        (child.try_wait().unwrap().is_some() || is_enough(&text())).then_some(())
    });
    let _ = child.kill();
    let _ = child.wait();
    reader.join().unwrap();
    text()
}

#[test]
fn logs_and_reports_have_colours_unless_the_user_or_the_terminal_wants_none() {
    let instance = Instance::new("");
    let server = instance.start();
    let other = Instance::new("");
    let toml = other.path().join("Rocket.toml");
    let text = std::fs::read_to_string(&toml).unwrap().replace("'json'", "'text'");
    std::fs::write(&toml, text).unwrap();
    let xterm = ("TERM", "xterm");
    for (variables, coloured) in [
        (vec![xterm], true),
        (vec![xterm, ("NO_COLOR", "")], true),
        (vec![xterm, ("NO_COLOR", "1")], false),
        (vec![("TERM", "dumb")], false),
        (vec![], false),
    ] {
        let command = |instance: &Instance, arguments: &[&str]| {
            let mut command = instance.command();
            command.args(arguments).env_remove("NO_COLOR").env_remove("TERM");
            command.envs(variables.iter().copied());
            command
        };
        let log = on_terminal(&mut command(&other, &["serve"]), |text| text.contains("listening"));
        assert!(log.contains("listening"), "{log}");
        assert_eq!(log.contains("\x1b["), coloured, "{variables:?}: {log:?}");

        let doctor = ["doctor", &server.url("/"), "--for", "1s", "--streams", "2"];
        let report = on_terminal(&mut command(&instance, &doctor), |_| false);
        assert!(report.contains("0 faults") || report.contains("fault"), "{report}");
        assert_eq!(report.contains("\x1b[3"), coloured, "{variables:?}: {report:?}");
        // A dumb terminal cannot replace the line that shows progress either.
        let dumb = !variables.contains(&xterm);
        assert_eq!(report.contains("\x1b[K"), !dumb, "{variables:?}: {report:?}");
    }
}
