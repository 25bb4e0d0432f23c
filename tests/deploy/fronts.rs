//! rollcast behind Caddy, Apache, HAProxy and lighttpd: what the delivered files guarantee, and what
//! is missing without them. `proxy.rs` has the same for nginx, and more.

use std::process::Command;

use crate::common::events::Frame;
use crate::common::listener::{Behaviour, Listener, Seen};
use crate::common::{Instance, wait_for};
use crate::front::{Front, Kind};
use crate::program::run_well;
use crate::proxy::{arrives_at_once, as_event_source, head};

/// The client's address as rollcast sees it, for a client at 127.0.0.2, which is no trusted proxy.
fn seen_address(front: &Front, headers: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--head", "--interface", "127.0.0.2", &front.url("/stream/")]);
    for header in headers {
        curl.args(["--header", header]);
    }
    let head = run_well(&mut curl).to_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("rollcast-client: "));
    line.unwrap_or_else(|| panic!("no address in {head}")).trim().to_owned()
}

const FORGED: [&str; 3] =
    ["X-Real-IP: 6.6.6.6", "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6"];

/// The status of a request whose path is sent as it is written.
fn status(front: &Front, path: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--path-as-is", "--output", "/dev/null"]);
    run_well(curl.args(["--write-out", "%{http_code}", &front.url(path)]))
}

/// The doctor's faults, each with its change, and its notes.
fn doctor(instance: &Instance, url: &str, front: &Front) -> (Vec<(String, String)>, Vec<String>) {
    let mut command = instance.command();
    command.args(["doctor", url, "--json", "--for", "3s", "--timeout", "5s"]);
    let output = command.args(["--cafile", &front.certificate()]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{report:#}");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let all = |verdict: &str| {
        let findings = report["findings"].as_array().unwrap().iter();
        let those = findings.filter(|finding| finding["verdict"] == verdict);
        those.map(|finding| (text(&finding["check"]), text(&finding["change"]))).collect::<Vec<_>>()
    };
    assert_eq!(output.status.code(), Some(i32::from(!all("fault").is_empty())));
    (all("fault"), all("note").into_iter().map(|(check, _)| check).collect())
}

/// Checks everything that the delivered files of a proxy promise, with one server.
fn check_delivered(kind: Kind) {
    check_front(|port| Front::delivered(kind, port));
}

/// The same with any proxy in front of a port.
pub fn check_front(start: impl FnOnce(u16) -> Front) {
    let instance = Instance::new("every = '250ms'");
    let mut server = instance.start_rolling();
    let front = start(instance.port());

    arrives_at_once(&instance, front.url("/stream/")).unwrap();

    assert_eq!(seen_address(&front, &[]), "127.0.0.2");
    assert_eq!(seen_address(&front, &FORGED), "127.0.0.2");
    for header in FORGED {
        assert_eq!(seen_address(&front, &[header]), "127.0.0.2", "{header}");
    }

    for path in
        ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/metrics?x=/", "//%6detrics//"]
    {
        let status = status(&front, path);
        assert!(["403", "404"].contains(&&*status), "{path}: {status}");
    }
    assert_eq!(status(&front, "/"), "200");
    assert_eq!(status(&front, "/api/rolls"), "200");

    // Over TLS with HTTP/2, and the doctor finds nothing.
    assert_eq!(doctor(&instance, &front.tls_url("/"), &front), (vec![], vec![]));

    // A restart under open streams.
    let listeners: Vec<Listener> =
        (0..4).map(|_| Listener::start(front.url("/stream/"), Behaviour::HONEST)).collect();
    let all_received = |last: i64| {
        wait_for("rolls at every listener", || {
            let mut all = listeners.iter().map(Listener::received);
            all.all(|received| received.gave_up.is_some() || received.last() >= last).then_some(())
        });
    };
    all_received(head(&instance) + 2);
    server.stop();
    // An EventSource may reconnect now.
    match &as_event_source(&front.url("/stream/")).unwrap()[..] {
        [Frame::Retry(retry), closing] => {
            assert!((1_000..=5_000).contains(retry), "{retry}");
            assert_eq!(closing.closing().as_deref(), Some("unreachable"), "{closing:?}");
        }
        frames => panic!("expected a retry and a closing, got {frames:?}"),
    }
    for path in ["/stream/", "/", "/api/rolls"] {
        assert_eq!(status(&front, path), "503", "{path}");
    }
    let last = head(&instance);
    let _server = instance.start();
    all_received(last + 2);
    for listener in listeners {
        let received = listener.stop();
        assert_eq!(received.gave_up, None);
        let rolls: Vec<i64> = received.rolls.iter().map(Seen::number).collect();
        assert!(rolls.windows(2).all(|pair| pair[1] == pair[0] + 1), "{rolls:?}");
    }
}

/// Checks that the doctor faults a proxy with no more lines than it needs, and names this line.
/// Returns the names of all faults.
fn check_minimal(kind: Kind, line: &str) -> Vec<String> {
    let instance = Instance::new("every = '250ms'");
    let mut server = instance.start_rolling();
    let front = Front::minimal(kind, instance.port());
    let (faults, _) = doctor(&instance, &front.url("/"), &front);
    assert!(faults.iter().any(|(_, change)| change.contains(line)), "no `{line}` in {faults:?}");
    assert!(!faults.iter().any(|(_, change)| change.contains("nginx")), "{faults:?}");
    assert_eq!(status(&front, "/metrics"), "200");
    server.stop();
    let gave_up = as_event_source(&front.url("/stream/")).unwrap_err();
    assert!([502, 503].contains(&gave_up), "{gave_up}");
    faults.into_iter().map(|(check, _)| check).collect()
}

/// Checks that a forged address lifts no limit, also where the proxy passes it on.
fn check_that_no_forged_address_is_believed(kind: Kind) {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    let front = Front::minimal(kind, instance.port());
    assert_eq!(seen_address(&front, &[]), "127.0.0.2");
    assert_eq!(seen_address(&front, &FORGED), "unknown");
    assert_eq!(seen_address(&front, &FORGED[..1]), "unknown");
    assert_eq!(seen_address(&front, &FORGED[1..2]), "127.0.0.2");
}

#[test]
fn caddy_with_the_delivered_file_does_all_that_nginx_does() {
    check_delivered(Kind::Caddy);
}

#[test]
fn apache_with_the_delivered_files_does_all_that_nginx_does() {
    check_delivered(Kind::Apache);
}

#[test]
fn haproxy_with_the_delivered_file_does_all_that_nginx_does() {
    check_delivered(Kind::Haproxy);
}

#[test]
fn the_doctor_names_the_line_of_each_proxy_that_lacks_it() {
    let address = "`header_up X-Real-IP {remote_host}`";
    assert_eq!(check_minimal(Kind::Caddy, address), ["address"]);
    let address = "`RequestHeader set X-Real-IP expr=%{REMOTE_ADDR}`";
    assert_eq!(check_minimal(Kind::Apache, address), ["address"]);
    let address = "`http-request set-header X-Real-IP %[src]`";
    assert_eq!(check_minimal(Kind::Haproxy, address), ["address"]);
    let buffering = "`server.stream-response-body = 2`";
    let faults = check_minimal(Kind::Lighttpd, buffering);
    assert!(faults.contains(&"address".into()), "{faults:?}");
}

#[test]
fn a_forged_address_is_not_believed_behind_a_proxy_that_passes_it_on() {
    for kind in [Kind::Caddy, Kind::Apache, Kind::Lighttpd] {
        check_that_no_forged_address_is_believed(kind);
    }
}

#[test]
fn lighttpd_with_the_lines_of_the_guide_delivers_each_event_at_once() {
    let instance = Instance::new("every = '250ms'");
    let _server = instance.start_rolling();
    let front = Front::delivered(Kind::Lighttpd, instance.port());
    arrives_at_once(&instance, front.url("/stream/")).unwrap();
    assert_eq!(seen_address(&front, &FORGED), "127.0.0.2");
    let minimal = Front::minimal(Kind::Lighttpd, instance.port());
    let late = arrives_at_once(&instance, minimal.url("/stream/")).unwrap_err();
    assert!(late.contains("rolls were stored"), "{late}");
}

#[test]
fn caddy_ends_the_stream_to_rollcast_when_its_client_has_gone() {
    let instance = Instance::new("every = '250ms'\nheartbeat = '1s'");
    let _server = instance.start_rolling();
    let front = Front::delivered(Kind::Caddy, instance.port());
    let n_open = || {
        let metrics = crate::common::http().get(instance.url("/metrics")).call().unwrap();
        let metrics = metrics.into_body().read_to_string().unwrap();
        let open = metrics.lines().find_map(|line| line.strip_prefix("rollcast_streams_open "));
        open.unwrap().to_owned()
    };
    let listener = Listener::start(front.url("/stream/"), Behaviour::HONEST);
    wait_for("an open stream", || (n_open() == "1").then_some(()));
    listener.stop();
    wait_for("no open stream", || (n_open() == "0").then_some(()));
}
