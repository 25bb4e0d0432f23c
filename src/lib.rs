//! rollcast rolls dice on a clock, keeps every roll in SQLite, and pushes it to every open
//! browser over server-sent events.
//!
//! The modules stand in the order in which a roll flows through them, each using only those
//! before it:
//!
//! ```text
//! roll ──► roller ─────────► store ─────────► feed ─────────► web
//! values   Stream<NewRoll>   NewRoll → Roll   after(cursor)   HTML · SSE
//!                └──────────── pump, in app.rs ────────────┘
//! ```
//!
//! `since` and `record` are values too: a time as people name it, and rolls as they are taken
//! away. `remote` and the doctor look at all of it from outside, over the network.

pub mod text;
pub mod dice;
pub mod roll;
pub mod cursor;
pub mod time_spec;
pub mod record;
pub mod metrics;
pub mod panics;
pub mod config;
pub mod roller;
pub mod statistics;
pub mod store;
pub mod retention;
pub mod feed;
pub mod web;
pub mod remote;
pub mod doctor;
pub mod app;
pub mod cli;
