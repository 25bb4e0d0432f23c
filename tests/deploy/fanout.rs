//! The fan-out door behind nginx and HAProxy: as the place of `/stream/`, and behind TLS in TCP mode.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::events::{Frame, Stream};
use crate::common::{Door, Instance, free_port, http, let_others_read, wait_for};
use crate::files::Files;
use crate::front::{Front, HAPROXY_FANOUT, certificate};
use crate::nginx::{FANOUT, LOCATIONS, MAIN, Nginx};
use crate::program::{run, run_well};
use crate::proxy::{arrives_at_once, as_event_source, number};

/// Where Debian's package installs nginx's module for TCP.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
const FORGED: [&str; 3] =
    ["X-Real-IP: 6.6.6.6", "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6"];

/// A proxy that forwards TCP to a door.
struct Tunnel {
    url: String,
    certificate: String,
    /// Stops the proxy.
    _proxy: Box<dyn std::any::Any>,
}

/// nginx in TCP mode, with the delivered file after `edit`.
fn nginx_tunnel(instance: &Instance, edit: impl FnOnce(&mut Files)) -> Tunnel {
    let folder = tempfile::tempdir().unwrap();
    let_others_read(folder.path());
    certificate(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let port = free_port();
    let nginx = Nginx::start_with(instance.port(), |files| {
        let letsencrypt = "/etc/letsencrypt/live/example.com/";
        for (name, old, new) in [
            (FANOUT, "        listen [::]:8443 ssl;".into(), "#".into()),
            (FANOUT, "listen 8443 ssl;".into(), format!("listen 127.0.0.1:{port} ssl;")),
            (FANOUT, format!("{letsencrypt}fullchain.pem"), path("cert.pem")),
            (FANOUT, format!("{letsencrypt}privkey.pem"), path("key.pem")),
            (FANOUT, "127.0.0.1:5001".into(), format!("127.0.0.1:{}", instance.stream_port())),
            (MAIN, "http {".into(), "include rollcast-fanout.conf;\nhttp {".into()),
        ] as [(_, String, String); 6]
        {
            files.replace(name, &old, &new);
        }
        // The module may be part of the program instead.
        if Path::new(STREAM_MODULE).exists() {
            let module = format!("load_module {STREAM_MODULE};");
            files.replace(MAIN, "include modules-enabled/*.conf;", &module);
        }
        edit(files);
    });
    tunnel(port, path("cert.pem"), (nginx, folder))
}

/// HAProxy in TCP mode, with the delivered file after `edit`.
fn haproxy_tunnel(instance: &Instance, edit: impl FnOnce(&mut Files)) -> Tunnel {
    let (front, port) = Front::with_door(instance.port(), instance.stream_port(), edit);
    tunnel(port, front.certificate(), (front, ()))
}

fn tunnel<P: 'static>(port: u16, certificate: String, proxy: (P, impl Sized + 'static)) -> Tunnel {
    let url = format!("https://localhost:{port}/stream/");
    Tunnel { url, certificate, _proxy: Box::new(proxy) }
}

impl Tunnel {
    /// curl for a client at 127.0.0.2, which is no trusted proxy.
    fn curl(&self, arguments: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--ipv4", "--interface", "127.0.0.2"]);
        curl.args(["--cacert", &self.certificate, "--max-time", "30"]);
        curl.args(arguments).arg(&self.url);
        curl
    }

    /// The client's address as rollcast sees it; an error if there is no answer.
    fn seen_address(&self, headers: &[&str]) -> Result<String, String> {
        let headers = headers.iter().flat_map(|header| ["--header", header]);
        let arguments: Vec<&str> = ["--head"].into_iter().chain(headers).collect();
        let (code, head) = run(&mut self.curl(&arguments));
        let head = head.to_lowercase();
        let line = head.lines().find_map(|line| line.strip_prefix("rollcast-client: "));
        line.map(|address| address.trim().to_owned()).ok_or(format!("curl {code}: {head}"))
    }

    /// Opens the stream after a roll, or at the newest one.
    fn open(&self, after: Option<&str>) -> OpenStream {
        let header = after.map(|id| format!("Last-Event-ID: {id}"));
        let arguments = header.iter().flat_map(|header| ["--header", header]);
        let arguments: Vec<&str> = ["--no-buffer"].into_iter().chain(arguments).collect();
        let mut curl = self.curl(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        OpenStream { frames: Stream::read(curl.stdout.take().unwrap()), curl }
    }
}

/// A stream that curl reads.
struct OpenStream {
    curl: Child,
    frames: Stream,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

/// The ids of consecutive rolls.
fn ids(rolls: &[(String, String)]) -> Vec<i64> {
    rolls.iter().map(|(id, _)| number(id)).collect()
}

fn n_connections(instance: &Instance) -> String {
    let metrics = http().get(instance.url("/metrics")).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("rollcast_fanout_connections "));
    line.unwrap().to_owned()
}

#[test]
fn nginx_sends_streams_to_the_door_and_pages_to_rocket() {
    let instance = Door::Fanout.instance("every = '250ms'");
    let mut server = instance.start_rolling();
    let door = format!("http://127.0.0.1:{};", instance.stream_port());
    let nginx = Nginx::start_with(instance.port(), |files| {
        let line = "http://rollcast;     # the fan-out door: http://127.0.0.1:5001";
        files.replace(LOCATIONS, line, &door);
    });
    arrives_at_once(&instance, nginx.url("/stream/")).unwrap();
    wait_for("a connection of nginx", || (n_connections(&instance) != "0").then_some(()));
    assert_eq!(nginx.status("/"), 200);
    let address = |nginx: &Nginx| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--head", "--interface", "127.0.0.2", &nginx.url("/stream/")]);
        let head = run_well(curl.args(FORGED.map(|header| ["--header", header]).concat()));
        let head = head.to_lowercase();
        head.lines().find_map(|line| line.strip_prefix("rollcast-client: ").map(str::to_owned))
    };
    assert_eq!(address(&nginx).as_deref(), Some("127.0.0.2"));

    server.stop();
    match &as_event_source(&nginx.url("/stream/")).unwrap()[..] {
        [Frame::Retry(_), closing] => {
            assert_eq!(closing.closing().as_deref(), Some("unreachable"));
        }
        frames => panic!("expected a retry and a closing, got {frames:?}"),
    }
    // Control: the delivered file sends them to Rocket.
    let _server = instance.start();
    let nginx = Nginx::start(instance.port());
    arrives_at_once(&instance, nginx.url("/stream/")).unwrap();
    assert_eq!(n_connections(&instance), "0");
}

#[test]
fn haproxy_sends_streams_to_the_door_and_pages_to_rocket() {
    let instance = Door::Fanout.instance("every = '250ms'");
    let _server = instance.start_rolling();
    let (front, _) = Front::with_door(instance.port(), instance.stream_port(), |_| {});
    assert_eq!(n_connections(&instance), "0");
    let asked = http().get(front.url("/stream/")).header("Accept", "text/event-stream");
    let body = asked.call().unwrap().into_body().into_reader();
    assert!(Stream::read(body).frames(2)[1].sync().is_some());
    wait_for("a connection of HAProxy", || (n_connections(&instance) != "0").then_some(()));
    assert_eq!(http().get(front.url("/")).call().unwrap().status(), 200);
}

/// Checks a proxy in TCP mode: the client's address, each roll once, also after a resume and a
/// restart.
fn check_tunnel(start: fn(&Instance) -> Tunnel) {
    let instance = Door::Fanout.instance("every = '100ms'\nfanout.proxy_protocol = true");
    let mut server = instance.start_rolling();
    let tunnel = start(&instance);
    assert_eq!(tunnel.seen_address(&[]).unwrap(), "127.0.0.2");
    assert_eq!(tunnel.seen_address(&FORGED).unwrap(), "127.0.0.2");

    let mut stream = tunnel.open(None);
    let mut received = stream.frames.rolls(5);
    drop(stream);
    let mut resumed = tunnel.open(received.last().map(|(id, _)| &**id));
    received.extend(resumed.frames.rolls(5));
    server.stop();
    received.extend(resumed.frames.by_ref().filter_map(|frame| frame.roll()));
    let _server = instance.start();
    received.extend(tunnel.open(received.last().map(|(id, _)| &**id)).frames.rolls(5));
    let ids = ids(&received);
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

#[test]
fn a_stream_through_nginx_in_tcp_mode_knows_its_client_and_resumes_without_a_gap() {
    check_tunnel(|instance| nginx_tunnel(instance, |_| {}));
}

#[test]
fn a_stream_through_haproxy_in_tcp_mode_knows_its_client_and_resumes_without_a_gap() {
    check_tunnel(|instance| haproxy_tunnel(instance, |_| {}));
}

#[test]
fn the_hook_of_certbot_gives_the_door_another_certificate_and_no_stream_ends() {
    let instance = Door::Fanout.instance("");
    let fanout = "tls = { certs = 'fullchain.pem', key = 'privkey.pem' }";
    instance.configure(&format!("every = '100ms'\nfanout.{fanout}"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let renew = || {
        certificate(folder.path());
        fs::copy(path("cert.pem"), path("fullchain.pem")).unwrap();
        fs::rename(path("key.pem"), path("privkey.pem")).unwrap();
    };
    renew();
    for name in ["fullchain.pem", "privkey.pem"] {
        fs::copy(path(name), instance.path().join(name)).unwrap();
    }
    let server = instance.start();
    let url = format!("https://localhost:{}/stream/", instance.stream_port());
    let at_door =
        |certificate: String| Tunnel { url: url.clone(), certificate, _proxy: Box::new(()) };
    fs::copy(path("cert.pem"), path("old.pem")).unwrap();
    let old = at_door(path("old.pem"));
    let mut stream = old.open(None);
    let mut received = stream.frames.rolls(3);

    renew();
    let mut files = Files::read("certbot");
    const HOOK: &str = "rollcast-fanout";
    let target = format!("{}/", instance.path().display());
    files.replace(HOOK, "/usr/local/etc/rollcast/", &target);
    files.replace(HOOK, "-o root -g rollcast ", "");
    files.write_one(HOOK, path(HOOK));
    // Only the program of this test may get the signal.
    let expected = "-HUP -u rollcast -f ^[^ ]*rollcast serve";
    let pid = server.pid();
    let pkill = format!("#!/bin/sh\n[ \"$*\" = '{expected}' ] || exit 2\nkill -HUP {pid}\n");
    fs::write(path("pkill"), pkill).unwrap();
    run_well(Command::new("chmod").args(["0755", &path("pkill")]));
    let hook = |domains: &str| {
        let mut hook = Command::new("sh");
        let bin = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        hook.arg(path(HOOK)).env("PATH", bin).env("RENEWED_DOMAINS", domains);
        run_well(hook.env("RENEWED_LINEAGE", folder.path()));
    };
    // The certificate of another site changes nothing.
    hook("www.example.com example.org");
    assert_ne!(
        fs::read(instance.path().join("privkey.pem")).unwrap(),
        fs::read(path("privkey.pem")).unwrap()
    );
    hook("www.example.com example.com");
    let new = at_door(path("cert.pem"));
    wait_for("the new certificate", || new.seen_address(&[]).ok());
    assert!(old.seen_address(&[]).is_err(), "expected the old certificate to be gone");
    let n_before = received.len();
    received.extend(stream.frames.rolls(20));
    let ids = ids(&received);
    assert!(ids.len() > n_before && ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

#[test]
fn in_tcp_mode_the_proxy_and_the_door_must_agree_on_the_proxy_protocol() {
    let silent = |instance: &Instance| {
        [
            nginx_tunnel(instance, |files| files.replace(FANOUT, "proxy_protocol on;", "")),
            haproxy_tunnel(instance, |files| {
                files.replace(HAPROXY_FANOUT, " send-proxy-v2\n", "\n")
            }),
        ]
    };
    let naming =
        |instance: &Instance| [nginx_tunnel(instance, |_| {}), haproxy_tunnel(instance, |_| {})];

    // Only the door expects it, and closes each connection.
    let instance = Door::Fanout.instance("every = '1h'\nfanout.proxy_protocol = true");
    let _server = instance.start();
    for tunnel in silent(&instance) {
        let nothing = tunnel.seen_address(&[]).unwrap_err();
        assert!(!nothing.contains("http/1.1"), "{nothing}");
    }
    // Only the proxy sends it, and the door takes it for a request.
    let instance = Door::Fanout.instance("every = '1h'");
    let _server = instance.start();
    for tunnel in naming(&instance) {
        let refusal = tunnel.seen_address(&[]).unwrap_err();
        assert!(refusal.contains("http/1.1 400"), "{refusal}");
    }
    // Neither: a client may claim any address.
    for tunnel in silent(&instance) {
        assert_eq!(tunnel.seen_address(&FORGED).unwrap(), "6.6.6.6");
    }
    // The proxy is not trusted.
    let instance =
        Door::Fanout.instance("every = '1h'\nfanout.proxy_protocol = true\ntrusted_proxies = []");
    let _server = instance.start();
    for tunnel in naming(&instance) {
        let nothing = tunnel.seen_address(&[]).unwrap_err();
        assert!(!nothing.contains("http/1.1"), "{nothing}");
    }
}
