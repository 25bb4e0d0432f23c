//! rollcast's fan-out door: by its page, by its own address, and with each mistake that is likely.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use tempfile::TempDir;

use crate::common::hand_server::HandServer;
use crate::common::sockets::forward;
use crate::common::{Door, Instance, ROLLCAST, Server, wait_for};
use crate::tls::{LATER, certificate_folder};
use crate::{Report, doctor};

/// A server whose door has these lines, with a certificate for `localhost` if it speaks TLS.
struct Site {
    instance: Instance,
    _server: Server,
    folder: TempDir,
}

fn site(fanout: &str) -> Site {
    let instance = Door::Fanout.instance("");
    let folder = certificate_folder("localhost", LATER);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let files = format!("{{ certs = '{}', key = '{}' }}", path("cert.pem"), path("key.pem"));
    let fanout = fanout.replace("@FILES@", &files);
    let fanout = fanout.replace("@PORT@", &instance.stream_port().to_string());
    instance.configure(&format!("every = '100ms'\n{fanout}"));
    let server = instance.start();
    wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
    Site { instance, _server: server, folder }
}

const TLS: &str = "fanout.tls = @FILES@\nfanout.public_url = 'https://localhost:@PORT@'\n";

impl Site {
    /// The URL of the page.
    fn page(&self) -> String {
        format!("http://127.0.0.1:{}/", self.instance.port())
    }

    /// A URL at the door.
    fn at_door(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.instance.stream_port())
    }

    /// The doctor's report, by a browser that trusts the certificate.
    fn examine(&self, url: &str) -> Report {
        let certificate = self.folder.path().join("cert.pem").display().to_string();
        doctor(url, &["--for", "3", "--timeout", "5", "--cafile", &certificate])
    }
}

#[test]
fn a_page_whose_stream_is_at_the_door_has_no_fault() {
    let site = site(TLS);
    let report = site.examine(&site.page());
    report.assert_no_fault();
    assert_eq!(report.all("note"), [""; 0], "{:#}", report.json);
    assert_eq!(report.json["stream"], site.at_door("https", "/stream/"));
    for (check, saw) in [
        ("tls", "valid"),
        ("connections", "pages load from another address"),
        ("redirect", "opens https://localhost:"),
        ("proofs", "the checkpoint covers"),
        ("roller", "rolls are due every 100ms"),
    ] {
        let (verdict, seen, _) = report.finding(check);
        assert!(verdict == "fine" && seen.contains(saw), "{check}: {seen}");
    }
}

#[test]
fn the_address_of_the_door_itself_has_no_fault() {
    let site = site(TLS);
    for path in ["/stream/", "/"] {
        let report = site.examine(&site.at_door("https", path));
        report.assert_no_fault();
        assert_eq!(report.all("note"), [""; 0], "{path}: {:#}", report.json);
        // From the machine itself, and without a page.
        assert_eq!(report.all("unknown"), ["address", "proofs"], "{path}: {:#}", report.json);
        assert_eq!(report.json["rollcast"], true);
    }
}

#[test]
fn a_certificate_that_browsers_refuse_at_the_door_is_a_fault() {
    let site = site(TLS);
    for url in [site.page(), site.at_door("https", "/stream/")] {
        let report = doctor(&url, &["--for", "1"]);
        report.assert_faults(&["tls"], "rollcast: `tls` in `[default.rollcast.fanout]`");
    }
}

#[test]
fn a_public_url_where_nothing_listens_is_a_fault() {
    let elsewhere = crate::common::free_port();
    let site = site(&format!("fanout.public_url = 'http://localhost:{elsewhere}'"));
    let report = site.examine(&site.page());
    report.assert_faults(&["answer"], "where `public_url` says");
}

#[test]
fn a_door_that_expects_the_proxy_protocol_in_vain_is_a_fault() {
    let plain = "fanout.proxy_protocol = true\nfanout.public_url = 'http://localhost:@PORT@'";
    let remedy = "`proxy_protocol = true` if the proxy in front sends the PROXY protocol";
    let site = site(plain);
    site.examine(&site.page()).assert_faults(&["answer"], remedy);
    site.examine(&site.at_door("http", "/stream/")).assert_faults(&["page", "answer"], remedy);
}

#[test]
fn the_same_with_tls_is_no_report_but_an_error_that_says_why() {
    let site = site(&format!("{TLS}fanout.proxy_protocol = true"));
    let page = site.examine(&site.page());
    page.assert_faults(&["answer"], "`proxy_protocol = true`");
    let mut command = Command::new(ROLLCAST);
    command.current_dir("/").args(["doctor", &site.at_door("https", "/stream/")]);
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("closes the connection") && error.contains("`proxy_protocol"),
        "{error}"
    );
}

/// A proxy that forwards TCP to a port of this machine, and names its client.
fn naming_proxy(port: u16) -> HandServer {
    HandServer::raw(move |_, client| {
        let mut server = TcpStream::connect(("127.0.0.1", port))?;
        server.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 443\r\n")?;
        forward(client, server)
    })
}

#[test]
fn a_proxy_protocol_that_the_door_does_not_expect_is_a_fault() {
    let unaware = site("");
    let proxy = naming_proxy(unaware.instance.stream_port());
    let report = unaware.examine(&proxy.url("/stream/"));
    report.assert_faults(&["page", "answer"], "`proxy_protocol = true` if the proxy in front");
    assert!(report.finding("answer").1.contains("status 400"), "{:#}", report.json);
    // Control: a door that expects it.
    let aware = site("fanout.proxy_protocol = true");
    let proxy = naming_proxy(aware.instance.stream_port());
    aware.examine(&proxy.url("/stream/")).assert_no_fault();
}
