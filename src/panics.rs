//! A panic is a fault of rollcast itself: wherever it happens, it is logged as one and counted.
//!
//! What ends by it is the request (with a page of status 500), the one stream, or, where rolls can
//! no longer be made or stored, the server.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic;
use std::thread;

use tracing::{dispatcher, error};

use crate::metrics::Metrics;

/// From now on, in the whole process. Where no logs are set up the standard message is printed,
/// as ever.
pub fn watch(metrics: Metrics) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        metrics.panicked();
        if !dispatcher::has_been_set() {
            return print(panic);
        }
        let message = panic.payload_as_str().unwrap_or("it says nothing of why");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        // Where RUST_BACKTRACE asks for one.
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => Some(backtrace.to_string()),
            _ => None,
        };
        // Must not panic itself, which would end the process: no log line does (`cli`).
        error!(
            thread = thread.name(),
            backtrace, "a fault of rollcast itself, please report it: {message} (at {place})"
        );
    }));
}
