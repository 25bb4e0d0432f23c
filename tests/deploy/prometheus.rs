//! Prometheus and promtool with the metrics of a real server.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::{Instance, http, wait_for};

/// The exit code of `promtool check metrics`, and what it finds.
fn check_metrics(text: &str) -> (i32, String) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let found = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(found).unwrap())
}

#[test]
fn promtool_finds_no_fault_in_the_metrics() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
    let metrics = |accept: &str| {
        let answer = http().get(instance.url("/metrics")).header("Accept", accept).call();
        answer.unwrap().body_mut().read_to_string().unwrap()
    };
    let text = metrics("text/plain");
    assert_eq!(check_metrics(&text), (0, String::new()));
    // Controls: names without their suffix, and the other format.
    for faulty in [text.replace("_total", ""), metrics("application/openmetrics-text")] {
        let (code, found) = check_metrics(&faulty);
        assert!(code != 0 && !found.is_empty(), "{code}: {found}");
    }
}
