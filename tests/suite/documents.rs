//! Documents that must agree with the code: the tests that docs/reliability.md names, and the
//! version.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_test_that_the_reliability_page_names_exists() {
    let named = tests_in(&read("docs/reliability.md"));
    assert!(named.len() > 20, "expected the table of the campaign, found {named:?}");
    let missing: Vec<&String> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names no test of tests/faults: {missing:?}");

    // Control: a name that no test has.
    assert!(!exists("kills::after_no_kill"));
    assert!(!exists("no_such_file"));
}

#[test]
fn every_row_of_the_campaign_is_on_the_reliability_page() {
    let named = tests_in(&read("docs/reliability.md"));
    let rows: BTreeSet<String> = files("tests/faults")
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let rows = text.split("test: \"").skip(1).map(|rest| rest.split('"').next().unwrap());
            rows.map(String::from).collect::<Vec<_>>()
        })
        .collect();
    assert!(rows.len() > 20, "expected the rows in tests/faults, found {rows:?}");
    let missing: Vec<&String> = rows.difference(&named).collect();
    assert!(missing.is_empty(), "add these rows to docs/reliability.md: {missing:?}");
}

#[test]
fn the_changelog_and_the_port_state_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("CHANGELOG.md");
    let newest = changelog.lines().find(|line| line.starts_with("## [")).unwrap();
    assert!(newest.starts_with(&format!("## [{version}]")), "CHANGELOG.md starts with {newest}");
    let port = read("deploy/freebsd/port/Makefile");
    assert!(port.contains(&format!("DISTVERSION=\t{version}\n")), "{port}");
}

/// The last column of the page's table: names as `cargo test --test faults` takes them.
fn tests_in(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_suffix("` |")?.rsplit_once("| `"));
    let names = rows.map(|(_, name)| name.to_owned());
    names.filter(|name| !name.contains(' ')).collect()
}

/// Whether tests/faults has a test whose path starts with `name`: a file, and the start of the name
/// of a function or module in it.
fn exists(name: &str) -> bool {
    let (file, item) = name.split_once("::").unwrap_or((name, ""));
    let Ok(text) = fs::read_to_string(path("tests/faults").join(file).with_extension("rs")) else {
        return false;
    };
    let has = |starts: &[String]| {
        text.lines().any(|line| starts.iter().any(|start| line.trim_start().starts_with(start)))
    };
    has(&["#[test]".into()]) && has(&[format!("fn {item}"), format!("mod {item}")])
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(path(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
