//! Third-party clients. They read and resume the stream of a real server, query its database while
//! it rolls, and fuzz its API. `tests/setup.sh` installs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod oracle;

mod curl;
mod event_source_polyfill;
mod eventsource;
mod examples;
mod fetch_event_source;
mod httpx_sse;
mod launchdarkly;
mod schemathesis;
mod sqlite3;
mod sseclient;
mod statistics;
mod verify_py;
