//! Which requests go through a proxy: one rule, from the environment.
//!
//! `http_proxy` is for `http` URLs, `https_proxy` for `https` URLs, `all_proxy` for both where the
//! other one is not set. `no_proxy` lists hosts that are reached directly. Each name may be in
//! capitals; the one in small letters wins, as in other programs. This machine is never reached
//! through a proxy.

use std::env;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::http_url::HttpUrl;

/// Which requests go through which proxy.
///
/// ```
/// use event_stream::proxy::Proxies;
///
/// let variables = [("HTTP_PROXY", "proxy.example.org:3128"), ("NO_PROXY", "10.0.0.0/8")];
/// let value = |name: &str| Some(variables.iter().find(|(n, _)| *n == name)?.1.to_string());
/// let proxies = Proxies::read(value);
/// let through = |url: &str| Some(proxies.for_url(&url.parse().ok()?).ok()??.to_string());
/// let expected = "`http://proxy.example.org:3128/` (HTTP_PROXY)";
/// assert_eq!(through("http://dice.example.org/").as_deref(), Some(expected));
/// for direct in ["https://dice.example.org/", "http://10.1.2.3/", "http://127.0.0.1:5000/"] {
///     assert_eq!(through(direct), None);
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Result<ProxyServer, ProxyError>>,
    https: Option<Result<ProxyServer, ProxyError>>,
    exceptions: Vec<Exception>,
}

/// A proxy, with the variable that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyServer {
    url: HttpUrl,
    variable: &'static str,
}

/// A variable that names no HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a proxy such as `http://proxy.example.org:3128` in {variable}; {reason}")]
pub struct ProxyError {
    variable: &'static str,
    reason: String,
}

impl Proxies {
    /// Those that the variables of this process name.
    pub fn from_environment() -> Proxies {
        Proxies::read(|name| Some(env::var_os(name)?.to_string_lossy().into_owned()))
    }

    /// Those that the values of variables name.
    pub fn read(value: impl Fn(&str) -> Option<String>) -> Proxies {
        let value = |name| value(name).filter(|value| !value.trim().is_empty());
        let first = |names: [&'static str; 4]| {
            names.into_iter().find_map(|name| Some(ProxyServer::read(name, value(name)?.trim())))
        };
        let exceptions = value("no_proxy").or_else(|| value("NO_PROXY")).unwrap_or_default();
        let is_separator = |c: char| c == ',' || c.is_whitespace();
        Proxies {
            http: first(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            https: first(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            exceptions: exceptions
                .split(is_separator)
                .filter(|text| !text.is_empty())
                .map(Exception::read)
                .collect(),
        }
    }

    /// The proxy for a request; `None` if it goes directly.
    ///
    /// # Errors
    ///
    /// The variable for this request names no HTTP proxy.
    pub fn for_url(&self, url: &HttpUrl) -> Result<Option<&ProxyServer>, ProxyError> {
        let Some(proxy) = (if url.is_tls() { &self.https } else { &self.http }) else {
            return Ok(None);
        };
        let is_direct = is_this_machine(url.host())
            || self.exceptions.iter().any(|exception| exception.includes(url))
            || self.is_proxy(url);
        if is_direct {
            return Ok(None);
        }
        proxy.as_ref().map(Some).map_err(ProxyError::clone)
    }

    /// Whether the URL leads to a proxy itself.
    fn is_proxy(&self, url: &HttpUrl) -> bool {
        let proxies = [&self.http, &self.https].into_iter().flatten().flatten();
        proxies.into_iter().any(|proxy| proxy.url.origin() == url.origin())
    }
}

impl ProxyServer {
    fn read(variable: &'static str, value: &str) -> Result<ProxyServer, ProxyError> {
        let text = if value.contains("://") { value } else { &format!("http://{value}") };
        match text.parse() {
            Ok(url) => Ok(ProxyServer { url, variable }),
            Err(_) if text.starts_with("socks") => {
                Err(ProxyError { variable, reason: "SOCKS is not supported".into() })
            }
            // The reason quotes the value without its password.
            Err(error) => Err(ProxyError { variable, reason: format!("its value: {error}") }),
        }
    }

    /// Where it is.
    pub fn url(&self) -> &HttpUrl {
        &self.url
    }
}

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.url, self.variable)
    }
}

/// An item of `no_proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// Only this port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name, and all names below it.
    Domain(String),
    /// Names and addresses that begin so.
    Prefix(String),
    Network(IpNet),
}

impl Exception {
    /// Reads `*`, `example.org`, `.example.org`, `*.example.org`, `192.168.*`, `10.0.0.1`,
    /// `10.0.0.0/8` or `[fd00::1]`, each with a port or without. Anything else matches no host.
    fn read(text: &str) -> Exception {
        let text = text.to_ascii_lowercase();
        let (hosts, port) = match text.rsplit_once(':') {
            Some((hosts, port)) if hosts.ends_with(']') || !hosts.contains(':') => {
                match port.parse() {
                    Ok(port) => (hosts, Some(port)),
                    Err(_) => (&*text, None),
                }
            }
            _ => (&*text, None),
        };
        let hosts = hosts.trim_start_matches('[').trim_end_matches(']');
        Exception { hosts: Hosts::read(hosts), port }
    }

    fn includes(&self, url: &HttpUrl) -> bool {
        self.port.is_none_or(|port| port == url.port()) && self.hosts.include(url.host())
    }
}

impl Hosts {
    fn read(text: &str) -> Hosts {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        if let Ok(network) = text.parse().or_else(|_| address()) {
            return Hosts::Network(network);
        }
        let is_address_part = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match text.strip_suffix('*') {
            Some("") => Hosts::All,
            Some(prefix) => Hosts::Prefix(prefix.into()),
            None if text.ends_with('.') && is_address_part(text) => Hosts::Prefix(text.into()),
            None => {
                let name = text.trim_start_matches('*').trim_matches('.');
                Hosts::Domain(name.into())
            }
        }
    }

    /// Whether `host` is one of them: a name in small letters, or an address.
    fn include(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        match self {
            Hosts::All => true,
            Hosts::Domain(name) => {
                let rest = host.strip_suffix(&**name);
                !name.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Hosts::Prefix(prefix) => host.starts_with(&**prefix),
            Hosts::Network(network) => {
                host.parse().is_ok_and(|address: IpAddr| network.contains(&address))
            }
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let address = host.parse().map(|address: IpAddr| address.to_canonical());
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(variables: &[(&str, &str)], url: &str) -> Result<Option<String>, String> {
        let value = |name: &str| Some(variables.iter().find(|(n, _)| *n == name)?.1.to_string());
        let proxies = Proxies::read(value);
        let proxy = proxies.for_url(&url.parse().expect("a URL"));
        proxy.map(|proxy| proxy.map(ProxyServer::to_string)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_variable_of_the_scheme_names_the_proxy() {
        let [http, https] = ["http://a.example/", "https://a.example/"];
        let named = |variable: &str| Ok(Some(format!("`http://p.example:3128/` ({variable})")));
        let all = ("ALL_PROXY", "p.example:3128");
        let table = [
            (vec![], http, Ok(None)),
            (vec![("HTTP_PROXY", "http://p.example:3128")], http, named("HTTP_PROXY")),
            (vec![("HTTP_PROXY", "p.example:3128")], https, Ok(None)),
            (vec![("HTTPS_PROXY", " p.example:3128 ")], https, named("HTTPS_PROXY")),
            (vec![all], https, named("ALL_PROXY")),
            (vec![all, ("http_proxy", "p.example:3128")], http, named("http_proxy")),
            (vec![all, ("HTTP_PROXY", "")], http, named("ALL_PROXY")),
            (vec![all], "http://p.example:3128/", Ok(None)),
        ];
        for (variables, url, expected) in table {
            assert_eq!(through(&variables, url), expected, "{variables:?} {url}");
        }
    }

    #[test]
    fn a_wrong_value_is_an_error_only_where_it_counts_and_hides_its_password() {
        for value in ["socks5://p.example", "http://", "ftp://me:secret@p.example"] {
            let variables = [("HTTP_PROXY", value)];
            let error = through(&variables, "http://a.example/").expect_err(value);
            assert!(error.contains("HTTP_PROXY") && !error.contains("secret"), "{error}");
            assert_eq!(through(&variables, "http://127.0.0.1/"), Ok(None));
            assert_eq!(through(&variables, "https://a.example/"), Ok(None));
        }
        let shown = through(&[("HTTP_PROXY", "me:secret@p.example")], "http://a.example/");
        assert_eq!(shown, Ok(Some("`http://me:***@p.example/` (HTTP_PROXY)".into())));
    }

    #[test]
    fn this_machine_and_the_hosts_of_no_proxy_are_reached_directly() {
        let list = "  example.org, .b.example\t*.c.example 10.0.0.0/8 192.168.* 172.16. \
                    fd00::/8,[2001:db8::1]:8080 d.example:81, 203.0.113.7 /8 ,, x/y";
        let direct = [
            "localhost",
            "a.localhost",
            "127.1.2.3",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "example.org",
            "EXAMPLE.org.",
            "x.example.org",
            "b.example",
            "x.b.example",
            "x.c.example",
            "10.255.0.1",
            "192.168.7.7",
            "172.16.0.1",
            "[fdff::1]",
            "[2001:db8::1]:8080",
            "d.example:81",
            "203.0.113.7",
        ];
        let proxied = [
            "notexample.org",
            "example.org.evil.example",
            "11.0.0.1",
            "172.17.0.1",
            "[fe00::1]",
            "[2001:db8::1]",
            "d.example",
            "203.0.113.70",
            "localhost.example",
        ];
        let through = |host: &str| {
            let variables = [("HTTP_PROXY", "p.example"), ("NO_PROXY", list)];
            through(&variables, &format!("http://{host}/")).expect("a proxy").is_some()
        };
        for host in direct {
            assert!(!through(host), "{host} goes through the proxy");
        }
        for host in proxied {
            assert!(through(host), "{host} goes directly");
        }
        let all = [("HTTP_PROXY", "p.example"), ("no_proxy", "*")];
        assert_eq!(super::tests::through(&all, "http://a.example/"), Ok(None));
    }
}
