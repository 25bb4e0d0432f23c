//! Clients by other people: they read the real server's stream and resume on it, and query its
//! database while it rolls. `tests/setup.sh` installs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod oracle;

mod curl;
mod eventsource;
mod launchdarkly;
mod sqlite3;
mod sseclient;
mod statistics;
