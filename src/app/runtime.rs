//! The threads and files that the server runs on.

#[cfg(target_os = "linux")]
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Context;
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
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

/// Runs `work` on a runtime with the configured number of threads, without core dumps.
///
/// # Errors
///
/// Rocket's configuration is not valid, or the threads cannot be started.
pub fn run<T>(config: &Config, work: impl Future<Output = T>) -> anyhow::Result<T> {
    write_no_core_dumps();
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

/// Keeps the secret of the log out of core dumps.
///
/// The limit is one byte: if core dumps are piped to a program, Linux ignores a limit of 0, but not
/// a limit of 1 (`coredump_pipe` in its source). Where this limit cannot be set or is ignored, the
/// process is not dumpable at all. Elsewhere it stays dumpable: otherwise only root could read its
/// open files and its memory use in `/proc`.
fn write_no_core_dumps() {
    let limit = getrlimit(Resource::Core);
    let of = |n_bytes| Rlimit { current: Some(n_bytes), ..limit };
    // It fails where the hard limit is 0.
    let is_limited = setrlimit(Resource::Core, of(1)).is_ok();
    if !is_limited {
        let _ = setrlimit(Resource::Core, of(0));
    }
    #[cfg(target_os = "linux")]
    if !is_limited || dumps_go_to_a_socket() {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Whether core dumps go to a socket, for which Linux ignores every limit (since 6.16).
#[cfg(target_os = "linux")]
fn dumps_go_to_a_socket() -> bool {
    fs::read("/proc/sys/kernel/core_pattern").is_ok_and(|pattern| pattern.starts_with(b"@"))
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    use rustix::process::dumpable_behavior;

    #[test]
    fn where_no_limit_keeps_the_secret_out_of_core_dumps_the_process_is_not_dumpable() {
        let is_dumpable = || dumpable_behavior().expect("Linux") == DumpableBehavior::Dumpable;
        let before = getrlimit(Resource::Core);
        // Control: a limit of one byte is enough.
        if before.maximum != Some(0) && !dumps_go_to_a_socket() {
            write_no_core_dumps();
            assert_eq!(getrlimit(Resource::Core).current, Some(1));
            assert!(is_dumpable());
        }
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Core, none).expect("a lower limit");
        write_no_core_dumps();
        assert!(!is_dumpable());
        // The server reads its own figures.
        assert!(fs::read_dir("/proc/self/fd").expect("open files").count() > 0);
        assert!(fs::read_to_string("/proc/self/status").expect("figures").contains("VmRSS"));
        set_dumpable_behavior(DumpableBehavior::Dumpable).expect("as before");
    }
}
