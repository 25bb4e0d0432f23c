//! The line to change in proxies other than nginx.
//!
//! Each check names nginx's line. If another proxy answers, its own line replaces that one.

use crate::front::Front;
use crate::judge::Finding;

/// How a check begins nginx's line, which is the last part of its change.
const NGINX: &str = "nginx: ";
const UPSTREAM: &[&str] = &["page", "answer", "redirect"];
/// Checks of what a proxy may do to headers.
const HEADERS: &[&str] = &["cache", "header", "cross-origin", "resume"];
const HEARTBEAT: &str = "; rollcast: `heartbeat` in Rocket.toml, to less than any proxy's timeout";

/// The lines of one proxy, by the checks that name them.
type Lines = &'static [(&'static [&'static str], &'static str)];

const APACHE: Lines = &[
    (
        &["address"],
        "Apache: `RequestHeader set X-Real-IP expr=%{REMOTE_ADDR}` and `RequestHeader unset \
         Forwarded`; `RemoteIPTrustedProxy` only for proxies of your own",
    ),
    (
        &["buffering"],
        "Apache: `flushpackets=on` in `ProxyPass`, and no output filter on the stream",
    ),
    (&["compression"], "Apache: `SetEnvIf Request_URI ^/stream no-gzip`"),
    (&["idle"], "Apache: `timeout=3600` in the stream's `ProxyPass`"),
    (&["limit"], "Apache: more `ServerLimit` and `MaxRequestWorkers`, and a higher `ulimit -n`"),
    (
        HEADERS,
        "Apache: no `Header` or `RequestHeader` for it, and no `ExpiresActive`, on the stream",
    ),
    (
        UPSTREAM,
        "Apache: `ProxyPass` to where the application listens, without `Require` or `Redirect` \
         before it, and with `retry=0`; and the error log",
    ),
    (
        &["proofs"],
        "Apache: `CacheEnable` only for full tiles of the log, and no filter and no `Header` on \
         `/checkpoint` and `/tile/`",
    ),
    (&["tls"], "Apache: `SSLCertificateFile` with the whole chain, for this `ServerName`"),
    (&["connections"], "Apache: `Protocols h2 http/1.1`, with mod_http2"),
];

const HAPROXY: Lines = &[
    (
        &["address"],
        "HAProxy: `http-request set-header X-Real-IP %[src]`, `http-request set-header \
         X-Forwarded-For %[src]` and `http-request del-header Forwarded` in the frontend",
    ),
    (&["buffering"], "HAProxy: no filter that holds the response back"),
    (&["compression"], "HAProxy: `compression type` without `text/event-stream`"),
    (&["idle"], "HAProxy: `timeout server 1h` and `timeout client 1h`"),
    (&["limit"], "HAProxy: a higher `maxconn` in `global`, the frontend and the server"),
    (HEADERS, "HAProxy: no `http-request` or `http-response` line that changes it"),
    (UPSTREAM, "HAProxy: `server` with the port where the application listens; and its log"),
    (
        &["proofs"],
        "HAProxy: `cache-use` only for full tiles of the log, and no filter, no `http-response` \
         line and no limit for `/checkpoint` and `/tile/`",
    ),
    (&["tls"], "HAProxy: `bind … ssl crt FILE`, with the whole chain, for this name"),
    (&["connections"], "HAProxy: `alpn h2,http/1.1` in the `bind` line"),
];

const CADDY: Lines = &[
    (
        &["address"],
        "Caddy: `header_up X-Real-IP {remote_host}` and `header_up -Forwarded` in \
         `reverse_proxy`; `trusted_proxies` only for proxies of your own",
    ),
    (&["buffering"], "Caddy: no `flush_interval` in `reverse_proxy`: it forwards events at once"),
    (&["compression"], "Caddy: `encode` only for paths other than the stream's"),
    (&["idle"], "Caddy: no `read_timeout` in `transport`, and no `timeouts` for writing"),
    (&["limit"], "Caddy: no `max_conns_per_host` in `transport`, and a higher `ulimit -n`"),
    (HEADERS, "Caddy: no `header`, `header_up` or `header_down` that changes it"),
    (UPSTREAM, "Caddy: `reverse_proxy` to where the application listens; and its log"),
    (
        &["proofs"],
        "Caddy: no cache, no `header` and no `handle` that changes `/checkpoint` and `/tile/`",
    ),
    (
        &["tls"],
        "Caddy: a site address with this name, or `tls CERTIFICATE KEY` with the whole chain",
    ),
    (&["connections"], "Caddy: `protocols h1 h2 h3`, its default, for the site over https"),
];

const LIGHTTPD: Lines = &[
    (
        &["address"],
        "lighttpd: `setenv.set-request-header = (\"X-Real-IP\" => \"\", \"Forwarded\" => \"\")`, \
         with mod_setenv: rollcast then reads X-Forwarded-For",
    ),
    (&["buffering"], "lighttpd: `server.stream-response-body = 2`"),
    (&["compression"], "lighttpd: `deflate.mimetypes` without `text/event-stream`"),
    (&["idle"], "lighttpd: `\"read-timeout\" => 3600` in `proxy.server`"),
    (&["limit"], "lighttpd: more `server.max-connections` and `server.max-fds`"),
    (HEADERS, "lighttpd: no `setenv` or `expire` line that changes it"),
    (UPSTREAM, "lighttpd: `proxy.server` with the port where the application listens"),
    (&["proofs"], "lighttpd: no `setenv`, `expire` or `deflate` for `/checkpoint` and `/tile/`"),
    (&["tls"], "lighttpd: `ssl.pemfile` with the whole chain, for this host"),
    (&["connections"], "lighttpd: `server.feature-flags` with `\"server.h2proto\" => \"enable\"`"),
];

const VARNISH: Lines = &[
    (
        &["address"],
        "Varnish: `set req.http.X-Real-IP = client.ip;` and `unset req.http.Forwarded;` in \
         `vcl_recv`",
    ),
    (&["buffering", "compression"], "Varnish: `return (pipe);` for the stream in `vcl_recv`"),
    (&["idle"], "Varnish: `-p pipe_timeout=3600`, with `return (pipe);` for the stream"),
    (&["limit"], "Varnish: more `thread_pool_max`, and no `max_connections` of the backend"),
    (HEADERS, "Varnish: no VCL line that changes it"),
    (&["proofs"], "Varnish: `return (pass);` for `/checkpoint` in `vcl_recv`"),
    (UPSTREAM, "Varnish: the `backend`, with the port where the application listens"),
];

/// The lines of rollcast's fan-out door, and of a proxy that forwards TCP to it.
const DOOR: Lines = &[
    (
        &["address"],
        "rollcast: `proxy_protocol = true` in `[default.rollcast.fanout]`, if a proxy forwards TCP to \
         the door; the proxy must send it (nginx: `proxy_protocol on;`, HAProxy: `send-proxy-v2`)",
    ),
    (
        &["tls"],
        "rollcast: `tls` in `[default.rollcast.fanout]` with the whole chain, for this name, then \
         SIGHUP; or the same in the proxy that forwards TCP (nginx: `ssl_certificate`, HAProxy: \
         `bind … ssl crt FILE`)",
    ),
    (
        &["idle"],
        "a proxy that forwards TCP: nginx `proxy_timeout 11m;`, HAProxy `timeout tunnel 11m`",
    ),
    (
        &["limit"],
        "rollcast: a higher limit of open files; a proxy that forwards TCP: nginx \
         `worker_connections`, HAProxy `maxconn`",
    ),
];

/// Replaces nginx's line in a finding by the line of the proxy that answers.
pub fn of_front(mut finding: Finding, front: Front) -> Finding {
    let lines = match front {
        Front::Apache => APACHE,
        Front::Haproxy => HAPROXY,
        Front::Caddy => CADDY,
        Front::Lighttpd => LIGHTTPD,
        Front::Varnish => VARNISH,
        Front::Door => DOOR,
        Front::Nginx | Front::Rollcast | Front::Other => return finding,
    };
    let line = lines.iter().find(|(checks, _)| checks.contains(&finding.check));
    let change = finding.change.as_deref().and_then(|change| change.split_once(NGINX));
    if let (Some((before, _)), Some((_, line))) = (change, line) {
        let after = if finding.check == "idle" { HEARTBEAT } else { "" };
        finding.change = Some(format!("{before}{line}{after}"));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{fault, fine};

    #[test]
    fn every_proxy_has_its_own_line_for_every_check_that_names_one() {
        let fronts = [
            (Front::Apache, "Apache: "),
            (Front::Haproxy, "HAProxy: "),
            (Front::Caddy, "Caddy: "),
            (Front::Lighttpd, "lighttpd: "),
            (Front::Varnish, "Varnish: "),
        ];
        let checks = [
            "page",
            "answer",
            "redirect",
            "cache",
            "header",
            "cross-origin",
            "resume",
            "address",
            "buffering",
            "compression",
            "idle",
            "limit",
            "proofs",
            "tls",
            "connections",
        ];
        for (front, name) in fronts {
            // Varnish speaks no TLS.
            let speaks_tls = front != Front::Varnish;
            for check in checks {
                if !speaks_tls && ["tls", "connections"].contains(&check) {
                    continue;
                }
                let finding = of_front(fault(check, "seen", "renew it; nginx: `x`"), front);
                let change = finding.change.expect("a change");
                assert!(change.starts_with(&format!("renew it; {name}")), "{check}: {change}");
                assert!(!change.contains("nginx"), "{check}: {change}");
            }
        }
    }

    #[test]
    fn the_fan_out_door_has_lines_for_what_tcp_shows() {
        for check in ["address", "tls", "idle", "limit"] {
            let finding = of_front(fault(check, "seen", "renew it; nginx: `x`"), Front::Door);
            let change = finding.change.expect("a change");
            assert!(change.starts_with("renew it; ") && !change.contains("`x`"), "{change}");
        }
    }

    #[test]
    fn a_change_that_does_not_concern_the_proxy_stays() {
        for front in [Front::Nginx, Front::Other, Front::Rollcast] {
            let finding = fault("address", "seen", "nginx: `x`");
            assert_eq!(of_front(finding.clone(), front), finding);
        }
        let rollcasts = fault("limit", "seen", "rollcast: a higher `max_streams` in Rocket.toml");
        assert_eq!(of_front(rollcasts.clone(), Front::Apache), rollcasts);
        assert_eq!(of_front(fine("idle", "seen"), Front::Apache), fine("idle", "seen"));
    }
}
