//! The house: opens the rooms, runs the pump, stops in order.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::Stream;
use jiff::Timestamp;
use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Handle;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::clock::ticks;
use crate::config::{Config, RollerConfig};
use crate::dice::Results;
use crate::draw::Draw;
use crate::feed::{Feed, N_RECENT};
use crate::metrics::Metrics;
use crate::panics;
use crate::pump::Pump;
use crate::retention::prune;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::{Store, StoreError};
use crate::web;

/// Files that are no streams: the database's, the log, sockets, pages being fetched, and 64
/// downloads.
const N_OWN_FILES: u64 = 128;

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
    let RollerConfig { every, dice } = config.roller.clone();
    let mut draw = Draw::from_entropy(dice);
    serve_rolls(config, ticks(every), move |id| draw.draw(id)).await
}

/// The same with ticks and dice from elsewhere.
pub async fn serve_rolls(
    config: &Config,
    ticks: impl Stream<Item = RolledAt> + Send + 'static,
    draw: impl FnMut(RollId) -> Results + Send + 'static,
) -> anyhow::Result<()> {
    let mut stop_signal = Box::pin(stop_signal().context("cannot listen for signals")?);
    allow_open_files(config.web.max_streams);
    let open = async {
        let store = Store::open(&config.store).await?;
        Ok::<_, StoreError>((store.clone(), Feed::open(store, N_RECENT).await?))
    };
    // A database whose rolls are not counted yet takes a while. It may be left at any moment.
    let (store, feed) = select! {
        opened = open => opened?,
        name = &mut stop_signal => {
            info!("{name} received, stopped before it had started");
            return Ok(());
        }
    };
    let metrics = Metrics::default();
    panics::watch(metrics.clone());
    // For a metric only: an old page that is damaged must not keep the server down.
    if let Ok((_, kept)) = store.roll(feed.head().id).await {
        metrics.pruned(0, kept.oldest);
    }
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
    let pump = Pump {
        head: feed.head().id,
        draw,
        apply: {
            let store = store.clone();
            move |rolls| {
                let store = store.clone();
                async move { store.apply(rolls).await }
            }
        },
        publish: {
            let feed = feed.clone();
            move |rolls: &[Roll]| feed.publish(rolls)
        },
        metrics: metrics.clone(),
    };
    let pump = pump.run(ticks, shutdown.clone());
    let newest = feed.head().unix_millis.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // The next one was not due before that.
    let newest = newest.and_then(|newest| newest.checked_add(config.roller.every).ok());
    // On the pump's thread: what writes takes turns.
    let pruner = prune(config.store.keep, newest, store.clone(), metrics);
    let pump = async move {
        match lifted.await {
            Ok(()) => select! {
                pumped = pump => pumped,
                () = pruner => unreachable!("pruning goes on for as long as the pump does"),
            },
            Err(_never_lifted) => Ok(()),
        }
    };
    let mut pump = on_its_own_thread("pump", pump)?;
    let heartbeat = config.feed.heartbeat;
    let beat = tokio::spawn({
        let feed = feed.clone();
        async move { feed.send_heartbeats(heartbeat).await }
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

/// Raises the soft limit on open files to the hard one, as far as this process may, and says when
/// that is too low for all the streams that are configured.
fn allow_open_files(max_streams: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let n_files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // `None` is no limit.
    let Some(n_files) = n_files else { return };
    let n_streams = n_files.saturating_sub(N_OWN_FILES);
    if n_streams < max_streams as u64 {
        warn!(
            n_files,
            max_streams,
            "{n_files} open files are allowed, enough for {n_streams} of the {max_streams} streams \
             of rollcast.max_streams: allow more (ulimit -n, LimitNOFILE=, minfds), or set it lower"
        );
    }
}

/// Runs `work` on a thread of its own. The receiver fails if it panics.
///
/// The clock of the rolls is not to wait in one queue with thousands of streams: under more load
/// than the machine can take it is the streams that lag, and then get several rolls at a time.
fn on_its_own_thread<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<T>> {
    let (ended, end) = oneshot::channel();
    let runtime = Handle::current();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // Nobody waits for it any more only when the server has failed otherwise.
            let _ = ended.send(runtime.block_on(work));
        })
        .with_context(|| format!("cannot start the thread `{name}`"))?;
    Ok(end)
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

/// Says where the server listens and what it does, once it listens; then the pump may start.
fn announce(config: &Config, feed: &Feed, liftoff: oneshot::Sender<()>) -> AdHoc {
    let profile = config.profile.clone();
    let database = config.store.database.display().to_string();
    let keep = config.store.keep.to_string();
    let (dice, every) = (config.roller.dice.to_string(), config.roller.every);
    let n_rolls = feed.head().id.0;
    AdHoc::on_liftoff("announcement", move |rocket| {
        Box::pin(async move {
            let listening = rocket.config();
            let address = std::net::SocketAddr::new(listening.address, listening.port);
            info!(
                version = env!("CARGO_PKG_VERSION"),
                %profile, %address, %database, %dice, ?every, %keep, n_rolls,
                "listening on http://{address}, profile {profile}; rolling {dice} every \
                 {every:?} into {database}, kept: {keep}; {n_rolls} rolls so far"
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
