//! Prometheus and promtool with the delivered alerts and the metrics of a real server.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use serde_json::Value;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, ROLLCAST, Server, TIMEOUT, free_port, http, wait_for};
use crate::files::project;
use crate::program::{Daemon, run, run_well};

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

fn rules() -> PathBuf {
    project().join("deploy/prometheus/rollcast.rules.yml")
}

/// The word after a prefix of a line, for all lines with this prefix.
fn named<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let rest = text.lines().filter_map(|line| line.trim().strip_prefix(prefix));
    rest.filter_map(|rest| rest.split(['`', ' ']).next()).collect()
}

/// A metric with one value a minute: those of the first hour, without a fault, and those after it,
/// with the fault. `a+bx59` means `a`, `a+b` and so on, 60 values.
/// <https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series>
type Series = (&'static str, &'static str, &'static str);

/// Each alert with its fault. Below, real faults cause all alerts except RollcastLogGrows and
/// RollcastMemory, which need much time and space, RollcastPanics, which needs a bug, and those of a
/// fleet.
const FAULTS: [(&str, &[Series]); 20] = [
    ("RollcastDown", &[("up", "1+0x59", "0+0x30")]),
    ("RollcastNotReady", &[("rollcast_ready", "1+0x59", "0+0x30")]),
    (
        "RollcastNoNewRoll",
        &[
            // Each roll is 33 s old, as far as a clock and three intervals allow.
            ("rollcast_newest_roll_timestamp_seconds", "-33+60x59", "3507+0x30"),
            ("rollcast_roll_interval_seconds", "1+0x59", "1+0x30"),
        ],
    ),
    ("RollcastAppendFailures", &[("rollcast_append_failures_total", "0+0x59", "1+1x30")]),
    ("RollcastPruneFailures", &[("rollcast_prune_failures_total", "0+0x59", "1+1x30")]),
    (
        "RollcastHistoryUnreadable",
        &[
            ("rollcast_rejected_total{reason=\"total\"}", "0+1x59", "60+1x30"),
            ("rollcast_rejected_total{reason=\"unreadable\"}", "0+0x59", "1+1x30"),
        ],
    ),
    (
        "RollcastDamagedRolls",
        &[
            ("rollcast_syncs_total{verdict=\"pruned\"}", "0+1x59", "60+1x30"),
            ("rollcast_syncs_total{verdict=\"unreadable\"}", "0+0x59", "1+1x30"),
        ],
    ),
    (
        "RollcastDiskSpace",
        &[
            ("rollcast_disk_free_bytes", "200+0x59", "199+0x30"),
            ("rollcast_disk_reserve_bytes", "100+0x59", "100+0x30"),
        ],
    ),
    ("RollcastLogGrows", &[("rollcast_log_bytes", "268435456+0x59", "268435457+0x30")]),
    (
        "RollcastStreamLimit",
        &[
            ("rollcast_streams_open", "900+0x59", "901+0x30"),
            ("rollcast_streams_limit", "1000+0x59", "1000+0x30"),
        ],
    ),
    (
        "RollcastOpenFiles",
        &[
            ("process_open_fds", "900+0x59", "901+0x30"),
            ("process_max_fds", "1000+0x59", "1000+0x30"),
        ],
    ),
    (
        "RollcastMemory",
        &[
            ("process_resident_memory_bytes", "300000000+0x59", "300000001+0x30"),
            ("rollcast_streams_open", "1000+0x59", "1000+0x30"),
        ],
    ),
    ("RollcastRestarts", &[("process_start_time_seconds", "5+0x59", "6+1x30")]),
    ("RollcastPanics", &[("rollcast_panics_total", "0+0x59", "1+0x30")]),
    ("RollcastUnfairDie", &[("rollcast_evidence_alarm{die=\"1D6\"}", "0+0x59", "1+0x30")]),
    ("RollcastNotFollowing", &[("rollcast_fleet_following", "1+0x59", "0+0x30")]),
    (
        "RollcastBehind",
        &[
            ("rollcast_fleet_behind", "150+0x59", "151+0x30"),
            ("rollcast_roll_interval_seconds", "0.2+0x59", "0.2+0x30"),
        ],
    ),
    ("RollcastReturnedRolls", &[("rollcast_fleet_returned_total", "0+0x59", "1+0x30")]),
    // The clock of this node is ahead, so the other node's timestamps are in its past.
    ("RollcastClockSkew", &[("rollcast_fleet_clock_skew_seconds", "-1+0x59", "-1.1+0x30")]),
    (
        "RollcastUnknownProposals",
        &[
            ("rollcast_fleet_proposals_total{outcome=\"lost\"}", "0+2x59", "120+2x30"),
            ("rollcast_fleet_proposals_total{outcome=\"unknown\"}", "0+1x59", "60+2x30"),
        ],
    ),
];

/// A test file for promtool: no alert fires in the first hour, and then `alert` does and no other.
fn unit_test(alert: &str, series: &[Series]) -> String {
    let labels = "job=\"rollcast\",instance=\"a\"";
    let mut inputs = String::new();
    for (name, before, after) in series {
        let name = match name.strip_suffix('}') {
            Some(name) => format!("{name},{labels}}}"),
            None => format!("{name}{{{labels}}}"),
        };
        inputs += &format!("      - {{series: '{name}', values: '{before} {after}'}}\n");
    }
    let firing = "count by (alertname) (ALERTS{alertstate=\"firing\"})";
    format!(
        "rule_files: ['{}']\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n\
         {inputs}    promql_expr_test:\n      \
         - {{expr: '{firing}', eval_time: 59m, exp_samples: []}}\n      \
         - {{expr: '{firing}', eval_time: 85m, exp_samples: [{{labels: '{{alertname=\"{alert}\"}}', \
         value: 1}}]}}\n",
        rules().display()
    )
}

#[test]
fn each_alert_fires_at_its_threshold_and_is_quiet_before() {
    run_well(Command::new("promtool").args(["check", "rules"]).arg(rules()));
    let text = fs::read_to_string(rules()).unwrap();
    let expected = FAULTS.map(|(alert, _)| alert);
    assert_eq!(named(&text, "- alert: "), expected, "the alerts (left), the faults here (right)");
    let documents = fs::read_to_string(project().join("docs/metrics.md")).unwrap();
    assert_eq!(named(&documents, "| `Rollcast"), expected.map(|alert| &alert["Rollcast".len()..]));

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(format!("{name}.yml"));
    for (alert, series) in FAULTS {
        fs::write(path(alert), unit_test(alert, series)).unwrap();
    }
    let mut promtool = Command::new("promtool");
    run_well(promtool.args(["test", "rules"]).args(FAULTS.map(|(alert, _)| path(alert))));
    // Control: the fault is missing.
    let healthy = unit_test("RollcastDown", &[("up", "1+0x59", "1+0x30")]);
    fs::write(path("control"), healthy).unwrap();
    let (code, output) = run(Command::new("promtool").args(["test", "rules"]).arg(path("control")));
    assert!(code != 0 && output.contains("FAILED"), "{code}: {output}");
}

/// A Prometheus that scrapes one server every second.
struct Prometheus {
    port: u16,
    /// The program is stopped before its folder is deleted.
    _program: Daemon,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it with the delivered rules, but alerts fire at once, and 5 s after the last roll.
    /// Waits until it has scraped a server without a fault.
    fn start(instance: &Instance) -> Prometheus {
        let delivered = fs::read_to_string(rules()).unwrap();
        let lines: Vec<String> = delivered
            .lines()
            .filter(|line| !line.trim().starts_with("for: "))
            .map(|line| line.replace("_interval_seconds + 30", "_interval_seconds + 5"))
            .collect();
        let quick = lines.join("\n");
        assert!(quick.contains(" + 5\n") && !quick.contains(" + 30\n"), "{quick}");

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("rollcast.rules.yml"), quick).unwrap();
        // The head of the rules shows the other lines of the configuration.
        let shown = delivered.lines().filter_map(|line| line.strip_prefix("#   "));
        let shown = shown.collect::<Vec<_>>().join("\n");
        let target = format!("127.0.0.1:{}", instance.port());
        assert!(shown.contains("127.0.0.1:5000"), "{shown}");
        let global =
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 200ms}";
        let config = format!("{global}\n{}\n", shown.replace("127.0.0.1:5000", &target));
        fs::write(path("prometheus.yml"), config).unwrap();
        run_well(Command::new("promtool").args(["check", "config"]).arg(path("prometheus.yml")));

        let port = free_port();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", path("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", path("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let program = Daemon::spawn(&mut command);
        let prometheus = Prometheus { port, _program: program, _folder: folder };
        wait_for("scrapes of a server without a fault", || {
            let is_scraped =
                !prometheus.query("count_over_time(rollcast_ready[1m]) > 2").is_empty();
            (is_scraped && prometheus.query("ALERTS").is_empty()).then_some(())
        });
        prometheus
    }

    fn query(&self, expression: &str) -> Vec<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let answer = http().get(url).query("query", expression).call();
        let text = answer.ok().and_then(|mut answer| answer.body_mut().read_to_string().ok());
        let json: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
        json["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    fn is_firing(&self, alert: &str) -> bool {
        !self.query(&format!("ALERTS{{alertname='{alert}',alertstate='firing'}}")).is_empty()
    }

    fn wait_for(&self, alert: &str) {
        wait_for(alert, || self.is_firing(alert).then_some(()));
    }

    fn wait_for_the_end_of(&self, alert: &str) {
        wait_for(&format!("the end of {alert}"), || (!self.is_firing(alert)).then_some(()));
    }
}

fn n_open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// A stream after the roll of this id.
fn stream_after(instance: &Instance, id: i64) -> Stream {
    let ask = Ask { last_event_id: Some(&id.to_string()), ..Ask::default() };
    Stream::open(&instance.url("/stream/"), ask).unwrap()
}

#[test]
fn prometheus_alerts_on_the_faults_of_a_running_server() {
    let instance = Instance::new("every = '50ms'\nkeep = 3000\nmax_streams = 10");
    instance.fill(4_000, 1);
    let mut few_files = Command::new("sh");
    few_files.args(["-c", "ulimit -n 100; exec \"$0\"", ROLLCAST]).current_dir(instance.path());
    let server = instance.start_with(&mut few_files);
    let prometheus = Prometheus::start(&instance);

    let n_before = n_open_files(&server);
    let streams: Vec<Stream> =
        (0..10).map(|_| Stream::open(&instance.url("/stream/"), Ask::default()).unwrap()).collect();
    prometheus.wait_for("RollcastStreamLimit");
    drop(streams);

    // The first streams may have opened connections to the database, which stay open.
    wait_for("the end of the streams", || (n_open_files(&server) <= n_before + 3).then_some(()));
    // Connections without a request. A few files stay free for scrapes.
    let connections: Vec<TcpStream> =
        (n_open_files(&server)..95).map(|_| instance.connect()).collect();
    prometheus.wait_for("RollcastOpenFiles");
    drop(connections);

    let outside = Connection::open(instance.database()).unwrap();
    outside.busy_timeout(TIMEOUT).unwrap();
    let trigger = "create trigger no_delete before delete on rolls
                   begin select raise(abort, 'not now'); end";
    outside.execute_batch(trigger).unwrap();
    prometheus.wait_for("RollcastPruneFailures");
    outside.execute_batch("drop trigger no_delete").unwrap();
    assert!(!prometheus.is_firing("RollcastNotReady"));

    outside.execute_batch("alter table rolls rename to elsewhere").unwrap();
    for alert in ["RollcastNotReady", "RollcastAppendFailures", "RollcastNoNewRoll"] {
        prometheus.wait_for(alert);
    }
    // The rolls after this one are too old for the memory.
    stream_after(&instance, 2_500).frames(1);
    prometheus.wait_for("RollcastHistoryUnreadable");
    outside.execute_batch("alter table elsewhere rename to rolls").unwrap();
    for alert in ["RollcastNotReady", "RollcastNoNewRoll"] {
        prometheus.wait_for_the_end_of(alert);
    }
}

#[test]
fn prometheus_alerts_on_faults_between_restarts() {
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    let prometheus = Prometheus::start(&instance);
    server.kill();
    prometheus.wait_for("RollcastDown");

    let outside = Connection::open(instance.database()).unwrap();
    let damage = "drop trigger refuse_unreadable_insert;
                  insert into rolls (rolled_at, dice) values ('garbage', '{}')";
    outside.execute_batch(damage).unwrap();
    let damaged = outside.last_insert_rowid();
    let loaded = "insert into rolls (rolled_at, dice)
                  with recursive n(n) as (values (1) union all select n + 1 from n where n < 200)
                  select strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), json_object('1D6', 3) from n";
    outside.execute_batch(loaded).unwrap();
    drop(outside);
    server = instance.start();
    prometheus.wait_for("RollcastUnfairDie");
    prometheus.wait_for_the_end_of("RollcastDown");
    stream_after(&instance, damaged - 2).rolls(2);
    prometheus.wait_for("RollcastDamagedRolls");
    assert!(!prometheus.is_firing("RollcastDiskSpace"));

    // No disk has a pebibyte free.
    server.kill();
    instance.configure("every = '50ms'\nreserve_mb = 1000000000");
    server = instance.start();
    prometheus.wait_for("RollcastDiskSpace");
    assert!(!prometheus.is_firing("RollcastRestarts"));

    server.kill();
    let _server = instance.start();
    prometheus.wait_for("RollcastRestarts");
}
