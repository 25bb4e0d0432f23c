//! The time limits of queries.

use std::time::Duration;

/// How long a query waits for its permit.
pub const PERMIT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a query runs at most. On a healthy disk the longest take some milliseconds. Well below
/// the 10 s that a supervisor gives a stop.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
