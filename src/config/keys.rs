//! Keys that nothing reads are errors, in every profile and not only in the active one.

use rocket::figment::Figment;
use rocket::figment::Profile;
use rocket::figment::value::{Dict, Map, Value};

use super::error::{ConfigError, source_name};

/// The table of rollcast's own keys, `[default.rollcast]`.
pub const TABLE: &str = "rollcast";
/// Rocket's keys that have an effect here. `tls` and `secret_key` are not compiled in, `limits` and
/// `temp_dir` are for request bodies, which nothing here reads, and `log_level` and `cli_colors`
/// belong to Rocket's logger, which `tracing` replaces. An operator who sets one of those should
/// learn that it does nothing.
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
/// Keys of the shutdown table. `ctrlc` and `force` have no effect: rollcast starts Rocket itself.
const SHUTDOWN_KEYS: [&str; 3] = ["signals", "grace", "mercy"];

/// Refuses unknown keys. `set` holds the operator's settings, `written` the same by profile.
///
/// # Errors
///
/// [`ConfigError::UnknownKey`] names the first unknown key, its source and the remedy.
pub fn check(set: &Figment, written: &Map<Profile, Dict>) -> Result<(), ConfigError> {
    for (profile, dict) in written {
        for (key, value) in dict {
            let name = format!("{profile}.{key}");
            match key.as_str() {
                TABLE => {}
                "shutdown" => check_shutdown(set, &name, value)?,
                key if ROCKET_KEYS.contains(&key) => {}
                key => return Err(unknown_key(set, name, value, remedy(key))),
            }
        }
    }
    Ok(())
}

fn check_shutdown(set: &Figment, name: &str, shutdown: &Value) -> Result<(), ConfigError> {
    for (key, value) in shutdown.as_dict().into_iter().flatten() {
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
            return format!("a variable sets a whole table: ROCKET_{variable}='{{{inner}=…}}'");
        }
    }
    match key {
        "log_level" | "cli_colors" => {
            format!("set RUST_LOG=debug in the environment, or log_format in [default.{TABLE}]")
        }
        "tls" => "TLS belongs to the proxy in front".into(),
        _ => format!("expected one of {}, {TABLE}", ROCKET_KEYS.join(", ")),
    }
}
