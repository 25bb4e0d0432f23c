//! The files in `deploy/container/`. No container tool is needed: the steps of the Containerfile run
//! on an isolated machine, as a tool would run them, and rollcast is the first process.

use std::fs;
use std::process::Command;

use crate::common::ROLLCAST;
use crate::files::project;
use crate::machine::on_a_machine;
use crate::program::run;

fn read(name: &str) -> String {
    fs::read_to_string(project().join("deploy/container").join(name)).unwrap()
}

/// The instructions of the Containerfile, each with its arguments, by stage.
fn stages(file: &str) -> Vec<Vec<(String, String)>> {
    let mut stages: Vec<Vec<(String, String)>> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, arguments) = line.split_once(' ').unwrap();
        if name == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().unwrap().push((name.into(), arguments.into()));
    }
    stages
}

/// The words of a command as JSON, such as `["rollcast", "check"]`, for a shell.
fn words(json: &str) -> String {
    let words: Vec<String> = serde_json::from_str(json).unwrap();
    words.join(" ")
}

/// A script that does what the Containerfile says, and then `checks`. These use the functions
/// `start`, which runs the image as a tool runs it, and `healthy`, which succeeds if it is.
fn script(file: &str, checks: &str) -> String {
    let stages = stages(file);
    let [build, image] = &stages[..] else { panic!("expected two stages: {stages:?}") };
    let mut script = String::from("set -x\numask 022\n");
    for (name, arguments) in build {
        match (name.as_str(), arguments.as_str()) {
            ("RUN", "make build") => {} // the guide's chapter for Debian builds
            ("RUN", command) => script += &format!("{command} PROGRAM='{ROLLCAST}'\n"),
            ("FROM" | "WORKDIR" | "COPY", _) => {}
            other => panic!("this test does not know {other:?}"),
        }
    }
    let (mut variables, mut user, mut folder, mut probe) =
        (String::new(), String::new(), String::new(), String::new());
    let (mut entry, mut arguments_of_entry, mut signal) =
        (String::new(), String::new(), String::new());
    for (name, arguments) in image {
        match name.as_str() {
            "RUN" => script += &format!("{arguments}\n"),
            "COPY" => {
                let paths = arguments.strip_prefix("--from=build ").unwrap();
                // As a tool does, COPY creates the folder.
                let to = paths.rsplit(' ').next().unwrap();
                script += &format!("mkdir -p \"$(dirname {to}x)\"\ncp {paths}\n");
            }
            "ENV" => variables += &format!(" {arguments}"),
            "USER" => user.clone_from(arguments),
            "WORKDIR" => folder.clone_from(arguments),
            "VOLUME" => {
                script += &format!("test \"$(stat -c %U:%a {arguments})\" = rollcast:750\n")
            }
            "STOPSIGNAL" => signal.clone_from(arguments),
            "HEALTHCHECK" => probe = words(arguments.split_once(" CMD ").unwrap().1),
            "ENTRYPOINT" => entry = words(arguments),
            "CMD" => arguments_of_entry = words(arguments),
            "FROM" | "EXPOSE" => {}
            other => panic!("this test does not know {other}"),
        }
    }
    let inside = format!(
        "setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs --bounding-set=-all \
         env -i PATH=/usr/bin:/bin{variables} env -C {folder}"
    );
    script
        + &format!(
            "start() {{ unshare --pid --fork --mount-proc {inside} \"$@\" {entry} \
             {arguments_of_entry} 2>/tmp/log & first=$!; }}
             healthy() {{ {inside} {probe}; }}
             stop() {{ kill -s {signal} $(pidof rollcast); wait $first; }}
             eventually() {{ for _ in $(seq 60); do \"$@\" && return; sleep 1; done; return 1; }}
             {checks}
             echo all checks passed\n"
        )
}

const CHECKS: &str = r#"
# The image has no other libraries than these.
if ldd /usr/bin/rollcast | grep -vE 'linux-vdso|libgcc_s|libc\.so|libm\.so|ld-linux'; then false; fi
if healthy; then false; fi
start
eventually healthy
test "$(awk '/^NSpid/ {print $3}' /proc/$(pidof rollcast)/status)" = 1
test "$(ps -o user= -C rollcast)" = rollcast
# Another container reaches it, at another address than loopback.
ip addr add 10.89.50.2/24 dev lo
curl -sf -o /dev/null http://10.89.50.2:5000/
stop
grep '"stopped"' /tmp/log
test ! -s /var/lib/rollcast/rolls.db-wal
if healthy; then false; fi
# The volume keeps the rolls.
start
eventually healthy
curl -sf -o /dev/null http://127.0.0.1:5000/rolls/1
stop
"#;

#[test]
fn the_image_runs_as_its_own_user_reports_its_health_and_stops_in_order_as_first_process() {
    let file = read("Containerfile");
    let (code, output) = on_a_machine("bash", &script(&file, CHECKS));
    assert!(code == 0 && output.ends_with("all checks passed\n"), "exit code {code}:\n{output}");

    // Control: without its address, other containers cannot reach it.
    let control = file.replace("ENV ROCKET_ADDRESS=0.0.0.0\n", "");
    assert_ne!(control, file);
    let (code, output) = on_a_machine("bash", &script(&control, CHECKS));
    assert!(code != 0 && output.contains("healthy"), "exit code {code}:\n{output}");
}

/// The text between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no `{start}` in {text}"));
    rest.split_once(end).unwrap().0
}

/// podman leaves the health check out of an image, unless the guide's format is used.
#[test]
fn the_compose_files_have_the_health_check_of_the_image() {
    let file = read("Containerfile");
    for compose in ["compose.yaml", "compose-fleet.yaml"] {
        let compose = read(compose);
        let check = between(&compose, "  image: rollcast\n", "  restart:");
        let [interval, timeout, start] = ["interval", "timeout", "start_period"]
            .map(|key| between(check, &format!("{key}: "), "\n"));
        let test =
            between(check, "test: [CMD, ", "]").split(", ").map(|word| format!("\"{word}\""));
        let words = test.collect::<Vec<_>>().join(", ");
        let line = format!(
            "HEALTHCHECK --interval={interval} --timeout={timeout} --start-period={start} \
             CMD [{words}]"
        );
        assert!(file.lines().any(|other| other == line), "{line}");
    }
}

#[test]
fn the_compose_files_trust_the_network_of_their_proxy_and_no_other() {
    let guide = fs::read_to_string(project().join("deploy/README.md")).unwrap();
    let networks: Vec<(&str, &str)> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("    podman network create --subnet "))
        .map(|rest| rest.split_once(' ').unwrap())
        .collect();
    let fleet = ",fleet={servers=[\"nats://nats1\",\"nats://nats2\",\"nats://nats3\"]}";
    let folder = tempfile::tempdir().unwrap();
    let check = |keys: &str| {
        let mut command = Command::new(ROLLCAST);
        run(command.arg("check").current_dir(&folder).env("ROCKET_ROLLCAST", keys))
    };
    let files = ["compose.yaml", "compose-fleet.yaml"].into_iter().zip(["", fleet]);
    assert_eq!(networks.len(), 2);
    for ((network, name), (compose, more)) in networks.into_iter().zip(files) {
        let compose = read(compose);
        assert_eq!(between(&compose, "    external: true\n    name: ", "\n"), name);
        let keys = between(&compose, "ROCKET_ROLLCAST: '", "'");
        assert_eq!(keys, format!("{{trusted_proxies=[\"{network}\"]{more}}}"));
        // Without its servers, a fleet cannot be reached.
        let keys = keys.replace(fleet, "");
        let (code, output) = check(&keys);
        assert_eq!(code, 0, "{output}");
        assert_ne!(check(&keys.replace("/24", "/33")).0, 0);
    }
}

#[test]
fn each_server_of_the_fleet_has_its_own_name_and_each_container_its_own_volume() {
    let compose = read("compose-fleet.yaml");
    let service = |name: String| -> String {
        let heading = format!("  {name}:");
        let lines = compose.lines().skip_while(|line| *line != heading).skip(1);
        lines.take_while(|line| line.starts_with("    ")).map(|line| format!("{line}\n")).collect()
    };
    for n in 1..=3 {
        let server = service(format!("nats{n}"));
        assert!(server.contains(&format!("environment: {{NAME: nats{n}}}\n")), "{server}");
        assert!(server.contains(&format!("\"nats{n}:/data\"")), "{server}");
        let node = service(format!("rollcast{n}"));
        assert!(node.contains(&format!("\"rolls{n}:/var/lib/rollcast\"")), "{node}");
        assert!(compose.contains(&format!("\n  rolls{n}: {{external: true, ")), "{compose}");
    }
    // The guide creates these volumes.
    let guide = fs::read_to_string(project().join("deploy/README.md")).unwrap();
    let volume = between(&guide, "--interactive --volume ", "$n:/var/lib/rollcast");
    assert_eq!(compose.matches(&format!("name: {volume}")).count(), 3);
}
