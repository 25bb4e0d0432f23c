//! The table `[default.rollcast.fanout]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rocket::http::uri::Absolute;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::sections::{FanoutConfig, TlsConfig};
use super::values;
use crate::text::ValueError;

/// The most threads.
const MAX_THREADS: i64 = 1_024;

/// The table as it is written in the file.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FanoutTable {
    #[serde(deserialize_with = "address")]
    address: IpAddr,
    port: u16,
    #[serde(deserialize_with = "threads")]
    threads: usize,
    #[serde(deserialize_with = "head_timeout")]
    head_timeout: Duration,
    #[serde(deserialize_with = "send_timeout")]
    send_timeout: Duration,
    proxy_protocol: bool,
    tls: Option<TlsTable>,
    #[serde(deserialize_with = "public_url")]
    public_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    certs: PathBuf,
    key: PathBuf,
}

impl Default for FanoutTable {
    fn default() -> FanoutTable {
        FanoutTable {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 5001,
            threads: thread::available_parallelism().map_or(1, usize::from),
            head_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(60),
            proxy_protocol: false,
            tls: None,
            public_url: None,
        }
    }
}

impl FanoutTable {
    /// The section, with files relative to `root`.
    pub fn into_config(self, root: &Path) -> FanoutConfig {
        FanoutConfig {
            address: SocketAddr::new(self.address, self.port),
            n_threads: self.threads,
            head_timeout: self.head_timeout,
            send_timeout: self.send_timeout,
            proxy_protocol: self.proxy_protocol,
            tls: self.tls.map(|TlsTable { certs, key }| TlsConfig {
                certs: root.join(certs),
                key: root.join(key),
            }),
            public_url: self.public_url,
        }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(ValueError::new("an IP address to listen on, such as `127.0.0.1`", text))
    })
}

fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::count(deserializer, MAX_THREADS, "1 to 1024 threads")
}

fn head_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(600);
    values::duration(deserializer, bounds, "a timeout of 1s to 10m, such as `10s`")
}

fn send_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3_600);
    values::duration(deserializer, bounds, "a timeout of 1s to 1h, such as `60s`")
}

/// Reads `public_url` and removes a slash at its end.
fn public_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = text.strip_suffix('/').unwrap_or(&text);
    if is_origin(url) {
        return Ok(Some(url.to_ascii_lowercase()));
    }
    let expected = "the public address of the door without a path, such as \
                    `https://dice.example.org:8443`";
    Err(D::Error::custom(ValueError::new(expected, text)))
}

/// Whether this is `http://` or `https://` with a host and perhaps a port, and nothing else.
fn is_origin(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    // `;` and `,` would end a source in the Content-Security-Policy.
    let is_plain = |rest: &str| !rest.contains(['/', '?', '#', '@', ';', ',', '\'', '"', '*']);
    let has_host = |url: &Absolute<'_>| url.authority().is_some_and(|it| !it.host().is_empty());
    rest.is_some_and(is_plain) && Absolute::parse(url).is_ok_and(|url| has_host(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    use rocket::figment::providers::{Format, Toml};
    use rocket::figment::{Figment, Profile};

    use crate::config::Config;

    fn read(fanout: &str) -> Result<FanoutConfig, String> {
        let set =
            Figment::from(Toml::string(&format!("[default.rollcast.fanout]\n{fanout}")).nested());
        let read = Config::read("/srv/Rocket.toml".into(), set, Profile::new("release"));
        read.map(|config| config.fanout.expect("a door")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_table_opens_the_door_on_loopback() {
        let door = read("").expect("a configuration");
        assert_eq!(door.address.to_string(), "127.0.0.1:5001");
        assert_eq!(door.head_timeout, Duration::from_secs(10));
        assert!(door.n_threads >= 1 && !door.proxy_protocol && door.tls.is_none());
        let all = "address = '::'\nport = 8443\nthreads = 4\nhead_timeout = '5s'\n\
                   send_timeout = '2m'\nproxy_protocol = true\n\
                   tls = { certs = 'chain.pem', key = '/etc/key.pem' }\n\
                   public_url = 'https://Dice.example.org:8443/'";
        let door = read(all).expect("a configuration");
        assert_eq!(door.address.to_string(), "[::]:8443");
        assert_eq!((door.n_threads, door.send_timeout.as_secs()), (4, 120));
        assert_eq!(door.public_url.as_deref(), Some("https://dice.example.org:8443"));
        let TlsConfig { certs, key } = door.tls.expect("TLS");
        assert_eq!((certs, key), ("/srv/chain.pem".into(), "/etc/key.pem".into()));
    }

    #[test]
    fn a_mistake_is_named_with_its_value() {
        for (fanout, expected) in [
            ("address = 'dice'", "such as `127.0.0.1`, got `dice`"),
            ("port = 65536", "65536"),
            ("threads = 0", "expected 1 to 1024 threads, got `0`"),
            ("head_timeout = '0s'", "1s to 10m, such as `10s`, got `0s`"),
            ("send_timeout = '2h'", "1s to 1h, such as `60s`, got `2h`"),
            ("public_url = 'dice.example.org'", "got `dice.example.org`"),
            ("public_url = 'https://dice.example.org/stream/'", "without a path"),
            ("public_url = 'https://'", "got `https://`"),
            ("public_url = 'https://a; script-src *'", "without a path"),
            ("public_url = 'https://a b'", "without a path"),
            ("public_url = 'ftp://a'", "got `ftp://a`"),
            ("tls = { certs = 'a' }", "missing field `key`"),
            ("timeout = '10s'", "unknown key"),
        ] {
            let refusal = read(fanout).err();
            let refusal = refusal.unwrap_or_else(|| panic!("`{fanout}` was accepted"));
            assert!(refusal.contains(expected), "expected `{expected}` in `{refusal}`");
        }
    }
}
