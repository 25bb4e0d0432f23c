//! The modules that verify rolls, in Node: the test vectors, each also with one bit changed.

use std::path::PathBuf;
use std::process::Command;

#[test]
fn the_modules_pass_their_tests_in_node() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/scripts"));
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let is_test = |path: &PathBuf| path.to_string_lossy().ends_with(".test.mjs");
    let tests: Vec<PathBuf> = entries.filter(is_test).collect();
    assert!(!tests.is_empty(), "expected tests in {}", folder.display());
    let output = Command::new("node").arg("--test").args(tests).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "node ended with {}: {report}", output.status);
}
