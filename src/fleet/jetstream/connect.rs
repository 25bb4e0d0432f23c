//! Connects to the NATS servers.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerError};

use crate::config::FleetConfig;
use crate::fleet::error::{FleetError, MIN_SERVER};
use crate::fleet::jetstream::{Denied, JetStream, Requests, TIMEOUT, lock, subject};

/// A connection is checked this often, so that a vanished server is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(2);

impl JetStream {
    /// Connects to one of the servers and checks its version.
    ///
    /// # Errors
    ///
    /// The password or the certificates cannot be read, no server accepts the connection, or the
    /// server is too old.
    pub async fn connect(config: &FleetConfig) -> Result<JetStream, FleetError> {
        let denied = Denied::default();
        let denials = denied.clone();
        let mut options = ConnectOptions::new()
            .name("rollcast")
            .connection_timeout(TIMEOUT)
            .ping_interval(PING_INTERVAL)
            .request_timeout(Some(TIMEOUT))
            // The configured addresses are the ones that this node can reach.
            .ignore_discovered_servers()
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(text)) = event {
                    *lock(&denials) = Some(text);
                }
                std::future::ready(())
            });
        if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
            options = options.user_and_password(user.clone(), password(file)?);
        }
        if let Some(ca) = &config.ca {
            fs::File::open(ca).map_err(|error| cannot_read(ca, &error))?;
            options = options.add_root_certificates(ca.clone());
        }
        let client =
            options.connect(&config.servers).await.map_err(|error| match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    FleetError::Login
                }
                _ => FleetError::Unreachable(format!(
                    "cannot connect to {}: {}",
                    config.servers.join(", "),
                    chain(&error)
                )),
            })?;
        let version = client.server_info().version;
        if !is_new_enough(&version) {
            return Err(FleetError::OldServer { version });
        }
        let doorbell = client.subscribe(subject(&config.stream)).await;
        let doorbell = doorbell.map_err(|error| FleetError::Unreachable(error.to_string()))?;
        let requests = Requests { client, stream: config.stream.clone(), denied };
        Ok(JetStream { requests, doorbell })
    }
}

fn is_new_enough(version: &str) -> bool {
    // A development version has a suffix: `2.15.0-beta.1`.
    let numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let numbers: Vec<u64> = numbers.take(MIN_SERVER.len()).collect();
    numbers >= MIN_SERVER.to_vec()
}

/// Reads the password, which must be one that only the server's user can read.
///
/// # Errors
///
/// [`FleetError::File`] or [`FleetError::Readable`].
pub fn password(file: &Path) -> Result<String, FleetError> {
    let mode = fs::metadata(file).map_err(|error| cannot_read(file, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o7777;
        return Err(FleetError::Readable { file: file.display().to_string(), mode });
    }
    let text = fs::read_to_string(file).map_err(|error| cannot_read(file, &error))?;
    Ok(text.trim_end_matches(['\n', '\r']).into())
}

fn cannot_read(file: &Path, error: &io::Error) -> FleetError {
    FleetError::File { file: file.display().to_string(), reason: error.to_string() }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_from_2_14_0_on_are_new_enough() {
        for version in ["2.14.0", "2.14.6", "2.15.1", "2.15.0-beta.1", "3.0.0", "10.0.0"] {
            assert!(is_new_enough(version), "{version}");
        }
        for version in ["2.9.10", "2.13.99", "1.99.0", "", "dev", "2"] {
            assert!(!is_new_enough(version), "{version}");
        }
    }
}
