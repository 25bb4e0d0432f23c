//! The configuration: `Rocket.toml` and `ROCKET_…` variables, read once into one small struct a
//! room. An unknown key or a bad value stops the start and is named with its source.

mod keep;

use std::env;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use rocket::figment::error::Kind;
use rocket::figment::providers::{Env, Format, Serialized, Toml};
use rocket::figment::value::magic::RelativePathBuf;
use rocket::figment::value::{Dict, Map, Value};
use rocket::figment::{Figment, Metadata, Profile, Provider};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::dice::{Dice, Die};
use crate::text::ValueError;

pub use self::keep::Keep;

/// The file that is looked for.
const FILE_NAME: &str = "Rocket.toml";
/// Names another file than `Rocket.toml`.
const FILE_VARIABLE: &str = "ROCKET_CONFIG";
const PROFILE_VARIABLE: &str = "ROCKET_PROFILE";

/// Everything that is configured.
#[derive(Debug)]
pub struct Config {
    /// The file that was read.
    pub file: PathBuf,
    /// The profile in force: `debug`, `release` or one of the operator's own.
    pub profile: String,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is rolled and how often.
    pub roller: RollerConfig,
    /// Where the rolls are kept.
    pub store: StoreConfig,
    /// How streams are kept open.
    pub feed: FeedConfig,
    /// Pages, streams and who may open them.
    pub web: WebConfig,
    /// Rocket's own keys, for Rocket.
    pub rocket: Figment,
}

/// See [`Config::log_format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is rolled and how often.
#[derive(Clone, Debug)]
pub struct RollerConfig {
    /// The dice of each roll.
    pub dice: Dice,
    /// Time between rolls, 1 ms to 1 h.
    pub every: Duration,
}

/// Where the rolls are kept.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The database file.
    pub database: PathBuf,
    /// Which rolls are kept.
    pub keep: Keep,
    /// Bytes free on its disk below which the server calls itself not ready; 0: never.
    pub n_reserve_bytes: u64,
}

/// How streams are kept open.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Silence after which open streams get a comment, 1 s to 10 min.
    pub heartbeat: Duration,
}

/// Pages, streams and who may open them.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Rolls on a page, 1 to 500.
    pub page_size: usize,
    /// Open streams in all.
    pub max_streams: usize,
    /// Open streams of one client address.
    pub max_streams_per_address: usize,
    /// Whose forwarded client address is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The header in which a trusted proxy forwards the client's address; `None` believes nobody.
    pub address_header: Option<String>,
    /// Scripts, style sheets and the icon.
    pub static_dir: PathBuf,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was found, or it cannot be read.
    #[error(
        "expected a configuration file, found none; looked for {looked}; \
         start in the folder that holds {FILE_NAME}, or name the file with {FILE_VARIABLE}"
    )]
    Missing {
        /// The places, in order.
        looked: String,
    },
    /// A profile that the file does not have.
    #[error("expected a profile of {file} ({known}), got `{profile}` from {PROFILE_VARIABLE}")]
    Profile {
        /// The profile asked for.
        profile: String,
        /// The profiles there are.
        known: String,
        /// The file.
        file: String,
    },
    /// A key that nothing reads.
    #[error("unknown key `{key}` in {source_name}; {remedy}")]
    UnknownKey {
        /// The key with its table.
        key: String,
        /// The file or variable it stands in.
        source_name: String,
        /// What to write instead.
        remedy: String,
    },
    /// A value that cannot be used.
    #[error("{0}")]
    Value(String),
}

/// The whole file as far as it is ours; errors name a key by its whole path.
#[derive(Deserialize)]
struct Ours {
    rollcast: Table,
}

/// Our table, `[default.rollcast]`, as it stands in the file.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    database: PathBuf,
    static_dir: PathBuf,
    #[serde(deserialize_with = "dice")]
    dice: Dice,
    #[serde(deserialize_with = "every")]
    every: Duration,
    keep: Keep,
    #[serde(deserialize_with = "page_size")]
    page_size: usize,
    #[serde(deserialize_with = "heartbeat")]
    heartbeat: Duration,
    #[serde(deserialize_with = "n_streams")]
    max_streams: usize,
    #[serde(deserialize_with = "n_streams")]
    max_streams_per_address: usize,
    #[serde(deserialize_with = "addresses")]
    trusted_proxies: Vec<IpAddr>,
    log_format: LogFormat,
    #[serde(deserialize_with = "reserve_mb")]
    reserve_mb: u64,
}

impl Default for Table {
    fn default() -> Table {
        let die = |name: &str| name.parse::<Die>().expect("a default die is valid");
        Table {
            database: PathBuf::from("var/rolls.db"),
            static_dir: PathBuf::from("static"),
            dice: Dice::try_from(vec![die("1D6"), die("1D20")]).expect("default dice are valid"),
            every: Duration::from_secs(1),
            keep: Keep::Forever,
            page_size: 50,
            heartbeat: Duration::from_secs(15),
            max_streams: 10_000,
            max_streams_per_address: 100,
            trusted_proxies: vec!["127.0.0.1", "::1"]
                .into_iter()
                .map(|address| address.parse().expect("a default address is valid"))
                .collect(),
            log_format: LogFormat::Text,
            reserve_mb: 64,
        }
    }
}

/// Rocket's keys with an effect here. `tls` and `secret_key` are not compiled in, `limits` and
/// `temp_dir` are for bodies that nobody reads, and `log_level` and `cli_colors` belong to
/// Rocket's logger, which `tracing` stands in for: an operator who sets one of those should learn
/// that it does nothing.
const ROCKET_KEYS: [&str; 9] = [
    "address",
    "port",
    "workers",
    "max_blocking",
    "ident",
    "ip_header",
    "keep_alive",
    "template_dir",
    "shutdown",
];
/// Of the shutdown table. `ctrlc` and `force` belong to what stands in for Rocket's own start.
const SHUTDOWN_KEYS: [&str; 3] = ["signals", "grace", "mercy"];
/// Our own table.
const TABLE: &str = "rollcast";

impl Config {
    /// Reads the configuration from the file named by `ROCKET_CONFIG`, else from where an
    /// installed program has its own, else from the nearest `Rocket.toml` at or above the working
    /// folder, else at or above the program itself; then from `ROCKET_…` variables, which win.
    pub fn load() -> Result<Config, ConfigError> {
        let file = find_file()?;
        let env = Env::prefixed("ROCKET_").ignore(&["PROFILE", "CONFIG"]).global();
        let from_file = Figment::from(Toml::file_exact(&file).nested());
        let profile = match env::var(PROFILE_VARIABLE) {
            Ok(name) => known_profile(&from_file, &file, name)?,
            Err(_) => rocket::Config::DEFAULT_PROFILE,
        };
        Config::read(file, from_file.merge(env), profile)
    }

    /// Reads what the operator `set`, over the defaults, as `profile` has it.
    pub fn read(file: PathBuf, set: Figment, profile: Profile) -> Result<Config, ConfigError> {
        // A syntax error comes up here, without its file.
        let written = set.data().map_err(|error| {
            let text = value_error(error).to_string();
            ConfigError::Value(format!("{}: {}", file.display(), text.trim_end()))
        })?;
        check_keys(&set, &written)?;
        let root = file.parent().unwrap_or(Path::new("/")).to_path_buf();
        let rocket = Figment::from(rocket::Config::default())
            .merge(Serialized::default("port", 5000))
            .merge(Serialized::default("ident", "rollcast"))
            // Streams end at once: whoever is still connected then does not read.
            .merge(Serialized::default("shutdown.grace", 1))
            .merge(Serialized::default("shutdown.mercy", 1))
            .merge(Serialized::default("template_dir", root.join("templates")))
            .merge(Serialized::default(TABLE, Dict::new()))
            .merge(set)
            .select(profile.clone());
        // The other profiles too: a slip in `[release]` should show on the developer's machine.
        for other in written.into_keys().filter(|other| *other != profile) {
            values(&rocket.clone().select(other))?;
        }
        let (own, table) = values(&rocket)?;
        let template_dir = rocket.extract_inner::<RelativePathBuf>("template_dir");
        let template_dir = root.join(template_dir.map_err(value_error)?.relative());
        Ok(Config {
            profile: profile.to_string(),
            log_format: table.log_format,
            roller: RollerConfig { dice: table.dice, every: table.every },
            store: StoreConfig {
                database: root.join(table.database),
                keep: table.keep,
                n_reserve_bytes: table.reserve_mb << 20,
            },
            feed: FeedConfig { heartbeat: table.heartbeat },
            web: WebConfig {
                page_size: table.page_size,
                max_streams: table.max_streams,
                max_streams_per_address: table.max_streams_per_address,
                trusted_proxies: table.trusted_proxies,
                address_header: own.ip_header.map(|name| name.to_string()),
                static_dir: root.join(table.static_dir),
            },
            file,
            // Global, so that it holds in every profile.
            rocket: rocket.merge(Serialized::global("template_dir", template_dir)),
        })
    }
}

fn find_file() -> Result<PathBuf, ConfigError> {
    if let Ok(named) = env::var(FILE_VARIABLE) {
        let file = PathBuf::from(&named);
        return file.canonicalize().map_err(|_| ConfigError::Missing {
            looked: format!("`{named}` from {FILE_VARIABLE}"),
        });
    }
    let here = env::current_dir().ok();
    let program = env::current_exe().ok().and_then(|p| p.canonicalize().ok());
    let beside = program.and_then(|p| Some(p.parent()?.to_path_buf()));
    let installed = beside.as_deref().and_then(installed_folder);
    let folders: Vec<PathBuf> = [here, beside].into_iter().flatten().collect();
    // An installed program first where it belongs: wherever it is called from, it is about the
    // history that the service keeps, and not about some other project's file.
    installed
        .as_deref()
        .into_iter()
        .chain(folders.iter().flat_map(|folder| folder.ancestors()))
        .map(|folder| folder.join(FILE_NAME))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            let above = |folder: &PathBuf| format!("in {} and the folders above", folder.display());
            let installed = installed.iter().map(|folder| format!("in {}", folder.display()));
            let looked: Vec<String> = installed.chain(folders.iter().map(above)).collect();
            ConfigError::Missing { looked: format!("{FILE_NAME} {}", looked.join(", ")) }
        })
}

/// Where `make install` puts the configuration of a program in `<prefix>/bin`.
fn installed_folder(bin: &Path) -> Option<PathBuf> {
    let prefix = bin.parent()?;
    // A system's own programs have theirs in /etc: https://refspecs.linuxfoundation.org/FHS_3.0
    let etc = if prefix == Path::new("/usr") { "/etc".into() } else { prefix.join("etc") };
    Some(etc.join("rollcast"))
}

/// `debug` and `release` always exist; any other profile must stand in the file, or a slip of the
/// pen would run with the defaults.
fn known_profile(from_file: &Figment, file: &Path, name: String) -> Result<Profile, ConfigError> {
    let profile = Profile::new(&name);
    let mut known: Vec<String> = from_file.profiles().map(|p| p.to_string()).collect();
    known.extend(["debug".into(), "release".into()]);
    known.retain(|known| known != "default" && known != "global");
    known.sort();
    known.dedup();
    if known.iter().any(|known| profile == known.as_str()) {
        Ok(profile)
    } else {
        Err(ConfigError::Profile {
            profile: name,
            known: known.join(", "),
            file: file.display().to_string(),
        })
    }
}

/// The values of the profile that `rocket` has selected.
fn values(rocket: &Figment) -> Result<(rocket::Config, Table), ConfigError> {
    let own = rocket::Config::try_from(rocket).map_err(value_error)?;
    for (key, n) in [("workers", own.workers), ("max_blocking", own.max_blocking)] {
        if n == 0 {
            let source_name = source_name(rocket.find_metadata(key));
            let text =
                format!("expected 1 or more threads, got `0` for key `{key}` in {source_name}");
            return Err(ConfigError::Value(text));
        }
    }
    let Ours { rollcast } = rocket.extract().map_err(value_error)?;
    Ok((own, rollcast))
}

/// Refuses keys that nothing reads, in every profile and not only the one in force.
fn check_keys(set: &Figment, written: &Map<Profile, Dict>) -> Result<(), ConfigError> {
    for (profile, dict) in written {
        for (key, value) in dict {
            let name = format!("{profile}.{key}");
            match key.as_str() {
                TABLE => {}
                "shutdown" => check_shutdown_keys(set, &name, value)?,
                key if ROCKET_KEYS.contains(&key) => {}
                key => return Err(unknown_key(set, name, value, remedy(key))),
            }
        }
    }
    Ok(())
}

fn check_shutdown_keys(set: &Figment, name: &str, shutdown: &Value) -> Result<(), ConfigError> {
    let keys = shutdown.as_dict().into_iter().flatten();
    for (key, value) in keys {
        if !SHUTDOWN_KEYS.contains(&key.as_str()) {
            let expected = format!("expected one of {}", SHUTDOWN_KEYS.join(", "));
            return Err(unknown_key(set, format!("{name}.{key}"), value, expected));
        }
    }
    Ok(())
}

fn unknown_key(set: &Figment, key: String, value: &Value, remedy: String) -> ConfigError {
    ConfigError::UnknownKey { key, source_name: source_name(set.get_metadata(value.tag())), remedy }
}

fn remedy(key: &str) -> String {
    for table in [TABLE, "shutdown"] {
        if let Some(inner) = key.strip_prefix(table).and_then(|rest| rest.strip_prefix('_')) {
            let variable = table.to_uppercase();
            return format!("a variable sets a table whole: ROCKET_{variable}='{{{inner}=…}}'");
        }
    }
    match key {
        "log_level" | "cli_colors" => "set RUST_LOG=debug, and log_format in our table".into(),
        "tls" => "TLS belongs to the proxy in front".into(),
        _ => format!("expected one of {}, {TABLE}", ROCKET_KEYS.join(", ")),
    }
}

fn source_name(metadata: Option<&Metadata>) -> String {
    match metadata {
        Some(Metadata { source: Some(source), .. }) => source.to_string(),
        Some(metadata) => metadata.name.to_string(),
        None => "the defaults".into(),
    }
}

/// The first mistake. Figment's own text names value, key and source.
fn value_error(error: rocket::figment::Error) -> ConfigError {
    let Some(first) = error.into_iter().next() else {
        return ConfigError::Value("the configuration cannot be read".into());
    };
    match &first.kind {
        Kind::UnknownField(_, known) => ConfigError::UnknownKey {
            key: first.path.join("."),
            source_name: source_name(first.metadata.as_ref()),
            remedy: format!("expected one of {}", known.join(", ")),
        },
        _ => ConfigError::Value(first.to_string()),
    }
}

fn dice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dice, D::Error> {
    let dice = Vec::<Text<Die>>::deserialize(deserializer)?;
    let dice: Vec<Die> = dice.into_iter().map(|Text(die)| die).collect();
    Dice::try_from(dice).map_err(D::Error::custom)
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let address = |text: String| match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => Err(D::Error::custom(ValueError::new("an IP address", text))),
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(address).collect()
}

fn every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let bounds = (Duration::from_millis(1), Duration::from_secs(3600));
    duration(deserializer, bounds, "a time between rolls of 1ms to 1h, such as `200ms`")
}

fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let bounds = (Duration::from_secs(1), Duration::from_secs(600));
    duration(deserializer, bounds, "a silence of 1s to 10m, such as `15s`")
}

fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
    (least, most): (Duration, Duration),
    expected: &'static str,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.parse::<SignedDuration>().ok();
    parsed
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| (least..=most).contains(duration))
        .ok_or_else(|| D::Error::custom(ValueError::new(expected, text)))
}

fn page_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    count(deserializer, 500, "1 to 500 rolls a page")
}

fn n_streams<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    count(deserializer, 1_000_000, "1 to 1000000 streams")
}

fn reserve_mb<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let n = i64::deserialize(deserializer)?;
    u64::try_from(n)
        .ok()
        .filter(|n| *n <= 1_000_000_000)
        .ok_or_else(|| D::Error::custom(ValueError::new("a reserve of 0 to 1000000000 MiB", n)))
}

fn count<'de, D: Deserializer<'de>>(
    deserializer: D,
    most: i64,
    expected: &'static str,
) -> Result<usize, D::Error> {
    let n = i64::deserialize(deserializer)?;
    if (1..=most).contains(&n) {
        Ok(n as usize)
    } else {
        Err(D::Error::custom(ValueError::new(expected, n)))
    }
}

/// A value that is written as a text.
struct Text<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<T>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Config, String> {
        let set = Figment::from(Toml::string(toml).nested());
        Config::read(PathBuf::from("/srv/Rocket.toml"), set, Profile::new("release"))
            .map_err(|error| error.to_string())
    }

    fn refusal(toml: &str) -> String {
        read(toml).err().unwrap_or_else(|| panic!("`{toml}` was accepted"))
    }

    #[test]
    fn every_key_has_a_default() {
        let config = read("").expect("no keys at all");
        assert_eq!(config.roller.dice.to_string(), "1D6 and 1D20");
        assert_eq!(config.roller.every, Duration::from_secs(1));
        assert_eq!(config.store.database, Path::new("/srv/var/rolls.db"));
        assert_eq!(config.store.keep, Keep::Forever);
        assert_eq!(config.feed.heartbeat, Duration::from_secs(15));
        assert_eq!(config.web.page_size, 50);
        assert_eq!(config.web.static_dir, Path::new("/srv/static"));
        assert_eq!(config.web.address_header.as_deref(), Some("X-Real-IP"));
        let rocket = rocket::Config::try_from(&config.rocket).expect("Rocket's keys");
        assert_eq!((rocket.port, rocket.shutdown.grace), (5000, 1));
        assert!(rocket.address.is_loopback());
    }

    #[test]
    fn the_delivered_file_explains_every_key_and_holds_the_defaults() {
        let delivered = include_str!("../Rocket.toml");
        let default = delivered.split("[debug.rollcast]").next().expect("a first part");
        let rooms = |config: &Config| {
            let Config { roller, store, feed, web, log_format, .. } = config;
            format!("{roller:?} {store:?} {feed:?} {web:?} {log_format:?}")
        };
        let [delivered, empty] = [default, ""].map(|toml| read(toml).expect("a configuration"));
        assert_eq!(rooms(&delivered), rooms(&empty));
        let rockets = [&delivered, &empty].map(|config| {
            let rocket = rocket::Config::try_from(&config.rocket).expect("Rocket's keys");
            format!("{rocket:?}")
        });
        assert_eq!(rockets[0], rockets[1]);
        let all = refusal("[release.rollcast]\nno_such_key = 1");
        let keys = all.split("expected one of ").nth(1).expect("all keys").split(", ");
        for key in keys {
            assert!(default.contains(&format!("\n{key} = ")), "{key} is not in Rocket.toml");
        }
    }

    #[test]
    fn a_profile_overrides_the_default_and_keeps_the_rest() {
        let config = read(
            "[default.rollcast]\nevery = '5s'\npage_size = 7\n\
             [release.rollcast]\nevery = '20ms'\n\
             [debug.rollcast]\npage_size = 9",
        );
        let config = config.expect("a configuration");
        assert_eq!(config.roller.every, Duration::from_millis(20));
        assert_eq!(config.web.page_size, 7);
    }

    #[test]
    fn bounds_are_inclusive_and_a_value_beyond_them_is_named_with_its_key() {
        for every in ["1ms", "1h", "60m", "1s 500ms", "0.2s"] {
            read(&format!("[default.rollcast]\nevery = '{every}'")).expect(every);
        }
        let table = [
            ("every = '0ms'", "1ms to 1h, such as `200ms`, got `0ms`"),
            ("every = '61m'", "1ms to 1h, such as `200ms`, got `61m`"),
            ("every = '-1s'", "1ms to 1h, such as `200ms`, got `-1s`"),
            ("every = 'soon'", "1ms to 1h, such as `200ms`, got `soon`"),
            ("every = 1", "invalid type: found signed int `1`, expected a string"),
            ("page_size = 0", "expected 1 to 500 rolls a page, got `0`"),
            ("page_size = 501", "expected 1 to 500 rolls a page, got `501`"),
            (
                "keep = '1000000'",
                "or a number of rolls of 1 to 1000000000000 such as `1000000`, got `1000000`",
            ),
            ("keep = 0", "an age of 1s to 36500d such as `\"90d\"`"),
            ("reserve_mb = -1", "expected a reserve of 0 to 1000000000 MiB, got `-1`"),
            ("max_streams = -1", "expected 1 to 1000000 streams, got `-1`"),
            ("heartbeat = '11m'", "expected a silence of 1s to 10m, such as `15s`, got `11m`"),
            ("dice = []", "expected 1 to 16 dice, got `0`"),
            ("dice = ['1D6', '1d6']", "expected each die once, got `1D6`"),
            ("dice = ['1D1']", "expected dice of 2 to 1000 sides, got `1D1`"),
            ("trusted_proxies = ['proxy']", "expected an IP address, got `proxy`"),
            ("log_format = 'xml'", "unknown variant: found `xml`"),
        ];
        for (line, expected) in table {
            let seen = refusal(&format!("[release.rollcast]\n{line}"));
            assert!(seen.contains(expected), "expected `{expected}` in `{seen}`");
            let key = line.split(' ').next().expect("a key");
            assert!(seen.contains(&format!("rollcast.{key}")), "expected the key in `{seen}`");
            assert!(seen.contains("TOML"), "expected the source in `{seen}`");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_in_any_profile() {
        let table = [
            ("[default]\nprot = 1", "unknown key `default.prot`"),
            ("[debug]\nprot = 1", "unknown key `debug.prot`"),
            ("[release.shutdown]\ngrce = 1", "unknown key `release.shutdown.grce`"),
            ("[release.rollcast]\nevry = '1s'", "unknown key `rollcast.evry`"),
            ("[debug.rollcast]\nevry = '1s'", "unknown key `rollcast.evry`"),
            ("[debug.rollcast]\nevery = '2h'", "got `2h` for key \"debug.rollcast.every\""),
            ("[debug.shutdown]\ngrace = 'x'", "for key \"debug.shutdown.grace\""),
            ("[default.shutdown]\nforce = true", "unknown key `default.shutdown.force`"),
            ("[default]\nworkers = 0", "expected 1 or more threads, got `0` for key `workers`"),
            ("[default]\nshutdown_grace = 1", "ROCKET_SHUTDOWN='{grace=…}'"),
            ("[default]\nlog_level = 'off'", "RUST_LOG"),
            ("[default]\nport = 'http'", "expected u16 for key \"default.port\""),
            ("port = 1", "port"),
            ("[default", "TOML"),
        ];
        for (toml, expected) in table {
            let seen = refusal(toml);
            assert!(seen.contains(expected), "expected `{expected}` in `{seen}`");
        }
    }
}
