//! `rollcast lab`: its exit codes, its reports, and its server. What a client must do is tested in
//! `crates/lab/`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::commands::refusal;
use crate::common::{ROLLCAST, http, run, signal};

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(ROLLCAST);
    command.arg("lab").args(arguments);
    command
}

/// Runs cases with a client that connects, and reports another event than theirs.
fn run_wrong(arguments: &[&str]) -> Command {
    let script =
        format!("echo '{{\"data\":\"wrong\"}}'; exec {ROLLCAST} doctor --for 100ms \"$LAB_URL\"");
    let mut command = lab(&["run"]);
    command.args(arguments).args(["--", "sh", "-c", &script]);
    command
}

#[test]
fn a_client_that_breaks_a_rule_is_an_error_unless_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let known = folder.path().join("known");
    let (code, stdout, stderr) = run(&mut run_wrong(&["--cases", "p-basic"]));
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stdout.contains("event 1 was `wrong`, expected `hello`"), "{stdout}");
    assert!(stderr.contains("1 case: 0 ok, 1 fail a must"), "{stderr}");

    fs::write(&known, "p-basic # not yet\n").unwrap();
    let file = known.to_str().unwrap();
    let (code, stdout, stderr) = run(&mut run_wrong(&["--cases", "p-basic", "--known", file]));
    assert_eq!(code, 0, "{stdout}{stderr}");

    fs::write(&known, "p-basics\n").unwrap();
    let error = refusal(&mut run_wrong(&["--known", file]), 2);
    assert!(error.contains("`p-basics`") && error.contains("lab list"), "{error}");
    // What is not a must does not count.
    let (code, stdout, stderr) = run(&mut run_wrong(&["--cases", "p-1m"]));
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("p-1m (should)"), "{stdout}");
}

#[test]
fn a_command_that_never_connects_or_cannot_run_has_its_own_exit_code() {
    let error = refusal(&mut lab(&["run", "--cases", "p-basic", "--", "true"]), 3);
    assert!(error.contains("`true` never connected"), "{error}");
    let error = refusal(&mut lab(&["run", "--", "/no/such/client"]), 2);
    assert!(error.contains("cannot run `/no/such/client`"), "{error}");
    let error = refusal(&mut lab(&["run", "--cases", "x-*", "--", "true"]), 2);
    assert!(error.contains("`--cases x-*`"), "{error}");
    let (code, _, error) = run(&mut lab(&["run"]));
    assert!(code == 2 && error.contains("COMMAND"), "{error}");
}

#[test]
fn reports_are_json_and_junit_also_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("lab.xml");
    let cases = ["--cases", "p-basic,s-404", "--json", "-", "--junit", junit.to_str().unwrap()];
    let (code, stdout, stderr) = run(&mut run_wrong(&cases));
    assert_eq!(code, 1, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["summary"]["cases"], 2);
    assert_eq!(report["cases"][0]["case"], "p-basic");
    assert_eq!(report["cases"][0]["verdict"], "fails");
    assert_eq!(report["cases"][1]["verdict"], "differs");
    let xml = fs::read_to_string(junit).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    let error = refusal(&mut run_wrong(&["--json", "-", "--junit", "-"]), 2);
    assert!(error.contains("`--json -` and `--junit -`"), "{error}");

    let (code, list, _) = run(&mut lab(&["list", "--json"]));
    let list: Value = serde_json::from_str(&list).unwrap();
    assert!(code == 0 && list.as_array().unwrap().len() >= 120);
    let (_, table, _) = run(&mut lab(&["list"]));
    assert_eq!(table.lines().count(), list.as_array().unwrap().len());
}

#[test]
fn the_server_prints_its_address_serves_its_pages_and_stops_with_a_signal() {
    for (command, path) in [("serve", "/lab/"), ("browser", "/lab/browser")] {
        let mut child = lab(&[command, "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut url).unwrap();
        assert!(url.trim_end().ends_with(path), "{url}");
        let page = http().get(url.trim_end()).call().unwrap().body_mut().read_to_string().unwrap();
        assert!(page.contains("Event-stream lab"), "{page}");

        let port = url.split(['/', ':']).find(|part| part.parse::<u16>().is_ok()).unwrap();
        let error = refusal(&mut lab(&["serve", "--port", port]), 1);
        assert!(error.contains("cannot listen") && error.contains("--port"), "{error}");
        signal("TERM", child.id());
        assert!(child.wait().unwrap().success());
    }
}
