//! Rollcast's own table as it is written in the file, with the default of each key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use rocket::figment::Figment;
use serde::Deserialize;

use super::error::{ConfigError, source_name, value_error};
use super::fanout::FanoutTable;
use super::fleet::FleetTable;
use super::sections::LogFormat;
use super::{Keep, values};
use crate::dice::{Dice, Die};
use crate::network::Network;

/// The file as far as it is ours. Errors name a key by its whole path.
#[derive(Deserialize)]
struct Ours {
    rollcast: Table,
}

/// The table `[default.rollcast]`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    #[serde(deserialize_with = "values::database")]
    pub database: PathBuf,
    pub secret: Option<PathBuf>,
    #[serde(deserialize_with = "values::origin")]
    pub origin: Option<String>,
    #[serde(deserialize_with = "values::operator")]
    pub operator: Option<String>,
    #[serde(deserialize_with = "values::contact")]
    pub contact: Option<String>,
    #[serde(deserialize_with = "values::source")]
    pub source: Option<String>,
    #[serde(deserialize_with = "values::lab_url")]
    pub lab_url: Option<String>,
    pub static_dir: Option<PathBuf>,
    #[serde(deserialize_with = "values::dice")]
    pub dice: Dice,
    #[serde(deserialize_with = "values::every")]
    pub every: Duration,
    pub keep: Keep,
    #[serde(deserialize_with = "values::page_size")]
    pub page_size: usize,
    #[serde(deserialize_with = "values::heartbeat")]
    pub heartbeat: Duration,
    #[serde(deserialize_with = "values::max_streams")]
    pub max_streams: usize,
    #[serde(deserialize_with = "values::max_streams")]
    pub max_streams_per_address: usize,
    #[serde(deserialize_with = "values::networks")]
    pub trusted_proxies: Vec<Network>,
    pub log_format: LogFormat,
    #[serde(deserialize_with = "values::reserve_mb")]
    pub reserve_mb: u64,
    pub fanout: Option<FanoutTable>,
    pub fleet: Option<FleetTable>,
}

impl Default for Table {
    fn default() -> Table {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let dice = ["1D6", "1D20"].map(|name| name.parse::<Die>().expect("a default die is valid"));
        Table {
            database: PathBuf::from("var/rolls.db"),
            secret: None,
            origin: None,
            operator: None,
            contact: None,
            source: None,
            lab_url: None,
            static_dir: None,
            dice: Dice::try_from(Vec::from(dice)).expect("the default dice are valid"),
            every: Duration::from_secs(1),
            keep: Keep::Forever,
            page_size: 50,
            heartbeat: Duration::from_secs(15),
            max_streams: 10_000,
            max_streams_per_address: 100,
            trusted_proxies: loopback.map(Network::from).into(),
            log_format: LogFormat::Text,
            reserve_mb: 64,
            fanout: None,
            fleet: None,
        }
    }
}

/// Rocket's values and ours, of the profile that `rocket` has selected.
///
/// # Errors
///
/// A key of rollcast's table is unknown, or a value has a wrong type or is out of range.
pub fn extract(rocket: &Figment) -> Result<(rocket::Config, Table), ConfigError> {
    let own = rocket::Config::try_from(rocket).map_err(value_error)?;
    for (key, n_threads) in [("workers", own.workers), ("max_blocking", own.max_blocking)] {
        if n_threads == 0 {
            let source_name = source_name(rocket.find_metadata(key));
            let text =
                format!("expected 1 or more threads, got `0` for key `{key}` in {source_name}");
            return Err(ConfigError::Value(text));
        }
    }
    let Ours { rollcast } = rocket.extract().map_err(value_error)?;
    Ok((own, rollcast))
}
