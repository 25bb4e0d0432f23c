//! The table `[default.rollcast.fleet]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use event_stream::http_url::without_password;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::error::ConfigError;
use super::sections::FleetConfig;
use crate::text::ValueError;

/// The most servers.
const MAX_SERVERS: usize = 9;
/// A place in the log takes about 10 ms to decide, and nodes wait for each other.
const MIN_EVERY: Duration = Duration::from_millis(100);

/// The table as it is written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetTable {
    #[serde(deserialize_with = "servers")]
    servers: Vec<String>,
    #[serde(default = "default_stream", deserialize_with = "stream")]
    stream: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

impl FleetTable {
    /// The section, with files relative to `root`.
    ///
    /// # Errors
    ///
    /// A user without a password or a password without a user; `every` is too short for a fleet.
    pub fn into_config(self, root: &Path, every: Duration) -> Result<FleetConfig, ConfigError> {
        let FleetTable { servers, stream, user, password_file, ca } = self;
        if user.is_some() != password_file.is_some() {
            let text = "expected `user` and `password_file` together in `rollcast.fleet`";
            return Err(ConfigError::Value(text.into()));
        }
        if every < MIN_EVERY {
            return Err(ConfigError::Value(format!(
                "expected a time between rolls of 100ms or more in a fleet, got `{every:?}` for key \
                 `rollcast.every`"
            )));
        }
        let file = |file: PathBuf| root.join(file);
        let (password_file, ca) = (password_file.map(file), ca.map(file));
        Ok(FleetConfig { servers, stream, user, password_file, ca })
    }
}

fn default_stream() -> String {
    "ROLLS".into()
}

fn servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let servers = Vec::<String>::deserialize(deserializer)?;
    if !(1..=MAX_SERVERS).contains(&servers.len()) {
        return Err(D::Error::custom(ValueError::new("1 to 9 NATS servers", servers.len())));
    }
    for server in &servers {
        if !is_server(server) {
            let expected = "a NATS server such as `tls://10.0.0.1:4222`, without user and password";
            return Err(D::Error::custom(ValueError::new(expected, without_password(server))));
        }
    }
    Ok(servers)
}

/// Whether this is `nats://` or `tls://` with a host and perhaps a port.
fn is_server(text: &str) -> bool {
    let host = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
    let Some(host) = host.filter(|host| !host.is_empty() && !host.contains(['@', '/', '?', '#']))
    else {
        return false;
    };
    text.parse::<async_nats::ServerAddr>()
        .is_ok_and(|address| !address.host().is_empty() && !host.contains(char::is_whitespace))
}

fn stream<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=32).contains(&text.len()) && text.chars().all(is_allowed) {
        return Ok(text);
    }
    let expected = "the name of a stream of 1 to 32 letters, digits, `_` and `-`";
    Err(D::Error::custom(ValueError::new(expected, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    use rocket::figment::providers::{Format, Toml};
    use rocket::figment::{Figment, Profile};

    use crate::config::Config;

    fn read(rollcast: &str, fleet: &str) -> Result<Option<FleetConfig>, String> {
        let toml = format!("[default.rollcast]\n{rollcast}\n[default.rollcast.fleet]\n{fleet}");
        let set = Figment::from(Toml::string(&toml).nested());
        let read = Config::read("/srv/Rocket.toml".into(), set, Profile::new("release"));
        read.map(|config| config.fleet).map_err(|error| error.to_string())
    }

    #[test]
    fn a_fleet_needs_only_its_servers() {
        let fleet = read("", "servers = ['nats://127.0.0.1:4222']").expect("a configuration");
        let fleet = fleet.expect("a fleet");
        assert_eq!((fleet.stream.as_str(), fleet.user, fleet.ca), ("ROLLS", None, None));
        let all = "servers = ['tls://a.example.org', 'tls://[::1]:4222']\nstream = 'R-1_x'\n\
                   user = 'rollcast'\npassword_file = 'nats.password'\nca = '/etc/ca.pem'";
        let fleet = read("every = '100ms'", all).expect("a configuration").expect("a fleet");
        assert_eq!(fleet.password_file.as_deref(), Some(Path::new("/srv/nats.password")));
        assert_eq!(fleet.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn a_mistake_is_named_with_its_value() {
        let server = "servers = ['nats://h:4222']";
        for (rollcast, fleet, expected) in [
            ("", "", "missing field `servers`"),
            ("", "servers = []", "expected 1 to 9 NATS servers, got `0`"),
            ("", "servers = ['h:4222']", "got `h:4222`"),
            ("", "servers = ['http://h']", "got `http://h`"),
            ("", "servers = ['nats://']", "got `nats://`"),
            ("", "servers = ['nats://u:hidden@h']", "got `nats://***@h`"),
            ("", "servers = ['nats://h:99999']", "got `nats://h:99999`"),
            ("", "servers = ['nats://a b']", "got `nats://a b`"),
            ("", &format!("{server}\nstream = 'A.B'"), "got `A.B`"),
            ("", &format!("{server}\nstream = ''"), "1 to 32 letters"),
            ("", &format!("{server}\nuser = 'u'"), "`user` and `password_file` together"),
            ("", &format!("{server}\nsevers = 1"), "unknown key"),
            ("every = '99ms'", server, "100ms or more in a fleet, got `99ms`"),
        ] {
            let refusal = read(rollcast, fleet).err();
            let refusal = refusal.unwrap_or_else(|| panic!("`{fleet}` was accepted"));
            assert!(refusal.contains(expected), "expected `{expected}` in `{refusal}`");
        }
    }
}
