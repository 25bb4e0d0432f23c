//! nginx with the delivered files, in a temporary folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::common::{free_port, http, let_others_read, wait_for};
use crate::files::Files;
use crate::program::{Daemon, run_well};

pub const MAIN: &str = "nginx.conf";
pub const SITE: &str = "rollcast.conf";
pub const TLS: &str = "rollcast-tls.conf";
pub const LOCATIONS: &str = "rollcast-locations.conf";
pub const HEADERS: &str = "rollcast-proxy.conf";
pub const FLEET: &str = "rollcast-fleet.conf";
pub const FANOUT: &str = "rollcast-fanout.conf";

/// A running nginx. Dropping it stops it.
pub struct Nginx {
    daemon: Daemon,
    port: u16,
    folder: TempDir,
}

impl Nginx {
    /// Starts nginx in front of a port, with the delivered files except for ports and paths.
    pub fn start(upstream: u16) -> Nginx {
        Nginx::start_with(upstream, |_| {})
    }

    /// The same after `edit`.
    pub fn start_with(upstream: u16, edit: impl FnOnce(&mut Files)) -> Nginx {
        Nginx::start_sites(&[SITE], upstream, edit)
    }

    /// The same with the given files in `conf.d/`.
    pub fn start_sites(sites: &[&str], upstream: u16, edit: impl FnOnce(&mut Files)) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        // The workers run as another user.
        let_others_read(folder.path());
        let port = free_port();
        let mut files = Files::read("nginx");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for (name, old, new) in [
            (SITE, "listen [::]:80;", "#"),
            (SITE, "listen 80;", &format!("listen 127.0.0.1:{port};")),
            (SITE, "127.0.0.1:5000", &format!("127.0.0.1:{upstream}")),
            (SITE, "/var/cache/rollcast", &path("cache")),
            (MAIN, "/var/log/nginx/error.log", &path("error.log")),
            (MAIN, "/var/log/nginx/access.log", &path("access.log")),
            // Always two workers, because a reload should replace more than one.
            (MAIN, "worker_processes auto;", "worker_processes 2;"),
            // Within the open file limit of the test run.
            (MAIN, "worker_rlimit_nofile 65536;", ""),
            (MAIN, "worker_connections 24576;", "worker_connections 2048;"),
        ] {
            files.replace(name, old, new);
        }
        if !is_root() {
            files.replace(MAIN, "user www-data;", "#");
        }
        edit(&mut files);
        let own = folder.path().join("etc");
        files.write(&own);
        for site in sites {
            files.write_one(site, own.join("conf.d").join(site));
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};\n", path(name)));
        fs::write(own.join("conf.d/temporary.conf"), temporary.concat()).unwrap();
        fs::copy("/etc/nginx/mime.types", own.join("mime.types")).unwrap();

        run_well(command(folder.path(), "daemon on;").arg("-t"));
        let daemon = Daemon::spawn(&mut command(folder.path(), "daemon off;"));
        let mut nginx = Nginx { daemon, port, folder };
        wait_for("nginx to listen", || {
            assert!(nginx.daemon.runs(), "nginx ended: {}", nginx.errors());
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        nginx
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the master.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The error log.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    /// The status of a response.
    pub fn status(&self, path: &str) -> u16 {
        http().get(self.url(path)).call().unwrap().status().as_u16()
    }

    /// Reloads the configuration.
    pub fn reload(&self) {
        run_well(command(self.folder.path(), "").args(["-s", "reload"]));
    }
}

fn command(folder: &Path, directives: &str) -> Command {
    let mut command = Command::new("nginx");
    // The folders that contain nginx are not in the PATH of other users than root.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
    let errors = folder.join("error.log");
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("etc").join(MAIN))
        .arg("-e")
        .arg(errors);
    command.arg("-g").arg(format!("pid {}; {directives}", folder.join("pid").display()));
    command
}

fn is_root() -> bool {
    run_well(Command::new("id").arg("-u")).trim() == "0"
}
