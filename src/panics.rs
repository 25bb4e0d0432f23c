//! Logs and counts every panic, since a panic is a bug in rollcast.
//!
//! A panic in a request ends that request with status 500, one in a stream ends that stream, and
//! one in the pump or the store ends the server.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic;
use std::thread;

use tracing::{dispatcher, error};

use crate::metrics::Metrics;

/// Logs and counts every panic of this process from now on. While no logs are set up, the standard
/// message is printed instead.
pub fn watch(metrics: Metrics) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        metrics.panicked();
        if !dispatcher::has_been_set() {
            return print(panic);
        }
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        // Captured only if RUST_BACKTRACE is set.
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => Some(backtrace.to_string()),
            _ => None,
        };
        // This must not panic, which would end the process. Logging never does; see `cli`.
        error!(
            thread = thread.name(),
            backtrace, "a bug in rollcast, please report it: {message} (at {place})"
        );
    }));
}
