//! rollcast behind nginx with one line broken at a time. The doctor names the fault and the line.

use std::process::Command;

use rusqlite::Connection;

use crate::common::log_server::get;
use crate::common::{ROLLCAST, wait_for};
use crate::nginx::Nginx;
use crate::{Report, doctor, rolling};

/// The doctor's report on rollcast behind nginx with these changes, at ten rolls per second. That
/// is slow enough that a busy machine does not look like a proxy that buffers.
fn behind(changes: &[(&str, &str)]) -> Report {
    behind_at("100ms", changes)
}

fn behind_at(every: &str, changes: &[(&str, &str)]) -> Report {
    let (instance, _server) = rolling(&format!("every = '{every}'"));
    let nginx = Nginx::start(instance.port(), changes);
    let report = doctor(&nginx.url("/"), &["--for", "4", "--timeout", "10"]);
    println!("{:#}\n{}", report.json, nginx.log());
    report
}

#[test]
fn a_correct_site_has_no_fault() {
    let report = behind(&[]);
    report.assert_no_fault();
    assert_eq!(report.all("note"), ["connections"], "plain HTTP: {:#}", report.json);
    assert_eq!(report.all("unknown"), [""; 0], "{:#}", report.json);
    assert!(report.finding("address").1.contains("you are 127.0.0.1"));
}

#[test]
fn the_table_and_the_exit_code_agree_with_the_json() {
    let (instance, _server) = rolling("every = '100ms'");
    let nginx = Nginx::start(instance.port(), &[("gzip off;", "proxy_hide_header Content-Type;")]);
    let doctor = |url: &str| {
        let mut command = Command::new(ROLLCAST);
        let output = command.current_dir("/").args(["doctor", "--for", "1", url]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, table, stderr) = doctor(&nginx.url("/"));
    assert_eq!(code, Some(1));
    for text in ["FAULT    answer ", "-> nginx: ", "`proxy_hide_header Content-Type;`", "1 fault, "]
    {
        assert!(table.contains(text), "expected `{text}` in {table}");
    }
    assert!(!table.contains('\x1b'), "colours in a file: {table}");
    assert!(stderr.contains("1 fault at "), "{stderr}");
    assert!(!stderr.contains("watching"), "progress in a file: {stderr}");
    // TLS where there is none, a port where nothing listens, and invalid arguments.
    let (code, table, stderr) = doctor(&nginx.url("/").replace("http:", "https:"));
    assert_eq!((code, &*table), (Some(2), ""));
    assert!(stderr.contains("does not speak TLS"), "{stderr}");
    drop(nginx);
    let free = format!("http://127.0.0.1:{}/", crate::common::free_port());
    let (code, table, stderr) = doctor(&free);
    assert_eq!((code, &*table), (Some(2), ""));
    assert!(stderr.contains(&free) && stderr.contains("refused"), "{stderr}");
    for arguments in ["dice.example.org", "--for=0", "--streams=0", "--cafile=/no/such.pem"] {
        let mut command = Command::new(ROLLCAST);
        let output = command.args(["doctor", arguments, &free]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}");
    }
}

#[test]
fn a_proxy_that_buffers_is_a_fault() {
    // HTTP/1.0, which nginx uses by default, and rollcast's own header ignored. Frequent rolls
    // fill the buffer while the doctor watches.
    let ignoring = "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;";
    let report = behind_at("20ms", &[("proxy_buffering off;", ignoring)]);
    report.assert_faults(&["buffering"], "`proxy_buffering off;`");
}

#[test]
fn a_proxy_that_buffers_for_longer_than_the_doctor_watches_is_a_fault() {
    let (instance, _server) = rolling("every = '1h'");
    let ignoring = "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;";
    let nginx = Nginx::start(instance.port(), &[("proxy_buffering off;", ignoring)]);
    // By the URL of the page, and by that of the stream, which only a `HEAD` shows to be
    // rollcast's.
    for path in ["/", "/stream/"] {
        let report = doctor(&nginx.url(path), &["--for", "5", "--timeout", "5"]);
        report.assert_faults(&["buffering"], "`proxy_buffering off;`");
        assert_eq!(report.finding("address").0, "fine");
        assert_eq!(report.json["rollcast"], true);
    }
}

#[test]
fn a_stream_that_is_compressed_is_a_fault() {
    let report = behind(&[("gzip off;", "gzip_types text/event-stream;")]);
    report.assert_faults(&["compression"], "`gzip off;`");
}

#[test]
fn a_stream_that_is_cut_off_when_idle_is_a_fault() {
    let (instance, _server) = rolling("every = '1h'");
    let nginx =
        Nginx::start(instance.port(), &[("proxy_read_timeout 1h;", "proxy_read_timeout 2s;")]);
    let report = doctor(&nginx.url("/"), &["--for", "20"]);
    report.assert_faults(&["idle"], "`proxy_read_timeout 1h;`");
    let (_, saw, _) = report.finding("idle");
    let after = saw.split_once("after ").and_then(|(_, after)| after.split(' ').next());
    let after: f64 = after.and_then(|after| after.parse().ok()).unwrap_or_else(|| panic!("{saw}"));
    assert!((1.9..6.0).contains(&after), "{saw}");
}

#[test]
fn a_content_type_that_is_lost_is_a_fault() {
    let report = behind(&[("gzip off;", "proxy_hide_header Content-Type;")]);
    report.assert_faults(&["answer"], "`proxy_hide_header Content-Type;`");
}

#[test]
fn an_address_that_is_not_forwarded_and_can_be_forged_is_a_fault() {
    let report = behind(&[
        ("proxy_set_header X-Real-IP $remote_addr;", ""),
        ("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", ""),
    ]);
    report.assert_faults(&["address"], "`proxy_set_header X-Real-IP $remote_addr;`");
    assert!(report.finding("address").1.contains("yours is not forwarded"));
}

#[test]
fn an_address_that_is_only_in_a_list_can_be_forged_in_the_other_header_which_is_a_fault() {
    let report = behind(&[("proxy_set_header X-Real-IP $remote_addr;", "")]);
    report.assert_faults(&["address"], "`proxy_set_header X-Real-IP $remote_addr;`");
    assert!(!report.finding("address").1.contains("not forwarded"));
}

#[test]
fn an_address_that_is_not_forwarded_is_a_fault() {
    let report = behind(&[
        ("X-Real-IP $remote_addr", "X-Real-IP \"\""),
        ("X-Forwarded-For $proxy_add_x_forwarded_for", "X-Forwarded-For \"\""),
    ]);
    report.assert_faults(&["address"], "`proxy_set_header X-Real-IP $remote_addr;`");
    assert!(!report.finding("address").1.contains("believed"));
}

#[test]
fn an_address_that_can_be_forged_is_a_fault() {
    let everybody = "gzip off; set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For;";
    let report = behind(&[("gzip off;", everybody)]);
    report.assert_faults(&["address"], "`set_real_ip_from` only for proxies of your own");
}

#[test]
fn an_address_that_can_be_forged_by_the_header_of_another_network_is_a_fault() {
    let everybody = "gzip off; set_real_ip_from 0.0.0.0/0; real_ip_header CF-Connecting-IP;";
    let report = behind(&[("gzip off;", everybody)]);
    report.assert_faults(&["address"], "`set_real_ip_from` only for proxies of your own");
}

#[test]
fn the_address_of_an_untrusted_proxy_is_a_fault() {
    let report = behind(&[("gzip off;", "gzip off; proxy_bind 127.0.0.9;")]);
    report.assert_faults(&["address"], "`trusted_proxies`");
    assert!(report.finding("address").1.contains("127.0.0.9"));
}

#[test]
fn a_last_event_id_that_is_dropped_is_a_fault() {
    let headers = "gzip off; proxy_pass_request_headers off;
                   proxy_set_header Accept text/event-stream;
                   proxy_set_header X-Real-IP $remote_addr;";
    let report = behind(&[("gzip off;", headers)]);
    report.assert_faults(&["resume"], "`proxy_pass_request_headers off;`");
}

#[test]
fn a_stream_that_caches_may_store_is_a_fault() {
    let report = behind(&[("gzip off;", "gzip off; expires 1h;")]);
    report.assert_faults(&["cache"], "no `expires`");
}

#[test]
fn a_page_that_caches_may_store_is_a_fault() {
    let report = behind(&[("location / {", "location / { expires 1h;")]);
    // The checkpoint is below `/` too.
    report.assert_faults(&["page", "proofs"], "no `expires`");
}

#[test]
fn an_old_checkpoint_is_a_fault() {
    let (instance, _server) = rolling("every = '100ms'");
    let zone = "proxy_cache_path cache keys_zone=all:1m; limit_conn_zone";
    let cached = "location = /checkpoint {
                      proxy_pass http://app;
                      proxy_cache all;
                      proxy_ignore_headers Cache-Control;
                      proxy_cache_valid 200 1h;
                  }
                  location / {";
    let doctor = |changes: &[(&str, &str)]| {
        let nginx = Nginx::start(instance.port(), changes);
        wait_for("a checkpoint", || get(&nginx.url("/checkpoint")));
        doctor(&nginx.url("/"), &["--for", "8"])
    };
    let report = doctor(&[("limit_conn_zone", zone), ("location / {", cached)]);
    report.assert_faults(&["proofs"], "no `proxy_cache`");
    assert!(report.finding("proofs").1.contains("an old checkpoint: it covers "));
    doctor(&[]).assert_no_fault();
}

#[test]
fn a_tile_that_is_rewritten_or_limited_is_a_fault() {
    for (tile, saw) in [
        ("return 200 minified;", " has 8 bytes, expected "),
        ("return 429;", " has status 429"),
        ("return 404;", " has status 404"),
    ] {
        let report =
            behind(&[("location / {", &format!("location /tile/ {{ {tile} }} location / {{"))]);
        report.assert_faults(&["proofs"], "`proxy_pass` for `/checkpoint` and `/tile/`");
        assert!(report.finding("proofs").1.contains(saw), "{:#}", report.json);
    }
}

#[test]
fn a_stream_that_redirects_to_a_page_of_another_origin_is_a_fault() {
    let elsewhere = "return 302 http://localhost:@PORT@/;";
    let report = behind(&[("gzip off;", elsewhere)]);
    report.assert_faults(&["redirect", "answer"], "`proxy_pass` in the stream's location");
}

#[test]
fn an_allowed_origin_that_is_sent_twice_is_a_fault() {
    let twice = "gzip off; add_header Access-Control-Allow-Origin *;";
    let report = behind(&[("gzip off;", twice)]);
    report.assert_faults(&["cross-origin"], "no `add_header Access-Control-Allow-Origin`");
}

#[test]
fn too_few_connections_per_address_are_a_fault() {
    let report = behind(&[("gzip off;", "gzip off; limit_conn streams 4;")]);
    report.assert_faults(&["limit"], "`limit_conn`");
}

#[test]
fn too_few_connections_in_total_are_a_fault() {
    let report = behind(&[("worker_connections 256;", "worker_connections 14;")]);
    report.assert_faults(&["limit"], "`worker_connections`");
}

#[test]
fn too_few_streams_per_address_are_a_fault() {
    let (instance, _server) = rolling("every = '100ms'\nmax_streams_per_address = 4");
    let nginx = Nginx::start(instance.port(), &[]);
    let report = doctor(&nginx.url("/"), &["--for", "2"]);
    report.assert_faults(&["limit"], "`max_streams_per_address`");
    assert!(report.finding("limit").1.contains("4 streams per client address"));
}

#[test]
fn a_proxy_without_a_running_server_is_a_fault() {
    let nginx = Nginx::start(crate::common::free_port(), &[]);
    let report = doctor(&nginx.url("/"), &["--for", "2"]);
    report.assert_faults(&["page", "answer"], "is it running?");
    assert!(report.finding("answer").1.contains("status 502"));
}

#[test]
fn a_server_that_makes_no_rolls_is_a_fault() {
    let (instance, _server) = rolling("every = '100ms'");
    let nginx = Nginx::start(instance.port(), &[]);
    // Another process locks the database.
    let other = Connection::open(instance.database()).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let n_rolls = instance.stored().len();
    let report = doctor(&nginx.url("/"), &["--for", "4"]);
    assert_eq!(instance.stored().len(), n_rolls, "it stored a roll");
    report.assert_faults(&["roller"], "rollcast's log");
}

#[test]
fn rollcast_below_a_path_is_a_fault() {
    let (instance, _server) = rolling("every = '100ms'");
    let below = "location /dice/ { rewrite ^/dice/(.*)$ /$1 break;";
    let nginx = Nginx::start(instance.port(), &[("location / {", below)]);
    let report = doctor(&nginx.url("/dice/"), &["--for", "2"]);
    report.assert_faults(&["page"], "needs a host name or a port of its own");
}
