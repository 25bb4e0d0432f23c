//! The limit on the size of files (`ulimit -f`, `LimitFSIZE=`): a write beyond it fails like one to a
//! full disk.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGXFSZ;
use signal_hook::flag;

/// Has a write beyond the limit fail with an error. By default, its signal kills the process.
pub fn survive_the_limit() {
    // A handler that does nothing of use: only its presence counts. Ignore an error, which leaves the
    // default.
    let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}
