//! Tests that would change the machine they run on: `deploy/README.md` as written, and the Debian
//! package. `machine.sh` runs each on an isolated machine.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::ROLLCAST;
use crate::files::project;
use crate::program::run_well;

/// Runs a script on an isolated machine whose first process is `init`. Returns its exit code and its
/// output.
pub fn on_a_machine(init: &str, script: &str) -> (i32, String) {
    on_a_machine_with(&[], init, script)
}

/// The same with variables for `machine.sh`, and for the script if bash is the first process.
pub fn on_a_machine_with(variables: &[(&str, &str)], init: &str, script: &str) -> (i32, String) {
    let target = target();
    let mut machine = Command::new(project().join("tests/deploy/machine.sh"));
    for (name, _) in std::env::vars().filter(|(name, _)| is_of_test_run(name)) {
        machine.env_remove(name);
    }
    machine.envs(variables.iter().copied());
    machine.arg(init).arg(project()).arg(target).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut machine = machine.stderr(Stdio::piped()).spawn().unwrap();
    machine.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = machine.wait_with_output().unwrap();
    let output = [stdout, stderr].concat();
    (status.code().unwrap_or(-1), String::from_utf8_lossy(&output).into_owned())
}

/// Whether cargo or make sets this variable for the programs that they run.
fn is_of_test_run(name: &str) -> bool {
    name.starts_with("MAKE")
        || name == "MFLAGS"
        || name.starts_with("CARGO_") && name != "CARGO_HOME"
}

fn target() -> PathBuf {
    let inside = Path::new(env!("CARGO_TARGET_TMPDIR"));
    inside.parent().unwrap().to_path_buf()
}

/// The command blocks of a chapter of the guide, each with its heading.
fn chapter(title: &str) -> Vec<(String, String)> {
    let guide = fs::read_to_string(project().join("deploy/README.md")).unwrap();
    let start = format!("\n## {title}\n");
    let (_, rest) = guide.split_once(&start).unwrap_or_else(|| panic!("no chapter {title}"));
    let text = rest.split("\n## ").next().unwrap();
    let (mut heading, mut blocks, mut block) = (title.to_owned(), Vec::new(), None::<String>);
    for line in text.lines() {
        match (&mut block, line) {
            (None, "```sh") => block = Some(String::new()),
            (None, line) => {
                if let Some(text) = line.strip_prefix("### ") {
                    heading = text.to_owned();
                }
            }
            (Some(text), "```") => {
                blocks.push((heading.clone(), std::mem::take(text)));
                block = None;
            }
            (Some(text), line) => *text += &format!("{line}\n"),
        }
    }
    blocks
}

/// Commands that must succeed after the commands under a heading.
const CHECKS: [(&str, &str); 12] = [
    (
        "4. supervisord",
        "test \"$(ps -o user= -C rollcast)\" = rollcast
         # supervisord sets this limit, and the server raises it if it can.
         test $(awk '/^Max open files/ {print $4}' /proc/$(pidof -s rollcast)/limits) -ge 16384
         eventually is RUNNING supervisorctl status",
    ),
    (
        "6. Check it",
        "curl -sN --max-time 30 http://example.com/stream/ | grep -m 1 'data: {\"1D6\"'
         curl -s http://example.com/ | grep '<ol id=\"rolls\"'",
    ),
    (
        "The secret",
        "test $(stat -c %U:%a /var/lib/rollcast/rolls.secret) = rollcast:600
         test $(awk '/^Max core file size/ {print $5}' /proc/$(pidof -s rollcast)/limits) -le 1",
    ),
    (
        "Nightly backups",
        "test $(ls /var/backups/rollcast/rolls-*Z.db | wc -l) = 1
         secret=$(cat /var/lib/rollcast/rolls.secret)
         grep -rqF $secret /var/lib/rollcast
         if grep -rqF $secret /var/backups /var/log; then false; fi",
    ),
    (
        "Update",
        // A release with a new key, and an unedited configuration.
        "echo 'newer = 1' >>/usr/local/etc/rollcast/Rocket.toml
         cp /usr/local/etc/rollcast/Rocket.toml /usr/local/etc/rollcast/Rocket.toml.sample
         if sudo -u rollcast rollcast check; then false; fi
         sudo -u rollcast sh -c 'if echo x >/var/log/rollcast/x; then false; fi'",
    ),
    (
        "Roll back",
        "eventually is RUNNING supervisorctl status
         sudo -u rollcast rollcast check
         # From here on a stop is not clean, and leaves rolls in the write-ahead log.
         sed -i 's/^stopsignal=TERM/stopsignal=KILL/' /etc/supervisor/conf.d/rollcast.conf
         supervisorctl update
         eventually is RUNNING supervisorctl status
         eventually test -s /var/lib/rollcast/rolls.db-wal",
    ),
    (
        "Restore",
        "test -s /var/lib/rollcast/put-aside-*/rolls.db-wal
         ls /var/lib/rollcast/rolls.secret.until-*.checkpoint
         test $(stat -c %U:%a /var/lib/rollcast/rolls.secret) = rollcast:600
         eventually is RUNNING supervisorctl status
         # The new key signs the old rolls and the new ones.
         eventually curl -sf -o /dev/null http://example.com/rolls/1/proof
         test $(stat -c %U:%a /var/lib/rollcast/rolls.db) = rollcast:640
         curl -sf http://example.com/rolls/1
         curl -s http://example.com/ | grep '<ol id=\"rolls\"'",
    ),
    (
        "Uninstall",
        "test \"$(pidof rollcast)$(command -v rollcast)\" = ''
         test -f /var/lib/rollcast/rolls.db -a -f /var/lib/rollcast/rolls.secret
         test -f /usr/local/etc/rollcast/Rocket.toml
         diff -r -x default /var/opt/nginx /etc/nginx
         diff -r /var/opt/supervisor /etc/supervisor
         eventually is 000 curl -s -o /dev/null -w '%{http_code}' http://example.com/",
    ),
    (
        "Debian package, under systemd",
        r#"serves() { eventually curl -sf -o /dev/null http://127.0.0.1:5000/rolls/1; }
         serves
         man --where rollcast rollcast-backup
         test -f /usr/share/bash-completion/completions/rollcast
         # The program names source files, but not the folders of the machine that built it.
         test -f Cargo.toml
         is cargo/registry/src/ cat /usr/bin/rollcast
         if grep -F -e "$PWD" -e "${CARGO_HOME:-$HOME/.cargo}" /usr/bin/rollcast; then false; fi
         if systemctl is-enabled rollcast-backup.timer; then false; fi
         test "$(ps -o user= -C rollcast)" = rollcast
         grep 'Seccomp:.*2' /proc/$(pidof -s rollcast)/status
         grep 'NoNewPrivs:.*1' /proc/$(pidof -s rollcast)/status
         kill -KILL $(pidof -s rollcast)
         serves
         # A start is complete when rollcast answers, so the first request succeeds.
         systemctl restart rollcast
         curl -sf -o /dev/null http://127.0.0.1:5000/rolls/1
         systemctl stop rollcast
         eventually is '"stopped"' journalctl --unit rollcast
         # It can write to its data folder only because the unit permits it.
         mkdir /run/systemd/system/rollcast.service.d
         printf '[Service]\nStateDirectory=\nReadOnlyPaths=/var/lib/rollcast\n' \
           >/run/systemd/system/rollcast.service.d/control.conf
         systemctl daemon-reload
         if systemctl start rollcast; then false; fi
         eventually is failed systemctl is-active rollcast
         rm -r /run/systemd/system/rollcast.service.d
         systemctl daemon-reload
         systemctl reset-failed rollcast
         # A wrong configuration is not retried, and the command says so.
         echo 'wrong = 1' >>/etc/rollcast/Rocket.toml
         if systemctl restart rollcast; then false; fi
         # The journal knows what is an error, and keeps the line without its prefix.
         journalctl --sync
         is '^rollcast: .*wrong' journalctl --unit rollcast --priority err --output cat
         if is listening journalctl --unit rollcast --priority warning; then false; fi
         is '^{.*listening' journalctl --unit rollcast --priority info --output cat
         eventually is failed systemctl is-active rollcast
         test $(systemctl show rollcast --property NRestarts --value) = 0
         sed -i '$d' /etc/rollcast/Rocket.toml
         systemctl reset-failed rollcast
         systemctl start rollcast
         serves"#,
    ),
    (
        "Nightly backups under systemd",
        r#"test $(ls /var/backups/rollcast/rolls-*Z.db | wc -l) = 1
         is rollcast-backup.timer systemctl list-timers
         test $(stat -c %U:%a /var/backups/rollcast/rolls-*Z.db) = rollcast:640
         # A failure is an error in the journal, and the unit has failed.
         mv /var/backups/rollcast /var/backups/away
         mkdir /var/backups/rollcast
         if systemctl start rollcast-backup; then false; fi
         rmdir /var/backups/rollcast
         mv /var/backups/away /var/backups/rollcast
         systemctl is-failed rollcast-backup
         journalctl --sync
         is 'rollcast: ' journalctl --unit rollcast-backup --priority err --output cat
         systemctl reset-failed rollcast-backup"#,
    ),
    (
        "Roll back the package",
        "eventually curl -sf -o /dev/null http://127.0.0.1:5000/rolls/1
         # The same as in the other chapter.
         mkdir /run/systemd/system/rollcast.service.d
         printf '[Service]\\nKillSignal=SIGKILL\\n' >/run/systemd/system/rollcast.service.d/kill.conf
         systemctl daemon-reload",
    ),
    (
        "Restore under systemd",
        "test -s /var/lib/rollcast/put-aside-*/rolls.db-wal
         ls /var/lib/rollcast/rolls.secret.until-*.checkpoint
         eventually curl -sf -o /dev/null http://127.0.0.1:5000/rolls/1/proof
         test $(stat -c %U:%a /var/lib/rollcast/rolls.db) = rollcast:640",
    ),
];

/// Shell functions for [`CHECKS`].
const EVENTUALLY: &str = r#"
eventually() { for _ in $(seq 60); do "$@" && return; sleep 1; done; return 1; }
is() { expected=$1; shift; "$@" | grep -q "$expected"; }
set -e
"#;

/// A chapter of the guide as one script, without the commands under the heading `left_out`.
fn chapter_script(title: &str, left_out: &str) -> String {
    // Starts without configuration, as on a new machine. Builds the release without optimisation,
    // which would take most of the time, in a folder that only these machines share. Only `ring` is
    // optimised, because each start of a server computes a million hashes or more. Packages are
    // compressed quickly, because they are temporary.
    let mut script = String::from(
        "mkdir -p /.cargo target/machine target/release
         printf '[profile.release]\\nopt-level = 0\\n' >/.cargo/config.toml
         printf '[profile.release.package.ring]\\nopt-level = 3\\n' >>/.cargo/config.toml
         export DPKG_DEB_COMPRESSOR_LEVEL=0
         mount --bind target/machine target/release
         rm -f /etc/supervisor/conf.d/* /etc/nginx/conf.d/*
         cp -R /etc/supervisor /etc/nginx /var/opt\n",
    );
    let blocks = chapter(title);
    let headings: Vec<&String> = blocks.iter().map(|(heading, _)| heading).collect();
    for (n, (heading, commands)) in blocks.iter().enumerate() {
        if heading == left_out {
            continue;
        }
        script += &format!("echo '## {heading}'\nset -x\n{commands}\n{{ set +x; }} 2>/dev/null\n");
        if headings.get(n + 1) == Some(&heading) {
            continue;
        }
        if let Some((after, checks)) = CHECKS.iter().find(|(after, _)| after == heading) {
            script += &format!(
                "bash -u >/tmp/checks 2>&1 <<'E' || {{ echo 'a check failed after {after}:'; \
                 cat /tmp/checks; exit 99; }}\n{EVENTUALLY}set -x\n{checks}\nE\n"
            );
        }
    }
    script + "echo completed\n"
}

#[test]
fn the_guide_for_debian_works_as_written() {
    // With systemd, as on Debian, and with init scripts only.
    for init in ["systemd", "bash"] {
        let (code, output) = on_a_machine(init, &chapter_script("Debian 12", ""));
        assert!(
            code == 0 && output.ends_with("completed\n"),
            "{init}, exit code {code}:\n{output}"
        );
    }

    // Control: a missing step.
    let (code, output) =
        on_a_machine("bash", &chapter_script("Debian 12", "3. A user and its folders"));
    assert!(code != 0 && !output.ends_with("completed\n"), "{output}");
}

#[test]
fn the_package_runs_under_systemd_as_the_guide_says() {
    let script = chapter_script("Debian package, under systemd", "");
    let (code, output) = on_a_machine("systemd", &script);
    assert!(code == 0 && output.ends_with("completed\n"), "exit code {code}:\n{output}");
}

#[test]
fn a_machine_that_hangs_is_killed_and_its_output_is_kept() {
    for init in ["bash", "systemd"] {
        let (code, output) = on_a_machine_with(
            &[("MACHINE_SECONDS", "5")],
            init,
            "echo before; sleep 600; echo after",
        );
        assert_eq!(code, 137, "{init}: {output}");
        assert!(
            output.contains("before") && output.contains("killed, after 5 s"),
            "{init}: {output}"
        );
    }
}

#[test]
fn every_command_block_of_the_guide_is_run() {
    let guide = fs::read_to_string(project().join("deploy/README.md")).unwrap();
    let n_blocks = guide.lines().filter(|line| *line == "```sh").count();
    assert_eq!(
        n_blocks,
        chapter("Debian 12").len() + chapter("Debian package, under systemd").len()
    );
}

#[test]
fn the_debian_package_installs_starts_upgrades_and_uninstalls_and_keeps_the_rolls() {
    // In the folder that the machine shares with the host.
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut build = Command::new(project().join("deploy/debian/build.sh"));
    build.env("OUT", out.path()).env("PROGRAM", ROLLCAST);
    // Compressed quickly, because the package is temporary.
    run_well(build.env("DPKG_DEB_COMPRESSOR_LEVEL", "0"));
    let package = fs::read_dir(out.path()).unwrap().next().unwrap().unwrap().path();
    run_well(
        Command::new("lintian").args(["--allow-root", "--fail-on=error,warning"]).arg(&package),
    );
    let old = package.display();
    let script = format!(
        r#"
start() {{
  cd /
  # In this profile the log is JSON.
  setpriv --reuid=rollcast --regid=rollcast --clear-groups env ROCKET_PROFILE=release rollcast serve 2>/tmp/log &
  curl -sS --retry 60 --retry-connrefused --retry-delay 1 -o /dev/null http://127.0.0.1:5000/
}}
stop() {{ kill -TERM $(pidof rollcast); wait; }}
rolls() {{ curl -sf http://127.0.0.1:5000/rolls/$1 >/dev/null; }}
config=/etc/rollcast/Rocket.toml data=/var/lib/rollcast
set -x

# The next release, with a new line in its configuration.
dpkg-deb --raw-extract {old} /tmp/next
sed -i 's/^Version: .*/Version: 99/' /tmp/next/DEBIAN/control
echo '# new' >>/tmp/next$config
dpkg-deb -Znone --build /tmp/next /tmp/new.deb

dpkg --install {old}
test $(stat -c %U:%G:%a $data) = rollcast:rollcast:750
test -L /etc/systemd/system/multi-user.target.wants/rollcast.service
dpkg --verify rollcast
start; sleep 2; rolls 1; stop
gzip -dc /usr/share/doc/rollcast/changelog.gz | grep '^rollcast (0'

sed -i 's/^every = "1s"/every = "2s"/' $config
dpkg --force-confold --install /tmp/new.deb
dpkg-query --show rollcast | grep 99
grep '^every = "2s"' $config
start; rolls 1; stop
grep 'every 2s' /tmp/log

# An upgrade keeps the operator's choice.
rm /etc/systemd/system/multi-user.target.wants/rollcast.service
dpkg --install /tmp/new.deb
test ! -e /etc/systemd/system/multi-user.target.wants/rollcast.service

dpkg --remove rollcast
test "$(command -v rollcast)" = ''
test -f $config -a -f $data/rolls.db
cp $data/rolls.secret /tmp/secret
dpkg --purge rollcast
test ! -e $config -a -f $data/rolls.db
cmp $data/rolls.secret /tmp/secret
test $(stat -c %U:%a $data/rolls.secret) = rollcast:600
# Install the old release again.
dpkg --install {old}
test $(stat -c %U:%G $data/rolls.db) = rollcast:rollcast
start; rolls 1; stop
echo all checks passed
"#
    );
    let (code, output) = on_a_machine("bash", &script);
    assert!(code == 0 && output.ends_with("all checks passed\n"), "exit code {code}:\n{output}");
    // Control: an upgrade that overwrites the operator's configuration.
    let (code, output) =
        on_a_machine("bash", &script.replace("--force-confold", "--force-confnew"));
    assert!(code != 0 && !output.contains("all checks passed\n"), "{output}");
}
