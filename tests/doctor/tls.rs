//! rollcast behind nginx with TLS.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::common::hand_server::HandServer;
use crate::common::sockets::forward;
use crate::nginx::Nginx;
use crate::{doctor, doctor_of, rolling};

/// Far in the future.
pub const LATER: (i32, u8, u8) = (2090, 1, 1);

/// A folder with a self-signed certificate and its key, valid until a year, month and day.
pub fn certificate_folder(name: &str, (year, month, day): (i32, u8, u8)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(vec![name.into()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, month, day);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    folder
}

/// The doctor's report, with the certificate trusted or not.
fn report(folder: TempDir, is_trusted: bool, changes: &[(&str, &str)]) -> crate::Report {
    let (instance, _server) = rolling("every = '100ms'");
    let certificate = folder.path().join("cert.pem");
    let certificate = certificate.to_str().unwrap().to_owned();
    let nginx = Nginx::start_tls(folder, instance.port(), changes);
    let url = format!("https://localhost:{}/", nginx.port());
    let mut arguments = vec!["--for", "4"];
    if is_trusted {
        arguments.extend(["--cafile", &certificate]);
    }
    doctor(&url, &arguments)
}

#[test]
fn tls_with_http2_has_no_fault() {
    let report = report(certificate_folder("localhost", LATER), true, &[]);
    report.assert_no_fault();
    assert_eq!(report.all("note"), [""; 0], "{:#}", report.json);
    assert!(report.finding("connections").1.contains("HTTP/2"));
}

#[test]
fn tls_without_http2_is_a_fault() {
    let report = report(certificate_folder("localhost", LATER), true, &[(" ssl http2;", " ssl;")]);
    report.assert_faults(&["connections"], "`http2 on;`");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_a_fault() {
    let report = report(certificate_folder("localhost", LATER), false, &[]);
    report.assert_faults(&["tls"], "fullchain.pem");
    // The other checks run all the same.
    assert_eq!(report.finding("buffering").0, "fine");
}

#[test]
fn a_certificate_that_has_expired_is_a_fault() {
    let report = report(certificate_folder("localhost", (2021, 1, 1)), true, &[]);
    report.assert_faults(&["tls"], "renew the certificate");
}

#[test]
fn a_certificate_that_expires_soon_is_a_note() {
    let end = jiff::Zoned::now().date() + jiff::Span::new().days(8);
    let (month, day) = (end.month().unsigned_abs(), end.day().unsigned_abs());
    let report =
        report(certificate_folder("localhost", (end.year().into(), month, day)), true, &[]);
    report.assert_no_fault();
    assert_eq!(report.all("note"), ["tls"], "{:#}", report.json);
}

#[test]
fn a_redirect_from_http_to_a_certificate_of_an_unknown_authority_is_a_fault() {
    let (instance, _server) = rolling("every = '100ms'");
    let secure = Nginx::start_tls(certificate_folder("localhost", LATER), instance.port(), &[]);
    let redirect = format!("return 301 https://localhost:{}/; }}", secure.port());
    let plain = Nginx::start(instance.port(), &[("proxy_pass http://app;\n        }", &redirect)]);
    let report = doctor(&plain.url("/"), &["--for", "1"]);
    report.assert_faults(&["tls"], "fullchain.pem");
}

#[test]
fn a_certificate_of_another_name_is_a_fault() {
    let report = report(certificate_folder("dice.example.org", LATER), true, &[]);
    report.assert_faults(&["tls"], "`server_name`");
}

/// A proxy that opens tunnels. All of them lead to `port` of this machine. It keeps the first lines of
/// the requests.
fn tunnel_to(port: u16) -> (HandServer, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = lines.clone();
    let proxy = HandServer::raw(move |_, mut client| {
        let mut head = BufReader::new(client.try_clone()?).lines();
        kept.lock().unwrap().extend(head.next().transpose()?);
        head.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        let server = TcpStream::connect(("127.0.0.1", port))?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        forward(client, server)
    });
    (proxy, lines)
}

#[test]
fn a_server_is_examined_and_read_through_the_tunnel_of_a_proxy() {
    let (instance, _server) = rolling("every = '100ms'");
    // Only the proxy knows where that is.
    let folder = certificate_folder("dice.invalid", LATER);
    let certificate = folder.path().join("cert.pem").display().to_string();
    let nginx = Nginx::start_tls(folder, instance.port(), &[]);
    let (proxy, lines) = tunnel_to(nginx.port());
    let command = |arguments: &[&str]| {
        let mut command = instance.command();
        command.args(arguments).args(["https://dice.invalid/", "--cafile", &certificate]);
        command.env("https_proxy", proxy.url("").replace("//", "//me:secret@"));
        command.env_remove("no_proxy").env_remove("NO_PROXY");
        command
    };
    let report = doctor_of(&mut command(&["doctor", "--json", "--for", "4"]));
    report.assert_no_fault();
    assert_eq!(report.all("note"), ["proxy"], "{:#}", report.json);
    let (_, saw, _) = report.finding("proxy");
    assert!(saw.contains("//me:***@") && saw.contains("(https_proxy)"), "{saw}");
    assert_eq!(report.finding("tls").0, "fine");
    assert!(report.finding("connections").1.contains("HTTP/2"));
    let exported = command(&["export"]).output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    let lines = lines.lock().unwrap();
    assert!(
        lines.len() > 5 && lines.iter().all(|l| l == "CONNECT dice.invalid:443 HTTP/1.1"),
        "{lines:?}"
    );
}

#[test]
fn tail_and_export_accept_an_authority_too() {
    let (instance, _server) = rolling("every = '100ms'");
    let folder = certificate_folder("localhost", LATER);
    let certificate = folder.path().join("cert.pem").display().to_string();
    let nginx = Nginx::start_tls(folder, instance.port(), &[]);
    let url = format!("https://localhost:{}/", nginx.port());

    let export = |more: &[&str]| {
        instance.command().args(["export", &url, "--format", "ndjson"]).args(more).output().unwrap()
    };
    let refused = export(&[]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && error.contains("certificate"), "{error}");
    let exported = export(&["--cafile", &certificate]);
    assert!(exported.status.success(), "{exported:?}");

    let mut tail = instance.command();
    tail.args(["tail", &url, "--json", "--after", "0", "--cafile", &certificate]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let n_exported = exported.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert!(n_exported > 0);
    let followed: Vec<String> = lines.take(n_exported).map(Result::unwrap).collect();
    tail.kill().unwrap();
    tail.wait().unwrap();
    let exported = String::from_utf8(exported.stdout).unwrap();
    assert_eq!(followed, exported.lines().collect::<Vec<_>>());

    let refused = instance.command().args(["tail", &url, "--cafile", "no.pem"]).output().unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && error.contains("no.pem"), "{error}");
}
