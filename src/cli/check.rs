//! `rollcast check`.

use crate::app;
use crate::cli::fleet::check as check_fleet;
use crate::cli::serve::site_files;
use crate::cli::{Failure, say};
use crate::config::{Config, FanoutConfig};
use crate::fanout::Certificates;
use crate::store::{Compared, Inspection, Store};

/// Prints the effective configuration, and checks the database.
///
/// # Errors
///
/// A configured folder or certificate cannot be used: exit code 2. The database is damaged or cannot
/// be read: exit code 1.
pub fn check(config: Config) -> Result<(), Failure> {
    let Config { roller, store, about, .. } = &config;
    // Each line is printed at once, because checking a large database takes a while.
    say("configuration", config.source().to_string())?;
    say("profile", config.profile.clone())?;
    say("address", app::address(&config)?)?;
    if let Some(fanout) = &config.fanout {
        check_door(fanout)?;
    }
    say("dice", format!("{} every {:?}", roller.dice, roller.every))?;
    say("kept", store.keep.to_string())?;
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    say("operator", or_none(&about.operator))?;
    say("contact", or_none(&about.contact))?;
    say("source", or_none(&about.source))?;
    let files = site_files(&config)?;
    say("templates", files.templates())?;
    say("static files", files.static_files())?;
    say("database", store.database.display().to_string())?;
    match app::run(&config, Store::inspect(store))?.map_err(anyhow::Error::new)? {
        Inspection::Absent => say("", "none yet; the first start creates it".into())?,
        Inspection::Sound { kept, schema, in_use, n_unreadable, unreadable, log } => {
            say("", format!("intact, schema {schema}, rolls kept: {}", kept.n_rolls()))?;
            if kept.n_rolls() > 0 {
                say("", format!("rolls {} to {}", kept.oldest, kept.head.id))?;
            }
            if in_use {
                say("", "a server is running on it".into())?;
            }
            for row in &unreadable {
                say("", row.to_string())?;
            }
            let n_more = n_unreadable - unreadable.len() as u64;
            if n_more > 0 {
                say("", format!("and {n_more} more"))?;
            }
            if n_unreadable > 0 {
                let rows = if n_unreadable == 1 { "row" } else { "rows" };
                return Err(anyhow::anyhow!(
                    "expected that every roll can be read, got {n_unreadable} {rows} that cannot; \
                     they are left out everywhere: repair or delete them, or restore a backup"
                )
                .into());
            }
            match log.map_err(anyhow::Error::new)? {
                Compared::NotYet => {}
                Compared::Alone { secret, why } => {
                    let secret = secret.display();
                    say("log", "rolls and hashes agree".into())?;
                    say("", format!("not compared with the secret: `{secret}` {why}"))?;
                }
                Compared::WithSecret => say("log", "rolls, hashes and secret agree".into())?,
            }
        }
    }
    match &config.fleet {
        Some(fleet) => check_fleet(&config, fleet),
        None => Ok(()),
    }
}

/// Prints where the fan-out door listens, and checks the files of its certificate.
fn check_door(fanout: &FanoutConfig) -> Result<(), Failure> {
    let protocol = if fanout.proxy_protocol { ", PROXY protocol" } else { "" };
    say("fan-out door", format!("{}{protocol}", fanout.url_at(fanout.address)))?;
    if let Some(files) = &fanout.tls {
        Certificates::read(files).map_err(Failure::usage)?;
        say("", format!("certificate `{}` and key are readable", files.certs.display()))?;
    }
    let streams = fanout.public_url.as_deref().unwrap_or_default();
    say("", format!("pages open their streams at {streams}/stream/"))?;
    Ok(())
}
