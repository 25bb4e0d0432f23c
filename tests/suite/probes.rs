//! The probes, the metrics, and the dashboard that draws the metrics.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use serde_json::Value;

use crate::common::events::{Ask, Stream};
use crate::common::{Door, Instance, http, wait_for};

fn get(url: &str, accept: &str) -> (u16, String, String) {
    let mut answer = http().get(url).header("Accept", accept).call().unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_string();
    (answer.status().as_u16(), content_type, answer.body_mut().read_to_string().unwrap())
}

/// All samples of `/metrics`, by name and labels.
pub fn metrics(instance: &Instance) -> BTreeMap<String, f64> {
    let (status, _, text) = get(&instance.url("/metrics"), "*/*");
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_string(), value.parse().unwrap())
    });
    samples.collect()
}

#[test]
fn metrics_have_the_format_that_the_client_prefers() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for (accept, expected) in [
        ("*/*", text),
        ("text/html, */*;q=0.8", text),
        ("text/plain;version=0.0.4", text),
        ("application/openmetrics-text;q=0.4, text/plain;version=0.0.4;q=0.5", text),
        ("application/openmetrics-text;version=9", text),
        ("application/openmetrics-text", open),
        // Prometheus 2.42.
        (
            "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            open,
        ),
        // Prometheus 3, which prefers names with characters that no metric here has.
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            text,
        ),
    ] {
        let (status, content_type, body) = get(&instance.url("/metrics"), accept);
        assert_eq!((status, content_type.as_str()), (200, expected), "{accept}");
        // Only the text format names a counter with its suffix.
        assert_eq!(body.contains("# TYPE rollcast_rolls_total counter\n"), expected == text);
        assert_eq!(body.contains("# TYPE rollcast_rolls counter\n"), expected == open);
        assert_eq!(body.contains("# UNIT "), expected == open);
        assert_eq!(body.ends_with("# EOF\n"), expected == open);
    }
}

#[test]
fn metrics_contain_what_alerts_compare() {
    let instance = Instance::new("every = '1h'\nmax_streams = 77\nreserve_mb = 3");
    let _server = instance.start();
    let metrics = wait_for("a roll", || {
        let metrics = metrics(&instance);
        metrics.contains_key("rollcast_newest_roll_timestamp_seconds").then_some(metrics)
    });
    let version = env!("CARGO_PKG_VERSION");
    for (name, expected) in [
        (&*format!("rollcast_build_info{{version=\"{version}\"}}"), 1.0),
        ("rollcast_ready", 1.0),
        ("rollcast_roll_interval_seconds", 3600.0),
        ("rollcast_streams_limit", 77.0),
        ("rollcast_disk_reserve_bytes", f64::from(3 << 20)),
        // One roll tells nothing about a die.
        ("rollcast_evidence_log10{die=\"1D20\"}", 0.0),
        ("rollcast_evidence_alarm{die=\"1D20\"}", 0.0),
    ] {
        assert!((metrics[name] - expected).abs() < 1e-9, "{name} in {metrics:#?}");
    }
    let stored: jiff::Timestamp = instance.stored()[0].1.parse().unwrap();
    let newest = metrics["rollcast_newest_roll_timestamp_seconds"];
    assert!((newest - stored.as_millisecond() as f64 / 1e3).abs() < 1e-3, "{newest}, {stored}");
    assert!(metrics["process_start_time_seconds"] <= newest, "{metrics:#?}");
    assert!((1e6..1e9).contains(&metrics["process_resident_memory_bytes"]), "{metrics:#?}");
    let n_files = metrics["process_open_fds"];
    assert!(n_files > 5.0 && n_files < metrics["process_max_fds"], "{metrics:#?}");
}

#[test]
fn each_stream_is_an_open_file() {
    let instance = Instance::new("every = '20ms'");
    let _server = instance.start();
    let n_files = || metrics(&instance)["process_open_fds"];
    let before = n_files();
    let streams: Vec<Stream> =
        (0..50).map(|_| Stream::open(&instance.url("/stream/"), Ask::default()).unwrap()).collect();
    wait_for("50 open files more", || (n_files() >= before + 50.0).then_some(()));
    drop(streams);
    wait_for("them to be closed", || (n_files() < before + 25.0).then_some(()));
}

/// A metric as it is written in a query, its type, and its explanation.
type Explained = (String, String, String);

/// The metrics that `/metrics` explains, once there is a roll.
fn explained(instance: &Instance) -> BTreeSet<Explained> {
    let text = wait_for("a roll", || {
        let text = get(&instance.url("/metrics"), "application/openmetrics-text").2;
        // Counters are read last, so they may count a roll that the gauges do not know yet.
        let has_roll = !text.contains("rollcast_rolls_total 0\n");
        (has_roll && text.contains("\nrollcast_last_commit_timestamp_seconds ")).then_some(text)
    });
    explained_in(&text)
}

/// The metrics that an answer in the format OpenMetrics explains.
fn explained_in(text: &str) -> BTreeSet<Explained> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let explained = types.map(|(name, kind)| {
        let help = text.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        let help = help.unwrap_or_else(|| panic!("{name} is not explained: {text}"));
        assert!(help.ends_with('.') && !help.ends_with(".."), "{name}: {help}");
        let name = if kind == "counter" { format!("{name}_total") } else { name.into() };
        (name, kind.to_string(), help.to_string())
    });
    explained.collect()
}

/// Whether only a node of a fleet has the metric.
fn is_of_fleet(name: &str) -> bool {
    name.starts_with("rollcast_fleet_")
}

fn names(explained: &BTreeSet<Explained>) -> BTreeSet<String> {
    explained.iter().map(|(name, _, _)| name.clone()).collect()
}

fn project_file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn a_server_that_stores_rolls_is_healthy_and_ready() {
    let instance = Instance::new("every = '20ms'");
    let _server = instance.start();
    let answer = get(&instance.url("/healthz"), "*/*");
    assert_eq!((answer.0, answer.2.as_str()), (200, "healthy\n"));
    let answer = get(&instance.url("/readyz"), "*/*");
    assert_eq!((answer.0, answer.2.as_str()), (200, "ready\n"));
    let answer = get(&instance.url("/readyz"), "application/json");
    assert_eq!((answer.0, answer.2.as_str()), (200, r#"{"ready":true,"reasons":[]}"#));
    let head = http().head(instance.url("/readyz")).call().unwrap();
    assert_eq!(head.status(), 200);
}

#[test]
fn a_server_that_cannot_store_rolls_is_not_ready_and_says_why_until_it_can_again() {
    let instance = Instance::new("every = '20ms'");
    let _server = instance.start();
    wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch("begin immediate").unwrap();
    let text = wait_for("both reasons", || {
        let (status, _, text) = get(&instance.url("/readyz"), "*/*");
        let both = text.contains("no roll can be stored") && text.contains("no roll for");
        (status == 503 && both).then_some(text)
    });
    assert!(text.contains("database is locked"), "{text}");
    assert!(text.contains("expected one every 20ms"), "{text}");
    let (status, content_type, json) = get(&instance.url("/readyz"), "application/json");
    assert_eq!((status, content_type.as_str()), (503, "application/json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["ready"], false);
    assert!(json["reasons"][0].as_str().unwrap().contains("database is locked"), "{json}");
    let now = metrics(&instance);
    assert!(now["rollcast_append_failures_total"] >= 1.0);
    assert_eq!(now["rollcast_ready"], 0.0);
    let page = |path: &str, headers: &[(&str, &str)]| {
        let mut request = http().get(instance.url(path)).header("Accept", "text/html");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.call().unwrap().body_mut().read_to_string().unwrap()
    };
    // The live page says it in words for everybody.
    let live = page("/", &[]);
    assert!(live.contains("<p data-notice=\"stalled\">No new rolls since "), "{live}");
    assert!(!live.contains("database is locked"), "{live}");
    // Through a proxy, the probe says only what is wrong.
    for header in [
        ("X-Real-IP", "192.0.2.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 varnish"),
    ] {
        let text = page("/readyz", &[header]);
        assert!(text.contains("no roll can be stored"), "{text}");
        assert!(!text.contains("database is locked"), "{header:?}: {text}");
    }
    // The process still answers.
    assert_eq!(get(&instance.url("/healthz"), "*/*").0, 200);
    outside.execute_batch("rollback").unwrap();
    wait_for("the server to be ready again", || {
        (get(&instance.url("/readyz"), "*/*").0 == 200).then_some(())
    });
    wait_for("the metric", || (metrics(&instance)["rollcast_ready"] == 1.0).then_some(()));
}

#[test]
fn a_server_on_a_disk_that_is_nearly_full_is_not_ready() {
    // No disk has a pebibyte free.
    let instance = Instance::new("every = '20ms'\nreserve_mb = 1000000000");
    let _server = instance.start();
    let (status, _, text) = get(&instance.url("/readyz"), "*/*");
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("nearly full") && text.contains("expected 1000000000"), "{text}");
}

#[test]
fn metrics_count_rolls_commits_streams_and_deliveries() {
    let instance = Instance::new("every = '5ms'\nmax_streams = 8\nmax_streams_per_address = 100");
    instance.fill(50, 31);
    let _server = instance.start();
    let open = |id| {
        let ask = Ask { last_event_id: id, ..Ask::default() };
        Stream::open(&instance.url("/stream/"), ask).unwrap()
    };
    // One verdict each. The first two stay open, the others are closed.
    let mut live = open(None);
    live.rolls(200);
    let mut resumed = open(Some("40"));
    resumed.rolls(200);
    open(Some("10")).rolls(30);
    open(Some("999999999")).rolls(1);
    open(Some("x")).rolls(1);
    let full = wait_for("a stream to be refused", || {
        // The server notices closed streams with the next roll.
        let mut streams: Vec<Stream> = (0..7).map(|_| open(None)).collect();
        let refused = streams
            .iter_mut()
            .any(|stream| stream.take(2).any(|frame| format!("{frame:?}").contains("busy")));
        refused.then(|| metrics(&instance))
    });
    for verdict in ["live", "resumed", "pruned", "unknown", "malformed"] {
        let name = format!("rollcast_syncs_total{{verdict=\"{verdict}\"}}");
        assert!(full[&name] >= 1.0, "{name} in {full:#?}");
    }
    assert!(full["rollcast_rejected_total{reason=\"total\"}"] >= 1.0, "{full:#?}");
    assert_eq!(full["rollcast_rejected_total{reason=\"address\"}"], 0.0);
    assert_eq!(full["rollcast_rejected_total{reason=\"unreadable\"}"], 0.0);
    assert!(full["rollcast_deliveries_total"] >= 432.0, "{full:#?}");
    // 41 to 50 on the resumed stream, 31 to 50 on the pruned one.
    assert!(full["rollcast_replayed_total"] >= 30.0, "{full:#?}");
    assert!(full["rollcast_replayed_total"] < full["rollcast_deliveries_total"]);
    assert!((2.0..=8.0).contains(&full["rollcast_streams_open"]), "{full:#?}");
    assert_eq!(full["rollcast_append_failures_total"], 0.0);

    let stored = instance.stored().last().unwrap().0 as f64 - 50.0;
    let later = metrics(&instance);
    assert!(later["rollcast_rolls_total"] >= stored, "{stored} in {later:#?}");
    // One commit stores all rolls that came due during the previous one.
    assert!(later["rollcast_append_seconds_count"] >= 1.0);
    assert!(later["rollcast_append_seconds_count"] <= later["rollcast_rolls_total"]);
    assert!(later["rollcast_append_seconds_sum"] > 0.0);
    assert!(later["rollcast_commit_to_write_seconds_count"] >= 2.0, "{later:#?}");
    assert!(later["rollcast_commit_to_write_seconds_sum"] > 0.0);
    assert!(later["rollcast_database_bytes"] >= 4096.0);
    assert!(later["rollcast_log_bytes"] > 0.0);
    assert!(later["rollcast_disk_free_bytes"] > 0.0);
    for (name, value) in &full {
        let grows = name.contains("_total") || name.contains("_count");
        assert!(!grows || later[name] >= *value, "{name} went back from {value}: {later:#?}");
    }
}

#[test]
fn the_lag_of_a_client_that_does_not_read_is_measured() {
    let instance = Instance::new("every = '100ms'");
    // More than the kernel buffers for a client, which is up to 2.7 MB.
    instance.fill(80_000, 1);
    let _server = instance.start();
    let ask = Ask { last_event_id: Some("0"), ..Ask::default() };
    let unread = Stream::open(&instance.url("/stream/"), ask).unwrap();
    // Some of the rolls are sent, the others wait.
    wait_for("a lag", || {
        let lag = metrics(&instance)["rollcast_slowest_lag_rolls"];
        (lag > 100.0 && lag < 79_000.0).then_some(())
    });
    drop(unread);
    wait_for("the lag to end with its stream", || {
        (metrics(&instance)["rollcast_slowest_lag_rolls"] < 100.0).then_some(())
    });
}

#[test]
fn metrics_are_answered_without_the_disks_gauges_while_the_disk_cannot_be_read() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    let newest = "rollcast_newest_roll_timestamp_seconds";
    let all = wait_for("the first roll", || {
        Some(explained(&instance)).filter(|all| names(all).contains(newest))
    });
    let hidden = instance.path().join("hidden.db");
    std::fs::rename(instance.database(), &hidden).unwrap();
    // Control: the disk cannot be read.
    assert_eq!(get(&instance.url("/readyz"), "*/*").0, 503);
    let left_out: Vec<String> =
        names(&all).difference(&names(&explained(&instance))).cloned().collect();
    let expected = ["database_bytes", "disk_free_bytes", "log_bytes"];
    assert_eq!(left_out, expected.map(|name| format!("rollcast_{name}")));
    let now = metrics(&instance);
    assert_eq!((now["rollcast_rolls_total"], now["rollcast_ready"]), (1.0, 0.0));
    std::fs::rename(&hidden, instance.database()).unwrap();
    assert_eq!(explained(&instance), all);
}

/// The metrics that the documentation explains.
fn documented() -> BTreeSet<Explained> {
    let text = project_file("docs/metrics.md");
    let is_metric =
        |line: &&str| line.starts_with("| `rollcast_") || line.starts_with("| `process_");
    let rows = text.lines().filter(is_metric);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [name, kind, help] = cells[..] else { panic!("expected three cells in {row}") };
        (name.trim_matches('`').into(), kind.into(), help.into())
    })
    .collect()
}

#[test]
fn the_documentation_explains_each_metric_as_the_server_does() {
    // Some metrics exist only with a fan-out door.
    let instance = Door::Fanout.instance("every = '1h'");
    let _server = instance.start();
    let mut documented = documented();
    documented.retain(|(name, _, _)| !is_of_fleet(name));
    assert_eq!(documented, explained(&instance), "documented (left) and served (right)");
}

#[test]
fn the_documentation_explains_each_metric_of_a_fleet_as_the_server_does() {
    // No NATS server answers, so there is no roll of another node, and no clock to compare with.
    let fleet = "every = '1h'\n[default.rollcast.fleet]\nservers = ['nats://127.0.0.1:1']";
    let instance = Instance::new(fleet);
    let _server = instance.start();
    let text = get(&instance.url("/metrics"), "application/openmetrics-text").2;
    let (mut documented, mut served) = (documented(), explained_in(&text));
    documented.retain(|(name, _, _)| is_of_fleet(name) && !name.contains("clock_skew"));
    served.retain(|(name, _, _)| is_of_fleet(name));
    assert_eq!(documented, served, "documented (left) and served (right)");
}

#[test]
fn every_expression_of_the_dashboard_names_a_metric_and_every_metric_is_drawn() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    let dashboard: Value =
        serde_json::from_str(&project_file("deploy/grafana/rollcast.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert!(dashboard["id"].is_null(), "an id belongs to one Grafana alone");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let is_metric = |word: &&str| word.starts_with("rollcast_") || word.starts_with("process_");
    let mut drawn = BTreeSet::new();
    for panel in panels {
        let place = &panel["gridPos"];
        let right = place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap();
        assert!(right <= 24, "{panel} leaves the grid");
        assert!(!panel["title"].as_str().unwrap().is_empty());
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            let expr = target["expr"].as_str().unwrap();
            let opened = expr.matches(['(', '{', '[']).count();
            assert_eq!(opened, expr.matches([')', '}', ']']).count(), "{expr}");
            let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let names: Vec<&str> = words.filter(is_metric).collect();
            assert!(!names.is_empty(), "{expr} names no metric");
            drawn.extend(names.iter().map(|name| name.trim_end_matches("_bucket").to_string()));
        }
    }
    let (of_fleet, drawn): (BTreeSet<String>, BTreeSet<String>) =
        drawn.into_iter().partition(|name| is_of_fleet(name));
    assert_eq!(drawn, names(&explained(&instance)), "drawn (left) and served (right)");
    let mut documented = names(&documented());
    documented.retain(|name| is_of_fleet(name));
    assert_eq!(of_fleet, documented, "drawn (left) and documented (right)");
}
