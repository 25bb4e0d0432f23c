//! Documents that must agree with the code: the tests that docs/reliability.md names, the modules
//! and dependencies that ARCHITECTURE.md names, and the version.

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
    let mut versions = changelog.lines().filter(|line| line.starts_with("## ["));
    let newest = versions.find(|line| *line != "## [Unreleased]").unwrap();
    assert!(newest.starts_with(&format!("## [{version}]")), "CHANGELOG.md starts with {newest}");
    let port = read("deploy/freebsd/port/Makefile");
    assert!(port.contains(&format!("DISTVERSION=\t{version}\n")), "{port}");
}

#[test]
fn every_path_on_the_architecture_page_exists_and_every_module_is_on_it() {
    let page = read("ARCHITECTURE.md");
    let code: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let paths = code.iter().filter(|text| text.contains('/') && !text.starts_with('/'));
    let paths: Vec<_> = paths.filter(|text| !text.contains(' ')).collect();
    assert!(paths.len() > 20, "expected the modules, found {paths:?}");
    let missing: Vec<_> = paths.iter().filter(|name| !path(name).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names files that do not exist: {missing:?}");

    let source = read("src/lib.rs");
    let modules =
        source.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let modules: Vec<_> = modules.collect();
    assert!(modules.len() > 15, "expected the modules of src/lib.rs, found {modules:?}");
    let starts = |module: &str| {
        let named = [format!("src/{module}.rs"), format!("src/{module}/")];
        code.iter().any(|text| named.iter().any(|start| text.starts_with(start)))
    };
    let unnamed: Vec<_> = modules.iter().filter(|module| !starts(module)).collect();
    assert!(unnamed.is_empty(), "add these modules to ARCHITECTURE.md: {unnamed:?}");
}

#[test]
fn dependencies_are_used_only_where_the_architecture_page_says() {
    let allowed = [
        ("rusqlite", &["src/store/"][..]),
        ("r2d2", &["src/store/"]),
        ("tiny_skia", &["src/web/pages/picture/"]),
        ("clap", &["src/cli/", "src/main.rs"]),
        ("ureq", &["crates/event-stream/"]),
        ("tera", &["src/web/pages/"]),
        ("rocket_dyn_templates", &["src/web/"]),
        ("prometheus_client", &["src/metrics/"]),
        ("async_nats", &["src/fleet/jetstream/", "src/config/fleet.rs"]),
        // The crates do not depend on rollcast.
        ("rollcast", &["src/main.rs"]),
    ];
    for (dependency, places) in allowed {
        let users = users_of(dependency);
        assert!(!users.is_empty(), "nothing uses `{dependency}`");
        let others: Vec<_> = users
            .iter()
            .filter(|user| !places.iter().any(|place| user.starts_with(place)))
            .collect();
        assert!(others.is_empty(), "only {places:?} may use `{dependency}`, but so do {others:?}");
    }
    // Control: a crate that many modules use.
    assert!(users_of("tokio").iter().any(|user| !user.starts_with("src/store/")));
}

/// The source files that contain a path into a crate.
fn users_of(dependency: &str) -> Vec<String> {
    let path_into = format!("{dependency}::");
    let uses = |text: &str| {
        text.match_indices(&path_into).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
        })
    };
    let mut users = Vec::new();
    let mut folders = vec![path("src"), path("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            // Public clients, which the lab judges: they depend on anything.
            if entry.ends_with("lab/adapters") {
                continue;
            }
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|end| end == "rs")
                && uses(&fs::read_to_string(&entry).unwrap())
            {
                let name = entry.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
                users.push(name.to_string_lossy().into_owned());
            }
        }
    }
    users
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
    has(&["#[test]".into(), "at_each_door!(".into()])
        && has(&[format!("fn {item}"), format!("mod {item}")])
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
