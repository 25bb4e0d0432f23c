//! A lab for clients of event streams (Server-Sent Events). For each case, its server does one wrong
//! or rare thing, deterministically, on the real wire. A client is judged by what it reported and by
//! which requests it made.
//!
//! - [`case`] describes cases by [`script`], [`feed`] and [`rule`]; [`cases`] contains all of them.
//! - [`log`] is what happened in a run. [`judge`] compares it with the case.
//! - [`request`] reads requests, [`session`] is a run and gives its [`verdict`], [`sessions`] keeps
//!   runs within bounds, `wire` plays answers, `routes` knows the addresses, and [`server`] listens.
//! - [`run`] runs a client per case, and [`report`] prints the verdicts.
//!
//! The format of the verdicts and the protocol of clients: `docs/lab.md`.

pub mod rule;
pub mod script;
pub mod feed;
pub mod case;
pub mod cases;
pub mod log;
pub mod judge;
pub mod request;
pub mod verdict;
mod connections;
pub mod session;
pub mod sessions;
mod closing;
mod gzip;
mod wire;
mod response;
pub mod page;
mod routes;
pub mod server;
pub mod run;
pub mod report;
