//! Faults on purpose, an oracle over what everybody saw, and a control that must fail. The quick
//! part of each campaign runs with all tests; `make torture` runs the whole and writes the table
//! of docs/reliability.md.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod report;

#[cfg(target_os = "linux")]
mod database;
#[cfg(target_os = "linux")]
mod errors;
#[cfg(target_os = "linux")]
mod power;
#[cfg(target_os = "linux")]
mod shim;
