//! Fleets: several nodes and real nats-servers, as processes on loopback. Faults are injected into
//! both. An oracle compares the databases of all nodes, the fleet's log and what clients saw. Some
//! clients are behind a real HAProxy with the delivered file. A control must fail the same oracle.
//! `tests/setup.sh` installs nats-server and HAProxy. NATS_SERVER=PATH names another nats-server.
//!
//! The quick part of each campaign runs with all tests. `make torture` runs the whole campaign.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

#[allow(dead_code, reason = "the other suite uses all of it")]
#[path = "../faults/report.rs"]
mod report;
#[allow(dead_code, reason = "the other suite uses all of it")]
#[path = "../faults/oracle.rs"]
mod client_oracle;
#[path = "../deploy/files.rs"]
#[allow(dead_code, reason = "the other suite uses all of it")]
mod files;
#[path = "../deploy/program.rs"]
#[allow(dead_code, reason = "the other suite uses all of it")]
mod program;
#[path = "../deploy/front.rs"]
#[allow(dead_code, reason = "the other suite uses all of it")]
mod front;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the other suite uses all of it")]
#[path = "../faults/shim.rs"]
mod shim;
#[cfg(all(target_os = "linux", feature = "machine"))]
#[path = "../faults/own_network.rs"]
mod own_network;

// The harness, in dependency order.
mod process;
mod nats;
mod engine;
mod nodes;
mod fleet;
mod entries;
mod oracle;
mod gate;
mod clients;
#[cfg(all(target_os = "linux", feature = "machine"))]
mod hosts;

// Without faults.
mod steady;
mod figures;
mod commands;
mod configuration;
mod access;

// Nodes that join, or may not.
mod join;
mod refusals;
mod old_server;

// Faults.
mod kills;
mod outage;
mod haproxy;
mod cursors;
mod restores;
#[cfg(target_os = "linux")]
mod clocks;
#[cfg(all(target_os = "linux", feature = "machine"))]
mod partitions;
