//! The configuration: reads `Rocket.toml` and `ROCKET_…` variables once at the start.
//!
//! Each module that has settings gets one small struct (`sections`). An unknown key or a bad value
//! in any profile stops the start with an error that names the key, the value and its source.

mod error;
mod fanout;
mod file;
mod fleet;
mod keep;
mod keys;
mod sections;
mod table;
mod values;

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use rocket::figment::providers::{Env, Format, Serialized, Toml};
use rocket::figment::value::Dict;
use rocket::figment::{Figment, Profile, Provider};

use self::error::value_error;
use self::keys::TABLE;
use self::table::Table;

pub use self::error::ConfigError;
pub use self::keep::Keep;
pub use self::sections::{
    AboutConfig, FanoutConfig, FeedConfig, FleetConfig, LogFormat, RollerConfig, StoreConfig,
    TlsConfig, WebConfig,
};

/// The whole configuration.
#[derive(Debug)]
pub struct Config {
    /// The file that was read. `None` if there is no file and the built-in defaults apply.
    pub file: Option<PathBuf>,
    /// The active profile: `debug`, `release` or a profile that the operator has defined.
    pub profile: String,
    pub log_format: LogFormat,
    pub roller: RollerConfig,
    pub store: StoreConfig,
    pub feed: FeedConfig,
    pub web: WebConfig,
    pub about: AboutConfig,
    /// `None`: no fan-out door.
    pub fanout: Option<FanoutConfig>,
    /// `None`: a single machine.
    pub fleet: Option<FleetConfig>,
    /// The keys of Rocket itself.
    pub rocket: Figment,
}

/// The configuration file, and the folder that relative paths start from.
struct Origin {
    file: Option<PathBuf>,
    root: PathBuf,
}

impl Config {
    /// Reads the configuration file and then `ROCKET_…` variables, which override it.
    ///
    /// Uses the file named by `ROCKET_CONFIG`. If the variable is not set, uses the first of these
    /// that exists: the file of an installed program; the nearest `Rocket.toml` in or above the
    /// working folder; the nearest one in or above the program's folder. If there is no file, every
    /// key has its default, and relative paths start at the working folder.
    ///
    /// # Errors
    ///
    /// The file named by `ROCKET_CONFIG` does not exist; a variable is not UTF-8; the file cannot be
    /// read; the working folder is unknown; the profile named by `ROCKET_PROFILE` does not exist; a
    /// key is unknown; a value is invalid.
    pub fn load() -> Result<Config, ConfigError> {
        file::check_variables()?;
        let file = file::find()?;
        let env = Env::prefixed("ROCKET_").ignore(&["PROFILE", "CONFIG"]).global();
        let from_file = match &file {
            Some(file) => Figment::from(Toml::file_exact(file).nested()),
            None => Figment::new(),
        };
        let profile = file::profile(&from_file, file.as_deref())?;
        let root = match file.as_deref().and_then(Path::parent) {
            Some(folder) => folder.to_path_buf(),
            None => env::current_dir().map_err(ConfigError::WorkingFolder)?,
        };
        Config::assemble(Origin { file, root }, from_file.merge(env), profile)
    }

    /// Takes the values of `profile` from `set`, which contains the operator's settings. All other
    /// keys have their defaults. Relative paths start at the folder of `file`.
    ///
    /// # Errors
    ///
    /// A key is unknown, or a value is invalid.
    pub fn read(file: PathBuf, set: Figment, profile: Profile) -> Result<Config, ConfigError> {
        let root = file.parent().unwrap_or(Path::new("/")).to_path_buf();
        Config::assemble(Origin { file: Some(file), root }, set, profile)
    }

    fn assemble(origin: Origin, set: Figment, profile: Profile) -> Result<Config, ConfigError> {
        let Origin { file, root } = origin;
        // Figment's message for a syntax error does not name the file, so add it.
        let written = set.data().map_err(|error| {
            let text = value_error(error).to_string();
            let file = file.as_deref().unwrap_or(Path::new("the environment"));
            ConfigError::Value(format!("{}: {}", file.display(), text.trim_end()))
        })?;
        keys::check(&set, &written)?;
        let rocket = Figment::from(rocket::Config::default())
            .merge(Serialized::default("port", 5000))
            .merge(Serialized::default("ident", "rollcast"))
            // Streams end at once on shutdown. After that, only clients that do not read are still
            // connected.
            .merge(Serialized::default("shutdown.grace", 1))
            .merge(Serialized::default("shutdown.mercy", 1))
            // rollcast listens for signals itself: earlier than Rocket, and not for those that are
            // ignored.
            .merge(Serialized::default("shutdown.ctrlc", false))
            .merge(Serialized::default("shutdown.signals", Vec::<String>::new()))
            .merge(Serialized::default(TABLE, Dict::new()))
            .merge(set)
            .select(profile.clone());
        // Check all other profiles too, so that the developer's machine reports a mistake in
        // `[release]`.
        for other in written.into_keys().filter(|other| *other != profile) {
            table::extract(&rocket.clone().select(other))?;
        }
        let (own, table) = table::extract(&rocket)?;
        let template_dir = match rocket.extract_inner::<PathBuf>("template_dir") {
            Ok(folder) => Some(root.join(folder)),
            Err(error) if error.missing() => None,
            Err(error) => return Err(value_error(error)),
        };
        // Rocket takes the folder as text.
        if let Some(folder) = template_dir.as_deref().filter(|folder| folder.to_str().is_none()) {
            return Err(ConfigError::FolderName(folder.display().to_string()));
        }
        let fleet = table.fleet.map(|fleet| fleet.into_config(&root, table.every)).transpose()?;
        let fanout = table.fanout.map(|fanout| fanout.into_config(&root));
        let address_header = own.ip_header.map(|name| name.to_string());
        let Table { dice, every, keep, .. } = table;
        Ok(Config {
            file,
            profile: profile.to_string(),
            log_format: table.log_format,
            roller: RollerConfig { dice, every },
            store: StoreConfig {
                database: root.join(table.database),
                secret: table.secret.map(|file| root.join(file)),
                origin: table.origin,
                keep,
                n_reserve_bytes: table.reserve_mb << 20,
            },
            feed: FeedConfig { heartbeat: table.heartbeat },
            web: WebConfig {
                page_size: table.page_size,
                lab_url: table.lab_url,
                max_streams: table.max_streams,
                max_streams_per_address: table.max_streams_per_address,
                trusted_proxies: table.trusted_proxies,
                address_header,
                template_dir,
                static_dir: table.static_dir.map(|folder| root.join(folder)),
            },
            about: AboutConfig {
                operator: table.operator,
                contact: table.contact,
                source: table.source,
            },
            fanout,
            fleet,
            rocket,
        })
    }

    /// Describes the source of the configuration for a message: the path of the file, or that there
    /// is none.
    pub fn source(&self) -> impl fmt::Display {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => "no configuration file, built-in defaults".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

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
        assert_eq!((config.web.template_dir, config.web.static_dir), (None, None));
        assert_eq!(config.web.address_header.as_deref(), Some("X-Real-IP"));
        let rocket = rocket::Config::try_from(&config.rocket).expect("Rocket's keys");
        assert_eq!((rocket.port, rocket.shutdown.grace), (5000, 1));
        assert!(rocket.address.is_loopback());
    }

    #[test]
    fn the_delivered_file_explains_every_key_and_holds_the_defaults() {
        let delivered = include_str!("../../Rocket.toml");
        let default = delivered.split("[debug.rollcast]").next().expect("a first part");
        let all_sections = |config: &Config| {
            let Config { roller, store, feed, web, about, fanout, fleet, log_format, .. } = config;
            format!(
                "{roller:?} {store:?} {feed:?} {web:?} {about:?} {fanout:?} {fleet:?} {log_format:?}"
            )
        };
        let [delivered, empty] = [default, ""].map(|toml| read(toml).expect("a configuration"));
        assert_eq!(all_sections(&delivered), all_sections(&empty));
        let rockets = [&delivered, &empty].map(|config| {
            let rocket = rocket::Config::try_from(&config.rocket).expect("Rocket's keys");
            format!("{rocket:?}")
        });
        assert_eq!(rockets[0], rockets[1]);
        let all = refusal("[release.rollcast]\nno_such_key = 1");
        let keys = all.split("expected one of ").nth(1).expect("all keys").split(", ");
        for key in keys {
            let is_there = |start| default.contains(&format!("\n{start}{key} = "));
            // A key or a table without a default value is commented out.
            let is_table = default.contains(&format!("\n# [default.rollcast.{key}]\n"));
            assert!(is_there("") || is_there("# ") || is_table, "{key} is not in Rocket.toml");
        }
    }

    #[test]
    fn a_path_may_contain_any_character_that_nobody_expands() {
        for name in ["a b.db", "rolls:2.db", "5$.db", "a~b.db", "./~x.db", "sqlite.db", "ü.db"] {
            let config = read(&format!("[default.rollcast]\ndatabase = '{name}'")).expect(name);
            assert_eq!(config.store.database, Path::new("/srv").join(name));
        }
    }

    #[test]
    fn the_operator_may_name_themselves_a_contact_and_the_source() {
        let config = read(
            "[default.rollcast]\noperator = 'Ada Lovelace'\ncontact = 'mailto:ada@example.org'\n\
             source = 'https://example.org/rollcast'",
        );
        let about = config.expect("a configuration").about;
        let [operator, contact, source] =
            [about.operator, about.contact, about.source].map(|value| value.expect("a value"));
        let given = ["Ada Lovelace", "mailto:ada@example.org", "https://example.org/rollcast"];
        assert_eq!([operator, contact, source], given);
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
            ("heartbeat = '11m'", "expected a heartbeat of 1s to 10m, such as `15s`, got `11m`"),
            ("database = ''", "expected the path of a file, got ``"),
            ("database = '~/rolls.db'", "variables are not expanded, got `~/rolls.db`"),
            ("database = '~ada/rolls.db'", "the whole path of a file"),
            ("database = '$HOME/rolls.db'", "the whole path of a file"),
            ("database = '/srv/${USER}/rolls.db'", "the whole path of a file"),
            ("database = ':memory:'", "rolls are not kept in memory, got `:memory:`"),
            ("database = 'file:rolls.db?mode=rw'", "without a scheme"),
            ("database = 'SQLite:rolls.db'", "without a scheme"),
            ("database = 'postgres://db/rolls'", "without a scheme"),
            ("dice = []", "expected 1 to 16 dice, got `0`"),
            ("dice = ['1D6', '1d6']", "expected each die once, got `1D6`"),
            ("dice = ['1D1']", "expected dice of 2 to 1000 sides, got `1D1`"),
            ("trusted_proxies = ['proxy']", "or a network such as `10.0.0.0/8`, got `proxy`"),
            ("trusted_proxies = ['10.0.0.1/8']", "`10.0.0.0/8`, got `10.0.0.1/8`"),
            ("trusted_proxies = ['10.0.0.0/33']", "a prefix length of 1 to 32 bits, got `33`"),
            ("trusted_proxies = ['::1', '::/0']", "got `::/0`, which is every address"),
            ("operator = ''", "expected a name of 1 to 100 characters on one line, got ``"),
            (
                "operator = \"Ada\\nLovelace\"",
                "expected a name of 1 to 100 characters on one line, got `Ada",
            ),
            (
                "contact = 'ada@example.org'",
                "such as `mailto:ada@example.org`, got `ada@example.org`",
            ),
            ("contact = 'javascript:alert(1)'", "begins with `mailto:`, `https:` or `tel:`"),
            (
                "source = 'git@example.org:dice'",
                "such as `https://example.org/rollcast`, got `git@",
            ),
            ("source = 'https://'", "got `https://`"),
            (
                "lab_url = 'lab.example.org'",
                "such as `http://lab.example.org:8002/lab/`, got `lab.",
            ),
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
