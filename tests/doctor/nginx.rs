//! nginx as a process in its own folder, in front of a server.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::common::{free_port, wait_for};

/// A correct configuration in front of `@UPSTREAM@`; a test breaks one line of it.
pub const SITE: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    gzip on;
    gzip_types text/css text/javascript;
    limit_conn_zone $binary_remote_addr zone=streams:1m;
    upstream app { server @UPSTREAM@; }
    server {
        listen @LISTEN@;
        proxy_set_header Host $http_host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header Forwarded "";
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Connection "";
        proxy_http_version 1.1;
        location / {
            proxy_pass http://app;
        }
        location /stream {
            proxy_pass http://app;
            proxy_buffering off;
            proxy_read_timeout 1h;
            gzip off;
        }
    }
}
"#;

/// A running nginx; killed when dropped.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Nginx {
    /// Starts nginx in front of a port on loopback, with these replacements in [`SITE`], and
    /// waits until it listens.
    pub fn start(upstream: u16, changes: &[(&str, &str)]) -> Nginx {
        Nginx::start_in(tempfile::tempdir().unwrap(), "", upstream, changes)
    }

    /// The same over TLS, with HTTP/2. The folder holds `cert.pem` and `key.pem`.
    pub fn start_tls(folder: TempDir, upstream: u16, changes: &[(&str, &str)]) -> Nginx {
        let listen = " ssl http2;\nssl_certificate cert.pem;\nssl_certificate_key key.pem";
        Nginx::start_in(folder, listen, upstream, changes)
    }

    fn start_in(folder: TempDir, listen: &str, upstream: u16, changes: &[(&str, &str)]) -> Nginx {
        let port = free_port();
        let mut site = SITE
            .replace("@UPSTREAM@", &format!("127.0.0.1:{upstream}"))
            .replace("@LISTEN@", &format!("127.0.0.1:{port}{listen}"));
        for (line, replacement) in changes {
            assert_eq!(site.matches(line).count(), 1, "`{line}` should occur once in {site}");
            site = site.replace(line, &replacement.replace("@PORT@", &port.to_string()));
        }
        std::fs::write(folder.path().join("nginx.conf"), site).unwrap();
        let output = File::create(folder.path().join("output")).unwrap();
        // Debian installs it in /usr/sbin, which is not on every user's PATH.
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
        let mut child = Command::new("nginx")
            .env("PATH", path)
            .args(["-p", folder.path().to_str().unwrap(), "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap();
        wait_for("nginx to listen", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("nginx ended with {status}: {}", log(folder.path()));
            }
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Nginx { child, folder, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its output and its error log.
    pub fn log(&self) -> String {
        log(self.folder.path())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(folder: &Path) -> String {
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    read("output") + &read("error.log")
}
