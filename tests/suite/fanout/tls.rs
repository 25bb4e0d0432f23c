//! TLS at the door, and its certificate while the server runs.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::common::events::Stream;
use crate::common::{Door, Instance, TIMEOUT, run, wait_for};

use super::{Server, connect, read_until, rest, wait_for_cuts};

const TLS: &str = "fanout.tls = { certs = 'cert.pem', key = 'key.pem' }";

/// Writes a new self-signed certificate and its key. Returns the certificate.
fn write_certificate(folder: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    fs::write(folder.join("cert.pem"), &certificate).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    certificate
}

/// A server whose door speaks TLS, and its certificate.
fn secure(rollcast: &str) -> (Instance, Server, String) {
    let instance = Door::Fanout.instance(&format!("{TLS}\n{rollcast}"));
    let certificate = write_certificate(instance.path());
    let server = instance.start();
    (instance, server, certificate)
}

/// Opens a stream on a new connection of a client that trusts only this certificate.
fn open(instance: &Instance, certificate: &str, path: &str) -> Result<Stream, String> {
    let certificate = Certificate::from_pem(certificate.as_bytes()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[certificate])).build();
    let agent = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .build()
        .new_agent();
    let answer = agent.get(instance.url(path).replace("http://", "https://")).call();
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(Stream::read(answer.into_body().into_reader()))
}

fn wait_for_line(server: &Server, text: &str) -> String {
    wait_for(&format!("the log line `{text}`"), || {
        server.log().into_iter().find(|line| line.contains(text))
    })
}

#[test]
fn a_stream_over_tls_has_all_rolls_and_only_tls_is_spoken() {
    let (instance, mut server, certificate) = secure("every = '20ms'\nfanout.head_timeout = '1s'");
    wait_for_line(&server, &format!("listens on https://127.0.0.1:{}", instance.stream_port()));
    let mut stream = open(&instance, &certificate, "/stream/?after=0").unwrap();
    for (expected, (id, _)) in (1..).zip(stream.rolls(100)) {
        assert_eq!(id.split('-').next(), Some(&*expected.to_string()), "a gap or a repeat");
    }
    let other = write_certificate(&tempfile::tempdir().unwrap().keep());
    let error = open(&instance, &other, "/stream/").err().unwrap();
    assert!(error.contains("UnknownIssuer") || error.contains("certificate"), "{error}");

    let plain = "GET /stream/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = rest(&mut connect(instance.stream_port(), plain));
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    // A handshake that never comes, and one that stays half.
    for bytes in [&[][..], &[0x16, 3, 1, 2, 0, 1]] {
        rest(&mut connect(instance.stream_port(), bytes));
    }
    // The refusal of the certificate counts as well.
    wait_for_cuts(&instance, &server, "handshake", 4);
    stream.rolls(10);
    server.stop();
    let last = stream.last().unwrap();
    assert_eq!(last.closing().as_deref(), Some("shutdown"), "{last:?}");
}

#[test]
fn a_sighup_reads_the_certificate_again_and_open_streams_continue() {
    let (instance, mut server, first) = secure("every = '20ms'");
    let mut stream = open(&instance, &first, "/stream/?after=0").unwrap();
    let mut rolls = stream.rolls(10);
    let second = write_certificate(instance.path());
    // Control: new files change nothing before the signal.
    assert!(open(&instance, &second, "/stream/").is_err());
    server.signal("HUP");
    wait_for_line(&server, "read the certificate of the fan-out door again");
    assert!(open(&instance, &first, "/stream/").is_err(), "the old certificate is still used");
    let mut new_stream = open(&instance, &second, "/stream/").unwrap();
    new_stream.rolls(3);

    // Files that cannot be used leave the certificate as it is.
    let key = instance.path().join("key.pem");
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let broken: [(Option<&str>, &str); 3] = [
        (Some("no key"), "rollcast.fanout.tls.key"),
        (Some(&other_key), "cannot use the key"),
        (None, "rollcast.fanout.tls.key"),
    ];
    for (n, (text, named)) in (1..).zip(broken) {
        match text {
            Some(text) => fs::write(&key, text).unwrap(),
            None => fs::remove_file(&key).unwrap(),
        }
        server.signal("HUP");
        let kept = || {
            let log = server.log();
            let kept = log.into_iter().filter(|line| line.contains("kept the old certificate"));
            let kept: Vec<String> = kept.collect();
            (kept.len() == n).then(|| kept[n - 1].clone())
        };
        let line = wait_for("the fault to be logged", kept);
        assert!(line.contains(named) && line.contains("ERROR"), "{line}");
        open(&instance, &second, "/stream/").unwrap().rolls(1);
    }
    rolls.extend(stream.rolls(50));
    new_stream.rolls(20);
    for (expected, (id, _)) in (1..).zip(rolls) {
        assert_eq!(id.split('-').next(), Some(&*expected.to_string()), "a gap or a repeat");
    }
    server.stop();
}

#[test]
fn a_sighup_during_a_start_with_tls_does_not_end_the_server() {
    let instance = Door::Fanout.instance(&format!("every = '1h'\n{TLS}"));
    let certificate = write_certificate(instance.path());
    // The next start counts these rolls, which takes a while.
    instance.fill(100_000, 1);
    let mut server = Server::spawn(&mut instance.command());
    wait_for("some rolls to be counted", || {
        let sql = "select count(*) from die_statistics";
        let n: i64 = instance.sqlite().query_row(sql, [], |row| row.get(0)).unwrap();
        (n > 0).then_some(())
    });
    let listens = |server: &Server| server.log().iter().any(|line| line.contains("listens on"));
    assert!(!listens(&server), "the start was over before the signal");
    server.signal("HUP");
    wait_for("the server to listen", || {
        assert!(!server.has_ended(), "{:#?}", server.log());
        listens(&server).then_some(())
    });
    let mut stream = open(&instance, &certificate, "/stream/?after=99999").unwrap();
    stream.rolls(2);
    server.stop();
}

#[test]
fn without_tls_a_sighup_stops_the_server_as_before() {
    let instance = Door::Fanout.instance("every = '20ms'");
    let mut server = instance.start();
    let mut stream = connect(instance.stream_port(), "GET /stream/ HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(&mut stream, "\nid: ");
    server.signal("HUP");
    assert!(server.wait().success(), "{:#?}", server.log());
    assert!(rest(&mut stream).contains("event: closing"));
}

/// The exit code and standard error of a server that cannot start.
fn failed_start(instance: &Instance) -> (i32, String) {
    let (code, _, stderr) = run(&mut instance.command());
    (code, stderr)
}

#[test]
fn a_start_with_files_that_cannot_be_used_fails_and_names_them() {
    let instance = Door::Fanout.instance(TLS);
    let path = |name: &str| instance.path().join(name);
    let check = |named: &[&str]| {
        let (code, stderr) = failed_start(&instance);
        assert_eq!(code, 1, "{stderr}");
        for text in named {
            assert!(stderr.contains(text), "expected {text} in {stderr}");
        }
    };
    write_certificate(instance.path());
    fs::remove_file(path("cert.pem")).unwrap();
    check(&["cert.pem` (rollcast.fanout.tls.certs)", "No such file"]);
    fs::write(path("cert.pem"), "no certificate").unwrap();
    check(&["cert.pem` (rollcast.fanout.tls.certs)", "got none"]);
    write_certificate(instance.path());
    fs::remove_file(path("key.pem")).unwrap();
    check(&["key.pem` (rollcast.fanout.tls.key)", "No such file"]);
    fs::write(path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    check(&["key.pem`", "cert.pem`", "(rollcast.fanout.tls)"]);
    // Control: files that belong together.
    write_certificate(instance.path());
    instance.start().stop();
}

#[test]
fn a_start_at_a_port_that_another_server_uses_fails_and_says_what_to_do() {
    let first = Door::Fanout.instance("every = '1h'");
    let mut server = first.start();
    let second = Instance::new(&format!("every = '1h'\nfanout.port = {}", first.stream_port()));
    let (code, stderr) = failed_start(&second);
    assert_eq!(code, 1, "{stderr}");
    let address = format!("cannot listen on 127.0.0.1:{} (rollcast.fanout)", first.stream_port());
    for text in [&*address, "stop the program that listens there", "rollcast.fanout.port"] {
        assert!(stderr.contains(text), "expected {text} in {stderr}");
    }
    // Control: once the port is free, the server starts.
    server.stop();
    second.start().stop();
}
