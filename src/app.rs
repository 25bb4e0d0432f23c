//! The house: opens the rooms, runs the pump, stops in order.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use futures::StreamExt;
use rand::rngs::StdRng;
use rocket::Shutdown;
use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::config::{Config, RollerConfig};
use crate::feed::{Feed, N_RECENT};
use crate::metrics::Metrics;
use crate::roll::{NewRoll, Roll};
use crate::roller::rolls;
use crate::store::{Store, StoreError};
use crate::web;

/// Time until a roll that could not be stored is tried again: doubled up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// Runs `work` on a runtime with as many threads as are configured.
pub fn run<T>(config: &Config, work: impl Future<Output = T>) -> anyhow::Result<T> {
    let rocket = rocket::Config::try_from(&config.rocket)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(rocket.workers)
        .max_blocking_threads(rocket.max_blocking)
        // Rocket looks for this name.
        .thread_name("rocket-worker-thread")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(work);
    // What is left belongs to clients that do not read: their end is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(500));
    Ok(result)
}

/// Where the server listens.
pub fn address(config: &Config) -> anyhow::Result<String> {
    let rocket = rocket::Config::try_from(&config.rocket)?;
    Ok(format!("http://{}", std::net::SocketAddr::new(rocket.address, rocket.port)))
}

/// Rolls and serves until a signal, or until rolls can no longer be kept.
pub async fn serve(config: &Config) -> anyhow::Result<()> {
    let stop_signal = stop_signal().context("cannot listen for signals")?;
    let store = Store::open(&config.store).await?;
    let feed = Feed::open(store.clone(), N_RECENT).await?;
    let metrics = Metrics::default();
    let (liftoff, lifted) = oneshot::channel();
    let rocket = web::rocket(config, store.clone(), feed.clone(), metrics.clone())?
        .attach(announce(config, &feed, liftoff))
        .ignite()
        .await
        .map_err(|error| explain(error, config))?;

    let shutdown = rocket.shutdown();
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            // Not within the macro, which skips its arguments where nobody logs `info`.
            let name = stop_signal.await;
            info!("{name} received, stopping");
            shutdown.notify();
        }
    });
    let pump =
        pump(config.roller.clone(), store.clone(), feed.clone(), metrics.clone(), shutdown.clone());
    // A task of its own, so that its panic is noticed here instead of ending all at once.
    let mut pump = tokio::spawn(async move {
        match lifted.await {
            Ok(()) => pump.await,
            Err(_never_lifted) => Ok(()),
        }
    });
    let heartbeat = config.feed.heartbeat;
    let beat = tokio::spawn({
        let feed = feed.clone();
        async move { feed.beat(heartbeat).await }
    });

    let mut server = pin!(rocket.launch());
    let (served, pumped) = select! {
        served = &mut server => {
            // However it ended: the pump must not go on for nobody.
            shutdown.notify();
            (served, pump.await)
        }
        pumped = &mut pump => {
            shutdown.clone().notify();
            (server.await, pumped)
        }
    };
    // Looked at before anything else can end this function: Rocket panics over an error that
    // nobody did.
    let served = served.map(drop).or_else(|error| match error.kind() {
        // A client that does not read kept its connection beyond all patience.
        ErrorKind::Shutdown(_, None) => {
            info!("some clients were cut off");
            Ok(())
        }
        _ => Err(explain(error, config)),
    });
    beat.abort();
    match store.checkpoint().await {
        Ok(true) => {}
        Ok(false) => warn!("the write-ahead log stays beside the database, which is being read"),
        Err(error) => {
            warn!("the write-ahead log stays beside the database: {:#}", anyhow!(error));
        }
    }
    pumped.context("the roller broke down")?.context("rolls can no longer be kept")?;
    served?;
    info!("stopped");
    Ok(())
}

/// The name of the signal that asks for an orderly stop, when it comes.
///
/// Rocket listens for signals too, but only after it has said that it listens for requests:
/// until then a signal would kill.
pub fn stop_signal() -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hang_up.recv() => "SIGHUP",
        }
    })
}

/// Moves rolls from the dice to the store to the feed, until the server stops.
///
/// A roll that cannot be stored is tried again, the same one, and nobody sees it before it is
/// stored. While that lasts no new one is rolled.
async fn pump(
    config: RollerConfig,
    store: Store,
    feed: Feed,
    metrics: Metrics,
    mut shutdown: Shutdown,
) -> Result<(), StoreError> {
    let mut rolls = pin!(rolls(config.every, config.dice, rand::make_rng::<StdRng>()));
    loop {
        let new = select! {
            biased;
            () = &mut shutdown => return Ok(()),
            Some(new) = rolls.next() => new,
        };
        let kept = keep(&store, new, &metrics, &mut shutdown).await?;
        let Some(roll) = kept else { return Ok(()) };
        debug!(roll.id = roll.id.0, "stored roll {}", roll.id);
        feed.publish(&roll);
    }
}

/// Stores a roll, however long that takes; `None` when the server stops first.
async fn keep(
    store: &Store,
    new: NewRoll,
    metrics: &Metrics,
    shutdown: &mut Shutdown,
) -> Result<Option<Roll>, StoreError> {
    let mut pause = FIRST_RETRY;
    let (mut n_failures, mut said) = (0_u32, String::new());
    loop {
        let asked = Instant::now();
        match store.append(new.clone()).await {
            Ok(roll) => {
                metrics.appended(asked.elapsed());
                if n_failures > 0 {
                    info!(roll.id = roll.id.0, n_failures, "rolls are stored again");
                }
                return Ok(Some(roll));
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => {
                // Each fault once, not with every attempt: a full disk should not fill the
                // log as well.
                let fault = format!("{:#}", anyhow!(error));
                metrics.append_failed(fault.clone());
                if fault != said {
                    error!("no roll can be stored, trying again: {fault}");
                    said = fault;
                }
                n_failures += 1;
            }
        }
        select! {
            () = &mut *shutdown => return Ok(None),
            () = sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
        }
    }
}

/// Says where the server listens and what it does, once it listens; then the pump may start.
fn announce(config: &Config, feed: &Feed, liftoff: oneshot::Sender<()>) -> AdHoc {
    let profile = config.profile.clone();
    let database = config.store.database.display().to_string();
    let (dice, every) = (config.roller.dice.to_string(), config.roller.every);
    let n_rolls = feed.head().id.0;
    AdHoc::on_liftoff("announcement", move |rocket| {
        Box::pin(async move {
            let listening = rocket.config();
            let address = std::net::SocketAddr::new(listening.address, listening.port);
            info!(
                version = env!("CARGO_PKG_VERSION"),
                %profile, %address, %database, %dice, ?every, n_rolls,
                "listening on http://{address}, profile {profile}; rolling {dice} every \
                 {every:?} into {database}, {n_rolls} rolls so far"
            );
            // The pump waits for this unless it is gone already.
            let _ = liftoff.send(());
        })
    })
}

/// Rocket's errors in our words.
fn explain(error: rocket::Error, config: &Config) -> anyhow::Error {
    let address = address(config).unwrap_or_default();
    match error.kind() {
        ErrorKind::Bind(cause) => anyhow!(
            "cannot listen on {address}: {cause}; stop what listens there, or set another port \
             (ROCKET_PORT=5001)"
        ),
        ErrorKind::FailedFairings(_) => anyhow!(
            "the templates cannot be used; the log says why (folder: template_dir, {})",
            config.rocket.extract_inner::<String>("template_dir").unwrap_or_default()
        ),
        kind => anyhow!("the server cannot run: {kind}"),
    }
}
