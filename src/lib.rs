//! rollcast rolls dice on a clock, keeps every roll in SQLite, and pushes it to every open
//! browser over Server-Sent Events.
//!
//! Modules are listed in dependency order: each one depends only on those above it. This is the
//! flow of data:
//!
//! ```text
//! clock ──► pump ─────────────► store ─────────► feed ──────────► web
//! tick      Roll (id, dice)     apply(rolls)     after(cursor)    HTML · SSE · JSON
//! ```
//!
//! A tick is only a timestamp. The pump takes the next id, draws the dice for that id, has the
//! store commit the roll, and then publishes it to the feed.

pub mod text;
pub mod backoff;
pub mod draft;
pub mod dice;
pub mod roll;
pub mod seeds;
pub mod draw;
pub mod log;
pub mod cursor;
pub mod time_spec;
pub mod network;
pub mod export_format;
pub mod health;
pub mod metrics;
pub mod panics;
pub mod config;
pub mod clock;
pub mod statistics;
pub mod store;
pub mod retention;
pub mod feed;
pub mod web;
pub mod fanout;
pub mod remote;
pub mod pump;
pub mod fleet;
pub mod app;
pub mod cli;
