//! Fault injection, with an oracle that checks what every client saw, and a control that must fail.
//! The quick part of each campaign runs with all tests. `make torture` runs the whole campaign and
//! writes the table of docs/reliability.md.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod report;
mod oracle;
mod process;

// The disk.
#[cfg(target_os = "linux")]
mod shim;
#[cfg(target_os = "linux")]
mod power;
#[cfg(target_os = "linux")]
mod errors;
#[cfg(target_os = "linux")]
mod database;
#[cfg(target_os = "linux")]
mod readers;
#[cfg(target_os = "linux")]
mod hangs;

// The process.
mod pagers;
mod kills;
mod panics;
#[cfg(target_os = "linux")]
mod logs;
mod descriptors;
mod stop;

// The network.
mod chaos;
mod network;
mod siege;
#[cfg(target_os = "linux")]
mod own_network;
#[cfg(target_os = "linux")]
mod vanished;
#[cfg(feature = "deploy")]
#[path = "../deploy/files.rs"]
mod files;
#[cfg(feature = "deploy")]
#[allow(dead_code, reason = "the other suite uses all of it")]
#[path = "../deploy/nginx.rs"]
mod nginx;
#[cfg(feature = "deploy")]
#[allow(dead_code, reason = "the other suite uses all of it")]
#[path = "../deploy/program.rs"]
mod program;

// Input.
#[path = "../../fuzz/properties.rs"]
mod properties;
mod input;
mod requests;

// Retention.
mod retention;

// The log of verifiable rolls.
mod proofs;
