//! The log of verifiable rolls behind the proxies: full tiles come from a cache where the proxy has
//! one, the checkpoint and partial tiles never do, and no limit of requests stops a verifier.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::log_server::server_with_log;
use crate::common::{Instance, Server, wait_for};
use crate::files::Files;
use crate::front::{Front, Kind};
use crate::nginx::{LOCATIONS, Nginx, SITE};
use crate::program::run_well;

const HASHES: &str = "/tile/0/000";
const LEAVES: &str = "/tile/entries/000";
const CHECKPOINT: &str = "/checkpoint";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A server with a full tile and a partial one, which makes no rolls, and its log file.
struct Log {
    instance: Instance,
    server: Server,
    key: String,
    partial: String,
    n_markers: AtomicU32,
}

/// A response as a verifier or a page of another origin sees it.
#[derive(Debug, PartialEq)]
struct Response {
    status: String,
    content_type: Option<String>,
    cache_control: Option<String>,
    allowed_origin: Option<String>,
    body: Vec<u8>,
}

/// Sends the path as it is written.
fn get(url: &str) -> Response {
    let mut curl = Command::new("curl");
    let output = curl.args(["--silent", "--path-as-is", "--include", url]).output().unwrap();
    assert!(output.status.success(), "{url}: {output:?}");
    let end = output.stdout.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output.stdout[..end].to_vec()).unwrap();
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let values = lines.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let values: Vec<&str> = values.map(|(_, value)| value).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    Response {
        status: head.split(' ').nth(1).unwrap().into(),
        content_type: header("content-type"),
        cache_control: header("cache-control"),
        allowed_origin: header("access-control-allow-origin"),
        body: output.stdout[end + 4..].to_vec(),
    }
}

impl Log {
    fn start() -> Log {
        let (instance, server, key) = server_with_log(300);
        let note = String::from_utf8(get(&instance.url(CHECKPOINT)).body).unwrap();
        let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
        // A server at 1 ms may make so many rolls that the last tile is full.
        let partial = format!("/tile/0/{:03}.p/{}", (size - 1) / 256, (size - 1) % 256);
        let partial = if size % 256 == 1 { "/tile/0/000.p/7".to_owned() } else { partial };
        Log { instance, server, key, partial, n_markers: AtomicU32::new(0) }
    }

    /// How many requests for a path have reached the server.
    fn n_requests(&self, path: &str) -> usize {
        // The log is written in order, so this request appears after all earlier ones.
        let n = self.n_markers.fetch_add(1, Ordering::Relaxed);
        let marker = format!("/rolls?marker={n}.");
        get(&self.instance.url(&marker));
        wait_for("the log", || {
            let log = self.server.log();
            log.iter().any(|line| line.contains(&marker)).then_some(())
        });
        let request = format!("GET {path} ");
        self.server.log().iter().filter(|line| line.contains(&request)).count()
    }

    /// How many of four requests reach the server through a proxy. Each gets what the server sends.
    fn n_that_reach_it(&self, url: impl Fn(&str) -> String, path: &str) -> usize {
        let expected = get(&self.instance.url(path));
        let before = self.n_requests(path);
        for _ in 0..4 {
            assert_eq!(get(&url(path)), expected, "{path}");
        }
        self.n_requests(path) - before
    }

    /// Checks that full tiles come from the proxy's cache if it has one, also while the server is
    /// down, that everything else comes from the server, and that the whole log can be verified.
    fn check(mut self, url: impl Fn(&str) -> String, has_cache: bool) {
        let n_of_a_full_tile = if has_cache { 1 } else { 4 };
        for path in [HASHES, LEAVES] {
            let direct = get(&self.instance.url(path));
            assert_eq!(direct.cache_control.as_deref(), Some(IMMUTABLE), "{direct:?}");
            assert_eq!(direct.allowed_origin.as_deref(), Some("*"), "{direct:?}");
            assert_eq!(self.n_that_reach_it(&url, path), n_of_a_full_tile, "{path}");
        }
        assert_eq!(get(&url(HASHES)).body.len(), 256 * 32);
        for path in [CHECKPOINT, &self.partial, "/api/proof", "/rolls/1/proof"] {
            assert_eq!(self.n_that_reach_it(&url, path), 4, "{path}");
        }
        // What is not there now may be there soon, and a tile has no other address than its own.
        for path in ["/tile/0/999", "/tile/0/000?x", "/tile/0/00", "/tile/0/000.p/256"] {
            assert_eq!(get(&url(path)).status, "404", "{path}");
            assert_eq!(self.n_that_reach_it(&url, path), 4, "{path}");
        }
        let mut verify = self.instance.command();
        run_well(verify.args(["verify", &url("/"), "--key", &self.key]));
        let tiles = [HASHES, LEAVES].map(|path| get(&url(path)));
        self.server.stop();
        if has_cache {
            assert_eq!([HASHES, LEAVES].map(|path| get(&url(path))), tiles);
        }
        for path in [CHECKPOINT, &self.partial] {
            let status = get(&url(path)).status;
            assert!(["502", "503"].contains(&&*status), "{path}: {status}");
        }
    }
}

#[test]
fn nginx_caches_full_tiles_even_while_the_server_is_down_and_never_the_checkpoint() {
    let log = Log::start();
    let uncached = Nginx::start_with(log.instance.port(), |files| {
        files.replace(LOCATIONS, "proxy_cache rollcast;", "proxy_cache off;");
    });
    assert_eq!(log.n_that_reach_it(|path| uncached.url(path), HASHES), 4);
    let caches_all = Nginx::start_with(log.instance.port(), |files| {
        let always = "proxy_ignore_headers Cache-Control;\n    proxy_cache_valid any 1h;";
        let key = "proxy_cache_key $request_uri;";
        files.replace(LOCATIONS, key, &format!("{key}\n    {always}"));
        let others = "location ~ ^/(checkpoint$|tile/) {";
        files.replace(
            LOCATIONS,
            others,
            &format!("{others}\n    proxy_cache rollcast;\n    {always}"),
        );
    });
    for path in [CHECKPOINT, &log.partial, "/tile/0/999"] {
        assert_eq!(log.n_that_reach_it(|path| caches_all.url(path), path), 1, "{path}");
    }
    let nginx = Nginx::start(log.instance.port());
    assert_eq!(get(&nginx.url(HASHES)).status, "200");
    // A tile has no other address, also if it is in the cache.
    for path in ["/tile/0/%3000", "//tile/0/000", "/tile/0/000?x"] {
        assert_eq!(get(&nginx.url(path)).status, "404", "{path}");
    }
    let nginx = Nginx::start(log.instance.port());
    log.check(|path| nginx.url(path), true);
}

#[test]
fn a_verifier_that_reads_a_thousand_tiles_in_a_row_meets_no_limit_of_nginx() {
    let log = Log::start();
    // The delivered bursts, and then nearly nothing.
    let slow = |files: &mut Files| {
        let zone = "zone=rollcast_pages:10m rate=20r/s";
        files.replace(SITE, zone, "zone=rollcast_pages:10m rate=1r/m");
    };
    // How many of the answers to a thousand requests, sent over one connection, are 200.
    let n_answered = |nginx: &Nginx| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--write-out", "%{http_code}\n"]);
        let paths = [HASHES, LEAVES, &log.partial, CHECKPOINT].into_iter().cycle();
        for path in paths.take(1_000) {
            curl.args(["--output", "/dev/null", &nginx.url(path)]);
        }
        run_well(&mut curl).lines().filter(|line| *line == "200").count()
    };
    assert_eq!(n_answered(&Nginx::start_with(log.instance.port(), slow)), 1_000);
    let control = Nginx::start_with(log.instance.port(), |files| {
        slow(files);
        files.replace(LOCATIONS, "location ~ ^/tile/[^.]*$ {", "location /no-tiles/ {");
        files.replace(LOCATIONS, "location ~ ^/(checkpoint$|tile/) {", "location /no-log/ {");
    });
    let n = n_answered(&control);
    assert!((200..210).contains(&n), "{n} of 1,000 pages");
    // The rest of the site has its limit.
    let status = get(&control.url("/")).status;
    assert_eq!(status, "429");
}

#[test]
fn apache_and_haproxy_cache_full_tiles_and_never_the_checkpoint() {
    for kind in [Kind::Apache, Kind::Haproxy] {
        let log = Log::start();
        let minimal = Front::minimal(kind, log.instance.port());
        assert_eq!(log.n_that_reach_it(|path| minimal.url(path), HASHES), 4);
        let front = Front::delivered(kind, log.instance.port());
        log.check(|path| front.url(path), true);
    }
}

#[test]
fn caddy_and_lighttpd_pass_on_the_log_as_the_server_sends_it() {
    for kind in [Kind::Caddy, Kind::Lighttpd] {
        let log = Log::start();
        let front = Front::delivered(kind, log.instance.port());
        log.check(|path| front.url(path), false);
    }
}
