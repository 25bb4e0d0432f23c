//! Caddy, Apache, HAProxy and lighttpd in a temporary folder: with the delivered files, or with the
//! smallest configuration that proxies at all, as a control.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::common::{free_port, wait_for};
use crate::files::Files;
use crate::program::{Daemon, run_well};

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Caddy,
    Apache,
    Haproxy,
    Lighttpd,
}

/// A running proxy. Dropping it stops it.
pub struct Front {
    _daemon: Daemon,
    port: u16,
    tls_port: u16,
    folder: TempDir,
}

/// What a configuration is made of.
struct Site<'a> {
    folder: &'a Path,
    upstream: u16,
    port: u16,
    tls_port: u16,
}

impl Front {
    /// Starts a proxy in front of a port, with the delivered files except for ports, paths and
    /// certificates. The site is also there without TLS, for clients that do not speak it.
    pub fn delivered(kind: Kind, upstream: u16) -> Front {
        Front::start(kind, upstream, |site| match kind {
            Kind::Caddy => caddy(site),
            Kind::Apache => apache(site),
            Kind::Haproxy => haproxy(site, |_| {}),
            Kind::Lighttpd => lighttpd(site, &guide_lines("lighttpd")),
        })
    }

    /// HAProxy with the delivered files and the fan-out door, which listens on `door`, after `edit`.
    /// Event streams go to the door in HTTP mode, and the frontend in TCP mode is at the third port.
    pub fn with_door(upstream: u16, door: u16, edit: impl FnOnce(&mut Files)) -> (Front, u16) {
        let tcp_port = free_port();
        let front = Front::start(Kind::Haproxy, upstream, |site| {
            let mut tcp = String::new();
            let http = haproxy(site, |files| {
                for (name, old, new) in [
                    (
                        HAPROXY,
                        "127.0.0.1:5000          # the fan-out door: 127.0.0.1:5001".into(),
                        format!("127.0.0.1:{door}"),
                    ),
                    (HAPROXY_FANOUT, "127.0.0.1:5001".into(), format!("127.0.0.1:{door}")),
                    (HAPROXY_FANOUT, "    log global\n".into(), String::new()),
                    (HAPROXY_FANOUT, "maxconn 20000".into(), "maxconn 500".into()),
                    (HAPROXY_FANOUT, "bind :8443".into(), format!("bind 127.0.0.1:{tcp_port}")),
                    (
                        HAPROXY_FANOUT,
                        "/etc/haproxy/example.com.pem".into(),
                        site.folder.join("both.pem").display().to_string(),
                    ),
                ] as [(_, String, _); 6]
                {
                    files.replace(name, &old, &new);
                }
                edit(files);
                tcp = text(files, HAPROXY_FANOUT, site.folder);
            });
            http + &tcp
        });
        (front, tcp_port)
    }

    /// The same with no other lines than a proxy needs.
    pub fn minimal(kind: Kind, upstream: u16) -> Front {
        Front::start(kind, upstream, |site| {
            let Site { upstream, port, .. } = site;
            match kind {
                Kind::Caddy => format!(
                    "{{\nadmin off\n}}\nhttp://127.0.0.1:{port} {{\n\
                     reverse_proxy 127.0.0.1:{upstream}\n}}\n"
                ),
                Kind::Apache => {
                    apache_main(site, &[*port])
                        + &format!("ProxyPass / http://127.0.0.1:{upstream}/\n")
                }
                Kind::Haproxy => format!(
                    "global\n maxconn 500\ndefaults\n mode http\n timeout connect 5s\n \
                     timeout client 50s\n timeout server 50s\nfrontend site\n \
                     bind 127.0.0.1:{port}\n default_backend app\nbackend app\n \
                     server app 127.0.0.1:{upstream}\n"
                ),
                Kind::Lighttpd => lighttpd(site, ""),
            }
        })
    }

    /// Starts HAProxy in front of three nodes of a fleet, with the delivered file except for ports,
    /// paths and certificates, after `edit`. The site is also there without TLS.
    pub fn fleet(nodes: [u16; 3], edit: impl FnOnce(&mut Files)) -> Front {
        Front::start(Kind::Haproxy, nodes[0], |site| haproxy_fleet(site, nodes, edit))
    }

    fn start(kind: Kind, upstream: u16, configuration: impl FnOnce(&Site<'_>) -> String) -> Front {
        let folder = tempfile::tempdir().unwrap();
        // Apache's processes run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        certificate(folder.path());
        let (port, tls_port) = (free_port(), free_port());
        let site = Site { folder: folder.path(), upstream, port, tls_port };
        let file = folder.path().join("configuration");
        fs::write(&file, configuration(&site)).unwrap();
        let file = file.to_str().unwrap();
        let (program, check, run): (_, &[&str], &[&str]) = match kind {
            Kind::Caddy => (
                "caddy",
                &["validate", "--adapter", "caddyfile", "--config", file],
                &["run", "--adapter", "caddyfile", "--config", file],
            ),
            Kind::Apache => ("apache2", &["-t", "-f", file], &["-DFOREGROUND", "-f", file]),
            Kind::Haproxy => ("haproxy", &["-c", "-f", file], &["-db", "-f", file]),
            Kind::Lighttpd => ("lighttpd", &["-tt", "-f", file], &["-D", "-f", file]),
        };
        let command = |arguments: &[&str]| {
            let mut command = Command::new(program);
            // The folders that contain these programs are not in the PATH of other users than root.
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
            // Where Caddy keeps its files.
            command.env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
            command.args(arguments).current_dir(folder.path());
            command
        };
        run_well(&mut command(check));
        let mut daemon = Daemon::spawn(&mut command(run));
        wait_for("the proxy to listen", || {
            assert!(daemon.runs(), "{kind:?} ended");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Front { _daemon: daemon, port, tls_port, folder }
    }

    /// A URL without TLS.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A URL with TLS, for a certificate of `localhost`. Only the delivered files have it.
    pub fn tls_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.tls_port)
    }

    /// The certificate's file.
    pub fn certificate(&self) -> String {
        self.folder.path().join("cert.pem").display().to_string()
    }
}

/// The text of a file.
fn text(files: &Files, name: &str, folder: &Path) -> String {
    files.write_one(name, folder.join(name));
    fs::read_to_string(folder.join(name)).unwrap()
}

/// Writes a certificate of `localhost` and its key, apart and in one file.
pub fn certificate(folder: &Path) {
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    fs::write(folder.join("both.pem"), format!("{certificate}{key}")).unwrap();
    fs::write(folder.join("cert.pem"), certificate).unwrap();
    fs::write(folder.join("key.pem"), key).unwrap();
}

fn caddy(site: &Site<'_>) -> String {
    const NAME: &str = "Caddyfile";
    let Site { folder, upstream, port, tls_port } = site;
    let mut files = Files::read("caddy");
    files.replace(NAME, "{\n\tservers {", "{\n\tadmin off\n\tauto_https off\n\tservers {");
    files.replace(
        NAME,
        "reverse_proxy 127.0.0.1:5000",
        &format!("reverse_proxy 127.0.0.1:{upstream}"),
    );
    // A site cannot have TLS and not have it, so it is there twice.
    let text = text(&files, NAME, folder);
    let (global, body) = text.split_once("\nexample.com {\n").expect("a site of example.com");
    let path = |name: &str| folder.join(name).display().to_string();
    let tls = format!("tls {} {}", path("cert.pem"), path("key.pem"));
    format!(
        "{global}\nhttp://127.0.0.1:{port} {{\n{body}\nhttps://localhost:{tls_port} {{\n{tls}\n{body}"
    )
}

const HAPROXY: &str = "haproxy.cfg";
/// HAProxy's file for the fan-out door.
pub const HAPROXY_FANOUT: &str = "rollcast-fanout.cfg";

fn haproxy(site: &Site<'_>, edit: impl FnOnce(&mut Files)) -> String {
    let mut files = Files::read("haproxy");
    // Within the open file limit of the test run.
    files.replace(HAPROXY, "maxconn 20000", "maxconn 500");
    edit(&mut files);
    let upstream = format!("server rollcast 127.0.0.1:{}", site.upstream);
    files.replace(HAPROXY, "server rollcast 127.0.0.1:5000", &upstream);
    place_haproxy(&mut files, HAPROXY, site);
    text(&files, HAPROXY, site.folder)
}

/// HAProxy's file for a fleet.
pub const HAPROXY_FLEET: &str = "rollcast-fleet.cfg";

fn haproxy_fleet(site: &Site<'_>, nodes: [u16; 3], edit: impl FnOnce(&mut Files)) -> String {
    let mut files = Files::read("haproxy");
    files.replace(HAPROXY_FLEET, "maxconn 60000", "maxconn 500");
    for (n, node) in nodes.iter().enumerate() {
        let old = format!("10.0.0.{}:5000\n", n + 1);
        files.replace(HAPROXY_FLEET, &old, &format!("127.0.0.1:{node}\n"));
    }
    place_haproxy(&mut files, HAPROXY_FLEET, site);
    edit(&mut files);
    text(&files, HAPROXY_FLEET, site.folder)
}

/// Replaces ports, paths and certificates in a file of HAProxy.
fn place_haproxy(files: &mut Files, name: &str, site: &Site<'_>) {
    let Site { folder, port, tls_port, .. } = site;
    let pem = folder.join("both.pem").display().to_string();
    for (old, new) in [
        ("    user haproxy\n    group haproxy\n    log /dev/log local0\n", ""),
        ("    log global\n", ""),
        ("bind :80", &*format!("bind 127.0.0.1:{port}")),
        ("bind :443", &*format!("bind 127.0.0.1:{tls_port}")),
        ("/etc/haproxy/example.com.pem", &*pem),
        ("    http-request redirect scheme https code 308 unless { ssl_fc }\n", ""),
    ] {
        files.replace(name, old, new);
    }
}

fn apache(site: &Site<'_>) -> String {
    const NAME: &str = "rollcast.conf";
    let Site { folder, upstream, port, tls_port } = site;
    let mut files = Files::read("apache");
    let path = |name: &str| folder.join(name).display().to_string();
    let letsencrypt = "/etc/letsencrypt/live/example.com/";
    for (old, new) in [
        (format!("{letsencrypt}fullchain.pem"), path("cert.pem")),
        (format!("{letsencrypt}privkey.pem"), path("key.pem")),
        (
            " /etc/apache2/rollcast-closing.asis".into(),
            format!(" {}", path("rollcast-closing.asis")),
        ),
        ("http://127.0.0.1:5000/".into(), format!("http://127.0.0.1:{upstream}/")),
        ("${APACHE_RUN_DIR}".into(), folder.display().to_string()),
        ("example.com".into(), "localhost".into()),
        ("<VirtualHost *:443>".into(), format!("<VirtualHost *:{tls_port}>")),
        // Few processes start faster.
        ("ServerLimit 32".into(), "ServerLimit 4".into()),
        ("MaxRequestWorkers 2048".into(), "MaxRequestWorkers 256".into()),
    ] {
        files.replace(NAME, &old, &new);
    }
    files.write_one("rollcast-closing.asis", folder.join("rollcast-closing.asis"));
    let text = text(&files, NAME, folder);
    // The site once more without TLS, in place of the one that redirects.
    let start = text.find("<VirtualHost *:80>").expect("a site on port 80");
    let end = start + text[start..].find("</VirtualHost>\n").expect("its end") + 15;
    let (global, tls) = (&text[..start], &text[end..]);
    let is_of_tls = |line: &str| line.contains("    SSL") || line.contains("    Protocols");
    let plain = tls.replace(&format!("*:{tls_port}>"), &format!("*:{port}>"));
    let plain: String =
        plain.lines().filter(|line| !is_of_tls(line)).fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        });
    apache_main(site, &[*port, *tls_port]) + global + tls + &plain
}

/// What Debian's own files set, with its default modules and those that the guide turns on.
fn apache_main(site: &Site<'_>, ports: &[u16]) -> String {
    let folder = site.folder.display();
    let mut text = format!(
        "ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {folder}/error.log\n\
         Mutex file:{folder}\nServerName localhost\nUser www-data\nGroup www-data\n"
    );
    for port in ports {
        let _ = writeln!(text, "Listen 127.0.0.1:{port}");
    }
    for module in [
        "mpm_event",
        "authz_core",
        "alias",
        "setenvif",
        "env",
        "mime",
        "filter",
        "deflate",
        "reqtimeout",
        "socache_shmcb",
        "ssl",
        "http2",
        "proxy",
        "proxy_http",
        "headers",
        "asis",
        "cache",
        "cache_socache",
    ] {
        let file = format!("/usr/lib/apache2/modules/mod_{module}.so");
        let _ = writeln!(text, "LoadModule {module}_module {file}");
    }
    text + "TypesConfig /etc/mime.types\nInclude /etc/apache2/mods-available/deflate.conf\n"
}

fn lighttpd(site: &Site<'_>, lines: &str) -> String {
    let Site { folder, upstream, port, .. } = site;
    format!(
        "server.modules = (\"mod_setenv\", \"mod_proxy\")\nserver.document-root = \"{}\"\n\
         server.bind = \"127.0.0.1\"\nserver.port = {port}\n\
         proxy.server = ( \"\" => ( ( \"host\" => \"127.0.0.1\", \"port\" => {upstream} ) ) )\n\
         {lines}\n",
        folder.display()
    )
}

/// The indented lines of the chapter of the guide on that program.
fn guide_lines(program: &str) -> String {
    let guide = fs::read_to_string(crate::files::project().join("deploy/README.md")).unwrap();
    let start = format!("\n## {program}\n");
    let (_, section) = guide.split_once(&start).expect("a chapter of the guide");
    let section = section.split("\n## ").next().unwrap();
    let lines: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(!lines.is_empty(), "no lines for {program} in {section}");
    lines.join("\n")
}
