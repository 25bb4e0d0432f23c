//! Which program answers first at an address: a proxy, or the application itself.
//!
//! Many proxies pass on the application's `Server` header and add nothing of their own. But each
//! answers a line that is not HTTP in its own way, and never passes it on.

use crate::response::Head;
use crate::rollcast::SERVER;

/// The program that answers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    Nginx,
    Apache,
    Haproxy,
    Caddy,
    Lighttpd,
    Varnish,
    /// rollcast itself, without a proxy.
    Rollcast,
    /// rollcast's fan-out door, without a proxy or behind one that forwards TCP.
    Door,
    /// Another program, or one that cannot be recognised.
    Other,
}

impl Front {
    /// Recognises a program by what it answered to [`NONSENSE`], and by the head of an ordinary
    /// response.
    ///
    /// [`NONSENSE`]: crate::connection::NONSENSE
    pub fn recognise(to_nonsense: Option<&str>, head: Option<&Head>) -> Front {
        let to_nonsense = to_nonsense.map(str::to_lowercase);
        if let Some(front) = to_nonsense.as_deref().and_then(named_in_refusal) {
            return front;
        }
        let header = |name| head.and_then(|head| head.header(name)).unwrap_or_default();
        // The frontmost proxy may have appended its name, or put it first.
        let named = format!("{}, {}", header("server"), header("via")).to_lowercase();
        let known = [
            ("nginx", Front::Nginx),
            ("openresty", Front::Nginx),
            ("apache", Front::Apache),
            ("caddy", Front::Caddy),
            ("lighttpd", Front::Lighttpd),
            ("varnish", Front::Varnish),
            ("haproxy", Front::Haproxy),
        ];
        if let Some((_, front)) = known.iter().find(|(name, _)| named.contains(name)) {
            return *front;
        }
        // rollcast refuses nonsense without a body and without its name.
        let is_bare = to_nonsense.is_none_or(|refusal| {
            let headers = refusal.strip_prefix("http/1.1 400 bad request\r\n");
            // The fan-out door also says that it closes the connection.
            let headers =
                headers.map(|all| all.strip_prefix("connection: close\r\n").unwrap_or(all));
            headers.is_some_and(|headers| headers.starts_with("content-length: 0\r\n"))
        });
        let is_rollcast = header("server") == SERVER && header("via").is_empty();
        if is_rollcast && is_bare { Front::Rollcast } else { Front::Other }
    }
}

/// The proxy whose refusal this is, in lower case.
fn named_in_refusal(refusal: &str) -> Option<Front> {
    let (head, body) = refusal.split_once("\r\n\r\n")?;
    let server = head.lines().find_map(|line| line.strip_prefix("server: ")).unwrap_or_default();
    let known = [
        (server.starts_with("nginx") || server.starts_with("openresty"), Front::Nginx),
        (server.starts_with("apache"), Front::Apache),
        (server.starts_with("lighttpd"), Front::Lighttpd),
        (server.starts_with("caddy"), Front::Caddy),
        (body.contains("your browser sent an invalid request."), Front::Haproxy),
    ];
    known.iter().find(|(is_it, _)| *is_it).map(|(_, front)| *front)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::samples::head;

    #[test]
    fn a_proxy_is_recognised_by_its_refusal_or_its_name() {
        let haproxy = "HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nConnection: close\r\n\r\n\
                       <html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n";
        let apache = "HTTP/1.1 400 Bad Request\r\nServer: Apache/2.4.71 (Debian)\r\n\r\n<html>";
        let lighttpd = "HTTP/1.0 400 Bad Request\r\nServer: lighttpd/1.4.69\r\n\r\n<?xml";
        let go = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
                  Connection: close\r\n\r\n400 Bad Request";
        let varnish = "HTTP/1.1 400 Bad Request\r\n\r\n";
        let hyper = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let door =
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let nginx = "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<html>";
        // The refusal, the `Server` and the `Via` of an ordinary response.
        let table = [
            (Some(haproxy), "rollcast", "", Front::Haproxy),
            (Some(apache), "rollcast", "", Front::Apache),
            (Some(lighttpd), "rollcast", "", Front::Lighttpd),
            (Some(nginx), "nginx", "", Front::Nginx),
            (Some(go), "Caddy, rollcast", "", Front::Caddy),
            (Some(go), "rollcast", "1.1 Caddy", Front::Caddy),
            (Some(go), "rollcast", "", Front::Other),
            (Some(varnish), "rollcast", "1.1 varnish (Varnish/7.1)", Front::Varnish),
            (Some(varnish), "rollcast", "", Front::Other),
            (Some(hyper), "rollcast", "", Front::Rollcast),
            (Some(door), "rollcast", "", Front::Rollcast),
            (Some(door), "envoy", "", Front::Other),
            (Some(hyper), "rollcast", "1.1 relay", Front::Other),
            (Some(hyper), "envoy", "", Front::Other),
            // nginx in front of Caddy, in front of rollcast.
            (Some(nginx), "nginx", "1.1 Caddy", Front::Nginx),
            // The refusal could not be had, such as when a certificate is refused.
            (None, "nginx/1.22.1", "", Front::Nginx),
            (None, "openresty", "", Front::Nginx),
            (None, "Apache/2.4", "", Front::Apache),
            (None, "rollcast", "", Front::Rollcast),
            (None, "", "", Front::Other),
        ];
        for (refusal, server, via, expected) in table {
            let via = if via.is_empty() { vec![] } else { vec![("via", via)] };
            let head = head(&[&[("server", server)], &via[..]].concat());
            let seen = Front::recognise(refusal, Some(&head));
            assert_eq!(seen, expected, "{server}, {via:?}, {refusal:?}");
        }
        assert_eq!(Front::recognise(None, None), Front::Other);
    }
}
