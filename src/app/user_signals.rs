//! Signals that do not stop the server: SIGUSR1, SIGUSR2, and SIGHUP if there is a certificate.
//!
//! SIGUSR1 and SIGUSR2 would kill the server by default, but scripts that rotate logs send
//! them, because other servers then open their log again. This one has nothing to open.

use std::io;

use rocket::config::Sig;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::config::Config;
use crate::fanout::Certificates;

/// Logs each SIGUSR1 and SIGUSR2 from now on and otherwise ignores it, unless `shutdown.signals`
/// names it, so that Rocket stops the server.
///
/// # Errors
///
/// The signals cannot be listened for.
///
/// # Panics
///
/// Outside of a runtime.
pub fn ignore(config: &Config) -> io::Result<()> {
    let stopping = config.rocket.extract_inner("shutdown.signals").unwrap_or_default();
    let stopping: Vec<Sig> = stopping;
    let signals = [
        (SignalKind::user_defined1(), Sig::Usr1, "SIGUSR1"),
        (SignalKind::user_defined2(), Sig::Usr2, "SIGUSR2"),
    ];
    for (kind, rockets, name) in signals {
        if stopping.contains(&rockets) {
            continue;
        }
        let mut received = signal(kind)?;
        tokio::spawn(async move {
            while received.recv().await.is_some() {
                info!("ignored {name}: there is no log file to open again, and nothing to reload");
            }
        });
    }
    Ok(())
}

/// Reads the certificate of the fan-out door again after each SIGHUP from now on.
///
/// # Errors
///
/// The signal cannot be listened for.
///
/// # Panics
///
/// Outside of a runtime.
pub fn read_again(certificates: Certificates) -> io::Result<()> {
    let mut received = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while received.recv().await.is_some() {
            match certificates.read_again() {
                Ok(()) => info!("received SIGHUP, read the certificate of the fan-out door again"),
                Err(error) => error!("received SIGHUP, kept the old certificate: {error:#}"),
            }
        }
    });
    Ok(())
}
