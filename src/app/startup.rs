//! What the server says about its start and its stop: where it listens, or why it cannot.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::anyhow;
use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::config::Config;
use crate::fanout::listen_remedy;
use crate::feed::Feed;

/// The URL that the server listens on, without a trailing slash.
///
/// # Errors
///
/// Rocket's configuration is not valid.
pub fn address(config: &Config) -> anyhow::Result<String> {
    let rocket = rocket::Config::try_from(&config.rocket)?;
    Ok(format!("http://{}", SocketAddr::new(rocket.address, rocket.port)))
}

/// The URL at which programs on this machine reach the server.
///
/// # Errors
///
/// As for [`address`].
pub fn local_url(config: &Config) -> anyhow::Result<String> {
    let rocket = rocket::Config::try_from(&config.rocket)?;
    let ip: IpAddr = match rocket.address {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(format!("http://{}", SocketAddr::new(ip, rocket.port)))
}

/// Once the server listens, logs its address and settings, and reports to the service manager that
/// it is ready. Then completes `listening`.
pub fn announce(config: &Config, feed: &Feed, listening: oneshot::Sender<()>) -> AdHoc {
    let profile = config.profile.clone();
    let database = config.store.database.display().to_string();
    let keep = config.store.keep.to_string();
    let (dice, every) = (config.roller.dice.to_string(), config.roller.every);
    let n_rolls = feed.head().id.0;
    AdHoc::on_liftoff("announcement", move |rocket| {
        Box::pin(async move {
            let address = SocketAddr::new(rocket.config().address, rocket.config().port);
            info!(
                version = env!("CARGO_PKG_VERSION"),
                %profile, %address, %database, %dice, ?every, %keep, n_rolls,
                "listening on http://{address}, profile {profile}; rolling {dice} every \
                 {every:?} into {database}, kept: {keep}; {n_rolls} rolls so far"
            );
            // Connections are accepted from here on: the socket listens.
            report(NotifyState::Ready);
            // An error means that the pump has ended already.
            let _ = listening.send(());
        })
    })
}

/// Once the server stops, for whatever reason, reports it to the service manager.
pub fn announce_stop() -> AdHoc {
    AdHoc::on_shutdown("stop", |_| Box::pin(async { report(NotifyState::Stopping) }))
}

/// Tells the service manager, if one has started the server (`Type=notify` of systemd).
///
/// <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>
fn report(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!("cannot report to the service manager: {error} (NOTIFY_SOCKET)");
    }
}

/// One of Rocket's errors, with what to do about it.
pub fn explain(error: rocket::Error, config: &Config) -> anyhow::Error {
    let address = address(config).unwrap_or_default();
    match error.kind() {
        ErrorKind::Bind(cause) => {
            let remedy =
                listen_remedy(cause.kind(), "ROCKET_PORT=5001", "ROCKET_ADDRESS=127.0.0.1");
            anyhow!("cannot listen on {address}: {cause}; {remedy}")
        }
        ErrorKind::FailedFairings(_) => anyhow!(
            "cannot use the templates in `{}` (template_dir); the log says why",
            config.rocket.extract_inner::<String>("template_dir").unwrap_or_default()
        ),
        kind => anyhow!("the server cannot run: {kind}"),
    }
}
