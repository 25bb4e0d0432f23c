//! Looks at an event stream from outside, as a browser does, and says what is wrong with it and
//! which line of configuration to change.
//!
//! ```text
//! connection, client ──► visit ──────────► judge ─────► report
//! the network            observations      findings     for people, for machines
//! ```
//!
//! It works on every event stream, and knows more about those that speak [`rollcast`]'s protocol.
//! What it cannot judge is `unknown`, with the reason.

pub mod response;
pub mod rollcast;
pub mod connection;
pub mod watch;
pub mod client;
pub mod visit;
pub mod judge;
pub mod report;
mod table;
