//! `rollcast rekey`.

use crate::app;
use crate::cli::{Failure, say};
use crate::config::Config;
use crate::store::Store;

/// Makes a new secret, which determines all future rolls.
///
/// # Errors
///
/// There is no database, or a server uses it, or a file cannot be written: exit code 1.
pub fn rekey(config: Config) -> Result<(), Failure> {
    let rekeyed = app::run(&config, Store::rekey(&config.store))?.map_err(anyhow::Error::new)?;
    say("secret", format!("{}, new", rekeyed.secret.display()))?;
    if let Some(old) = &rekeyed.old_secret {
        say("old secret", format!("kept as {}", old.display()))?;
    }
    say("key", rekeyed.key.to_string())?;
    let head = rekeyed.head;
    say(
        "",
        format!("a new chain begins after roll {head}; everybody who verifies the log sees that"),
    )?;
    say("", "publish the new key, and back up the new secret".into())?;
    Ok(())
}
