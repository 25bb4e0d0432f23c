//! The threads and files that the server runs on.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::warn;

use crate::config::Config;

/// Open files that are not streams: the database, the log, sockets, page requests and 64
/// downloads.
const N_OTHER_FILES: u64 = 128;
/// How long the end waits for blocking work that still runs.
const BLOCKING_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs `work` on a runtime with the configured number of threads.
///
/// # Errors
///
/// Rocket's configuration is not valid, or the threads cannot be started.
pub fn run<T>(config: &Config, work: impl Future<Output = T>) -> anyhow::Result<T> {
    let rocket = rocket::Config::try_from(&config.rocket)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(rocket.workers)
        .max_blocking_threads(rocket.max_blocking)
        // Rocket expects this name.
        .thread_name("rocket-worker-thread")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(work);
    // Clients that do not read may keep tasks alive, so do not wait for all of them.
    runtime.shutdown_timeout(BLOCKING_TIMEOUT);
    Ok(result)
}

/// Runs `work` on its own thread of the current runtime. The receiver fails if `work` panics.
///
/// The pump must not queue behind thousands of streams. Under more load than the machine can
/// take, streams lag and then receive several rolls at once, but rolls are made on time.
///
/// # Errors
///
/// The thread cannot be started.
pub fn on_its_own_thread<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<T>> {
    let (sender, receiver) = oneshot::channel();
    let runtime = Handle::current();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // An error means that the server failed otherwise and nobody waits any more.
            let _ = sender.send(runtime.block_on(work));
        })
        .with_context(|| format!("cannot start the thread `{name}`"))?;
    Ok(receiver)
}

/// Raises the soft limit on open files to the hard one where this process may, and warns if that
/// is too low for the configured number of streams.
pub fn raise_file_limit(max_streams: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let n_files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // `None` is no limit.
    let Some(n_files) = n_files else { return };
    let n_streams = n_files.saturating_sub(N_OTHER_FILES);
    if n_streams < max_streams as u64 {
        warn!(
            n_files,
            max_streams,
            "the limit of {n_files} open files is enough for {n_streams} streams, but \
             rollcast.max_streams is {max_streams}: raise the limit (ulimit -n, LimitNOFILE=, \
             minfds) or lower max_streams"
        );
    }
}
