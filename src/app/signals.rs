//! Signals that ask the program to stop.

use std::future::pending;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// A terminal and a wrapper may both pass on one Ctrl-C. What follows within this time belongs to
/// the first signal.
const SAME_ORDER: Duration = Duration::from_millis(200);

/// Signals that ask for a stop; `None` for one that stays ignored.
struct StopSignals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hang_up: Option<Signal>,
}

impl StopSignals {
    /// Listens for the signals that this process does not ignore. `nohup` starts a program with an
    /// ignored SIGHUP, and a shell script starts one with `&` with an ignored SIGINT.
    /// With `hangs_up`, a SIGHUP also asks for a stop.
    fn listen(hangs_up: bool) -> io::Result<StopSignals> {
        let listen = |number: i32, kind| {
            if is_ignored(number) { Ok(None) } else { signal(kind).map(Some) }
        };
        Ok(StopSignals {
            terminate: listen(SIGTERM, SignalKind::terminate())?,
            interrupt: listen(SIGINT, SignalKind::interrupt())?,
            hang_up: if hangs_up { listen(SIGHUP, SignalKind::hangup())? } else { None },
        })
    }

    /// The next signal: its number and its name.
    async fn next(&mut self) -> (i32, &'static str) {
        select! {
            () = received(&mut self.terminate) => (SIGTERM, "SIGTERM"),
            () = received(&mut self.interrupt) => (SIGINT, "SIGINT"),
            () = received(&mut self.hang_up) => (SIGHUP, "SIGHUP"),
        }
    }
}

/// Waits for a signal; without end for one that is ignored.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Whether this process ignores the signal with this number, 1 to 31.
fn is_ignored(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match ignored_mask(&status) {
        Some(mask) => mask >> (number - 1) & 1 == 1,
        None => a_child_survives(number),
    }
}

/// The ignored signals as Linux lists them, SIGHUP in the lowest bit.
/// <https://www.kernel.org/doc/html/latest/filesystems/proc.html>
fn ignored_mask(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// The way for systems without `/proc`, such as FreeBSD. A child inherits which signals are
/// ignored, so it survives one that it sends to itself.
fn a_child_survives(number: i32) -> bool {
    let mut child = Command::new("/bin/sh");
    child.args(["-c", &format!("kill -{number} $$")]);
    let status = child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Returns a future that completes with the name of the first SIGTERM, SIGINT or SIGHUP from now
/// on. A second one ends the process at once, whatever still runs. A signal that is ignored at the
/// first call stays ignored.
///
/// # Errors
///
/// The signals cannot be listened for.
///
/// # Panics
///
/// Outside of a runtime.
pub fn stop_signal() -> io::Result<impl Future<Output = &'static str>> {
    StopSignals::listen(true).map(first_of)
}

/// The same without SIGHUP, which no longer ends the process from now on.
///
/// # Errors
///
/// As for [`stop_signal`].
///
/// # Panics
///
/// As for [`stop_signal`].
pub fn stop_signal_but_hang_up() -> io::Result<impl Future<Output = &'static str>> {
    // Nobody listens for it yet. Without a handler it would end the process during a start.
    drop(signal(SignalKind::hangup())?);
    StopSignals::listen(false).map(first_of)
}

fn first_of(mut signals: StopSignals) -> impl Future<Output = &'static str> {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let (_, name) = signals.next().await;
        let first = Instant::now();
        // An error means that nobody waits for it any more; a second signal still counts.
        let _ = sender.send(name);
        loop {
            let (number, _) = signals.next().await;
            if first.elapsed() >= SAME_ORDER {
                // Ends the process as the signal would without a handler, so that a shell or a
                // supervisor sees the reason.
                let _ = emulate_default_handler(number);
            }
        }
    });
    // The sender is dropped without a signal only when the runtime ends, and this with it.
    async move { receiver.await.unwrap_or("the end of the runtime") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_find_an_ignored_signal_agree() {
        assert_eq!(ignored_mask("Name:\tx\nSigIgn:\t0000000000001003\n"), Some(0x1003));
        assert_eq!(ignored_mask("Name:\tx\n"), None);
        for number in [SIGTERM, SIGINT, SIGHUP] {
            assert_eq!(is_ignored(number), a_child_survives(number), "signal {number}");
        }
    }
}
