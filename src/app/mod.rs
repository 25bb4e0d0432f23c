//! The server: opens the modules in order, runs the pump and the web server, and stops in order.

mod runtime;
mod signals;
mod startup;
mod user_signals;

use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::Stream;
use jiff::Timestamp;
use rocket::error::ErrorKind;
use rocket::{Ignite, Rocket, Shutdown};
use tokio::select;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::clock::ticks;
use crate::config::{Config, FleetConfig, RollerConfig};
use crate::dice::Results;
use crate::draw;
use crate::fanout::{Door, OpenDoor};
use crate::feed::{Feed, N_RECENT};
use crate::fleet::entry::KeyId;
use crate::fleet::{self, Node};
use crate::health::{Health, Replication};
use crate::metrics::Metrics;
use crate::panics;
use crate::pump::{Pump, PumpError};
use crate::retention::prune;
use crate::roll::{Roll, RollId, RolledAt};
use crate::seeds::Seeds;
use crate::store::{Store, StoreError};
use crate::web::{self, SiteFiles};

pub use self::runtime::run;
pub use self::signals::stop_signal;
pub use self::startup::{address, local_url};

/// Why the server cannot start if it cannot be stopped.
const NO_SIGNALS: &str = "cannot listen for signals";
/// The time between two checkpoints of the log of rolls.
const SIGN_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end waits for the write-ahead log to be moved into the database. The next start
/// reads the log just as well.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(3);

/// Rolls and serves until a signal, or until rolls can no longer be stored.
///
/// # Errors
///
/// Says why the server cannot start, or why it stopped without a signal.
pub async fn serve(config: &Config, files: SiteFiles) -> anyhow::Result<()> {
    let RollerConfig { every, dice } = config.roller.clone();
    if let Some(fleet) = &config.fleet {
        fleet.password_file.as_deref().map(fleet::password).transpose()?;
        return serve_with(config, files, |modules, listens, shutdown| {
            modules.start_fleet(config, fleet.clone(), listens, shutdown)
        })
        .await;
    }
    let draw = move |seeds: &Seeds, id| draw::results(seeds.draw(id), id, &dice);
    serve_rolls(config, files, ticks(every), draw).await
}

/// The same with ticks and dice from elsewhere.
///
/// # Errors
///
/// As for [`serve`].
pub async fn serve_rolls(
    config: &Config,
    files: SiteFiles,
    ticks: impl Stream<Item = RolledAt> + Send + 'static,
    mut draw: impl FnMut(&Seeds, RollId) -> Results + Send + 'static,
) -> anyhow::Result<()> {
    serve_with(config, files, |modules, listens, shutdown| {
        let seeds = modules.store.seeds();
        modules.start_pump(config, ticks, move |id| draw(&seeds, id), listens, shutdown)
    })
    .await
}

/// Serves until a signal. `start_pump` starts the pump, which waits until the server listens.
async fn serve_with(
    config: &Config,
    files: SiteFiles,
    start_pump: impl FnOnce(
        &Modules,
        oneshot::Receiver<()>,
        Shutdown,
    ) -> anyhow::Result<oneshot::Receiver<Pumped>>,
) -> anyhow::Result<()> {
    let mut stop_signal: Pin<Box<dyn Future<Output = &'static str> + Send>> =
        match config.fanout.as_ref().and_then(|fanout| fanout.tls.as_ref()) {
            None => Box::pin(signals::stop_signal().context(NO_SIGNALS)?),
            // A SIGHUP reads the certificate again.
            Some(_) => Box::pin(signals::stop_signal_but_hang_up().context(NO_SIGNALS)?),
        };
    user_signals::ignore(config).context(NO_SIGNALS)?;
    runtime::raise_file_limit(config.web.max_streams);
    // This can take long: the first start with an older database counts all its rolls.
    let (store, feed) = select! {
        opened = open(config) => opened?,
        name = &mut stop_signal => {
            info!("received {name}, stopped before the start was complete");
            return Ok(());
        }
    };
    let modules = Modules::start(config, store, feed).await;
    let (listening, listens) = oneshot::channel();
    let rocket = modules.web_server(config, files, listening).await?;
    let door = config.fanout.as_ref().map(|fanout| Door::bind(fanout, &rocket)).transpose()?;

    let shutdown = rocket.shutdown();
    shut_down_after(stop_signal, shutdown.clone());
    let pump = start_pump(&modules, listens, shutdown.clone())?;
    let heartbeats = modules.start_heartbeats();
    let door = door.map(|door| open_door(door, &shutdown)).transpose()?;
    let (served, pumped) = run_until_both_end(rocket, pump, shutdown).await;

    // Inspect this before any early return: Rocket panics when an error is dropped unseen.
    let served = end_of_server(served, config);
    if let Some(door) = door {
        door.closed().await;
    }
    heartbeats.abort();
    if !matches!(pumped, Ok(Err(PumpError::NoAnswer))) {
        // Nobody saw a roll that could not be stored for good.
        if let Ok(Ok(())) = pumped {
            sign_last(&modules.store).await;
        }
        move_log(&modules.store).await;
    }
    pumped.context("the pump panicked")??;
    served?;
    info!("stopped");
    Ok(())
}

async fn open(config: &Config) -> Result<(Store, Feed), StoreError> {
    let store = Store::open(&config.store).await?;
    let feed = Feed::open(store.clone(), N_RECENT, config.feed.heartbeat).await?;
    Ok((store, feed))
}

/// How the web server and the pump ended.
type Served = Result<Rocket<Ignite>, rocket::Error>;
type Pumped = Result<(), PumpError>;

/// What the web server and the pump share.
struct Modules {
    store: Store,
    feed: Feed,
    health: Health,
    metrics: Metrics,
}

impl Modules {
    async fn start(config: &Config, store: Store, feed: Feed) -> Modules {
        let health = Health::new(config.roller.every);
        let metrics = Metrics::default();
        panics::watch(metrics.clone());
        // Ignore an error: it is for a metric only, and a damaged old page must not keep the server
        // from starting.
        if let Ok((_, kept)) = store.cursor(feed.head().id).await {
            metrics.pruned(0, kept.oldest);
        }
        Modules { store, feed, health, metrics }
    }

    /// The web server, ready to launch. Once it listens, it completes `listening`.
    async fn web_server(
        &self,
        config: &Config,
        files: SiteFiles,
        listening: oneshot::Sender<()>,
    ) -> anyhow::Result<Rocket<Ignite>> {
        let Modules { store, feed, health, metrics } = self;
        web::rocket(files, config, store.clone(), feed.clone(), health.clone(), metrics.clone())
            .attach(startup::announce(config, feed, listening))
            .attach(startup::announce_stop())
            .ignite()
            .await
            .map_err(|error| startup::explain(error, config))
    }

    /// Makes and prunes rolls on a thread of their own, from the moment that the server `listens`
    /// until `shutdown`. The result is what the pump returns.
    fn start_pump(
        &self,
        config: &Config,
        ticks: impl Stream<Item = RolledAt> + Send + 'static,
        draw: impl FnMut(RollId) -> Results + Send + 'static,
        listens: oneshot::Receiver<()>,
        shutdown: Shutdown,
    ) -> anyhow::Result<oneshot::Receiver<Pumped>> {
        let (store, feed) = (self.store.clone(), self.feed.clone());
        let pump = Pump {
            head: feed.head().id,
            draw,
            apply: move |rolls| {
                let store = store.clone();
                async move { store.apply(rolls).await }
            },
            publish: move |rolls: &[Roll]| feed.publish(rolls),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
        };
        self.run_pump(config, listens, pump.run(ticks, shutdown))
    }

    /// The same for a node of a fleet.
    fn start_fleet(
        &self,
        config: &Config,
        fleet: FleetConfig,
        listens: oneshot::Receiver<()>,
        shutdown: Shutdown,
    ) -> anyhow::Result<oneshot::Receiver<Pumped>> {
        self.health.replicates(Replication::Unreachable("this node has just started".into()));
        let RollerConfig { every, dice } = config.roller.clone();
        let node = Node {
            config: fleet,
            every,
            dice,
            seeds: self.store.seeds(),
            key: KeyId(self.store.key().id()),
            store: self.store.clone(),
            feed: self.feed.clone(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
        };
        self.run_pump(config, listens, node.run(shutdown))
    }

    /// Runs a pump, the pruner and the signer on a thread of their own.
    fn run_pump(
        &self,
        config: &Config,
        listens: oneshot::Receiver<()>,
        pump: impl Future<Output = Pumped> + Send + 'static,
    ) -> anyhow::Result<oneshot::Receiver<Pumped>> {
        let (store, feed, metrics) = (self.store.clone(), self.feed.clone(), self.metrics.clone());
        let newest = feed.head().unix_millis.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        // The next roll was not due before that.
        let newest = newest.and_then(|newest| newest.checked_add(config.roller.every).ok());
        let pruner = prune(config.store.keep, newest, store, metrics);
        let signer = sign_every_second(self.store.clone());
        runtime::on_its_own_thread("pump", async move {
            match listens.await {
                Ok(()) => select! {
                    pumped = pump => pumped,
                    () = pruner => unreachable!("the pruner never ends"),
                    () = signer => unreachable!("the signer never ends"),
                },
                Err(_never_listened) => Ok(()),
            }
        })
    }

    fn start_heartbeats(&self) -> JoinHandle<()> {
        let feed = self.feed.clone();
        tokio::spawn(async move { feed.send_heartbeats().await })
    }
}

/// Opens the fan-out door until `shutdown`. A SIGHUP reads its certificate again.
fn open_door(door: Door, shutdown: &Shutdown) -> anyhow::Result<OpenDoor> {
    if let Some(certificates) = door.certificates() {
        user_signals::read_again(certificates).context(NO_SIGNALS)?;
    }
    let url = door.url();
    let open = door.open(shutdown)?;
    info!(fanout = url, "the fan-out door listens on {url}");
    Ok(open)
}

/// Starts the shutdown once `stop_signal` completes.
fn shut_down_after(
    stop_signal: impl Future<Output = &'static str> + Send + 'static,
    shutdown: Shutdown,
) {
    tokio::spawn(async move {
        // Not inside the macro, which skips its arguments where `info` is not logged.
        let name = stop_signal.await;
        info!("received {name}, stopping");
        shutdown.notify();
    });
}

/// Runs the web server and waits for the pump. The end of one of them shuts down the other.
async fn run_until_both_end(
    rocket: Rocket<Ignite>,
    mut pump: oneshot::Receiver<Pumped>,
    shutdown: Shutdown,
) -> (Served, Result<Pumped, RecvError>) {
    let mut server = pin!(rocket.launch());
    select! {
        served = &mut server => {
            // However the server ended, the pump must not run without it.
            shutdown.notify();
            (served, pump.await)
        }
        pumped = &mut pump => {
            shutdown.notify();
            (server.await, pumped)
        }
    }
}

/// Why the web server ended, unless it shut down.
fn end_of_server(served: Served, config: &Config) -> anyhow::Result<()> {
    served.map(drop).or_else(|error| match error.kind() {
        // Clients that do not read kept their connections beyond the grace period.
        ErrorKind::Shutdown(_, None) => {
            info!("cut off clients that did not read");
            Ok(())
        }
        _ => Err(startup::explain(error, config)),
    })
}

/// Signs the log until the future is dropped. Each fault is logged once.
async fn sign_every_second(store: Store) {
    let mut logged_fault = String::new();
    loop {
        sleep(SIGN_INTERVAL).await;
        let fault = match store.sign().await {
            Ok(()) => String::new(),
            Err(error) => format!("{:#}", anyhow!(error)),
        };
        if fault != logged_fault && !fault.is_empty() {
            warn!(
                "cannot sign the log of rolls, trying again; new rolls continue, and rolls that are \
                 not signed are kept: {fault}"
            );
        } else if fault != logged_fault {
            info!("the log of rolls is signed again");
        }
        logged_fault = fault;
        // Ignore the error: the next roll has the same one, and is reported.
        let _ = store.add_to_log().await;
    }
}

/// Signs the rolls of the last second.
async fn sign_last(store: &Store) {
    let fault = match timeout(CHECKPOINT_TIMEOUT, store.sign()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{:#}", anyhow!(error)),
        Err(_elapsed) => "the disk does not answer".into(),
    };
    warn!("the newest rolls are not signed; the next start signs them: {fault}");
}

/// Moves the write-ahead log into the database, so that it is one file while nothing runs.
async fn move_log(store: &Store) {
    let reason = match timeout(CHECKPOINT_TIMEOUT, store.finish()).await {
        Ok(Ok(true)) => return,
        Ok(Ok(false)) => "another program reads it".into(),
        Ok(Err(error)) => format!("{:#}", anyhow!(error)),
        Err(_elapsed) => {
            format!("its disk did not answer within {} s", CHECKPOINT_TIMEOUT.as_secs())
        }
    };
    warn!("the write-ahead log stays beside the database: {reason}");
}
