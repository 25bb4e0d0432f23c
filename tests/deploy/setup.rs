//! `tests/setup.sh` on an isolated machine: what stays as it was, and what it says.

use crate::machine::on_a_machine_with;

/// Runs the setup on a machine whose nginx is missing. `apt-get` installs nginx as Debian does: its
/// service is enabled. cron was there before.
const WITHOUT_NGINX: &str = r#"
test -e /run/script # only on an isolated machine
PATH=/tmp/bin:$PATH
mkdir /tmp/bin
cat >/tmp/bin/apt-get <<'END'
#!/bin/sh
case " $* " in
  *' install nginx'*) mv /tmp/nginx "$(cat /tmp/place)"; systemctl --quiet enable nginx ;;
esac
END
PATH=$PATH:/usr/sbin command -v nginx >/tmp/place
mv "$(cat /tmp/place)" /tmp/nginx
systemctl --quiet enable cron
# Nothing here may open another machine.
printf '#!/bin/sh\necho unshare failed: no machine in a machine >&2; exit 1\n' >/tmp/bin/unshare
chmod 0755 /tmp/bin/*
tests/setup.sh
echo nginx: $(systemctl is-enabled nginx), cron: $(systemctl is-enabled cron)
"#;

#[test]
fn a_service_that_setup_installs_does_not_start_at_the_next_boot() {
    let (code, output) = on_a_machine_with(&[("CI", "")], "bash", WITHOUT_NGINX);
    println!("{output}");
    assert_eq!(code, 0);
    assert!(output.contains("setup: installing nginx"));
    assert!(output.contains("nginx: disabled, cron: enabled\n"));
    // A suite that cannot run names the reason in the words of the program that fails.
    let reason = "SKIPPED: the suite `machine` needs root with namespaces \
                  (unshare failed: no machine in a machine)";
    assert!(output.contains(reason));
    assert!(output.contains("doctor,deploy\n"));
}

/// Runs the setup with an empty target folder on a disk of its own, whose size is `$SIZE`.
const ON_A_NEW_DISK: &str = r#"
mkdir /tmp/bin /tmp/disk
mount -t tmpfs -o size="$SIZE" disk /tmp/disk
# Neither another machine nor a download is tried.
printf '#!/bin/sh\nexit 1\n' | tee /tmp/bin/unshare >/tmp/bin/npm
chmod 0755 /tmp/bin/*
PATH=/tmp/bin:$PATH PIP_RETRIES=0 NATS_SERVER= CARGO_TARGET_DIR=/tmp/disk/target tests/setup.sh
"#;

#[test]
fn setup_fails_at_once_if_the_disk_is_too_small_for_the_tests() {
    let setup = |size| on_a_machine_with(&[("SIZE", size), ("CI", "")], "bash", ON_A_NEW_DISK);
    let (code, output) = setup("99m");
    assert_eq!(code, 1, "{output}");
    let reason = "MB in /tmp/disk/target, but only 99 MB are free: free some";
    assert!(output.contains(reason) && !output.contains("installing"), "{output}");
    // Control: a disk that is large enough.
    let (code, output) = setup("99g");
    assert!(code == 0 && output.ends_with("\ndoctor,deploy\n"), "{code}: {output}");
}

#[test]
fn an_isolated_machine_needs_no_rustup() {
    let nowhere = [("CARGO_HOME", "/nonexistent/cargo"), ("RUSTUP_HOME", "/nonexistent/rustup")];
    let ran = on_a_machine_with(&nowhere, "bash", "echo runs");
    assert_eq!(ran, (0, "runs\n".to_owned()));
}
