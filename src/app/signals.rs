//! Signals that ask the program to stop.

use std::io;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// A terminal and a wrapper may both pass on one Ctrl-C. What follows within this time belongs to
/// the first signal.
const SAME_ORDER: Duration = Duration::from_millis(200);

/// Signals that ask for a stop. Rocket listens for them too, but only once it accepts requests:
/// until then a signal would kill the process.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<StopSignals> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal: its number and its name.
    async fn next(&mut self) -> (i32, &'static str) {
        select! {
            _ = self.terminate.recv() => (SIGTERM, "SIGTERM"),
            _ = self.interrupt.recv() => (SIGINT, "SIGINT"),
            _ = self.hang_up.recv() => (SIGHUP, "SIGHUP"),
        }
    }
}

/// Returns a future that completes with the name of the first SIGTERM, SIGINT or SIGHUP from now
/// on. A second one ends the process at once, whatever still runs.
///
/// # Errors
///
/// The signals cannot be listened for.
///
/// # Panics
///
/// Outside of a runtime.
pub fn stop_signal() -> io::Result<impl Future<Output = &'static str>> {
    let mut signals = StopSignals::listen()?;
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
    Ok(async move { receiver.await.unwrap_or("the end of the runtime") })
}
