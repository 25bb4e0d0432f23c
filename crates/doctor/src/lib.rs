//! Examines an event stream from outside, as a browser does. Names each fault, and the line of
//! configuration to change.
//!
//! ```text
//! connection, client ──► visit ──────────► judge ─────► report
//! the network            observations      findings     for people, for machines
//! ```
//!
//! It works on every event stream, and knows more about those that speak [`rollcast`]'s protocol.
//! A check that cannot be decided is `unknown`, with the reason.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use doctor::report::examine;
//! use doctor::table::Style;
//! use doctor::visit::Plan;
//! use event_stream::proxy::Proxies;
//!
//! let plan = Plan {
//!     url: "https://dice.example.org/".parse()?,
//!     stream: None,
//!     watch_for: Duration::from_secs(20),
//!     timeout: Duration::from_secs(10),
//!     n_streams: 8,
//!     authorities: None,
//!     proxies: Proxies::from_environment(),
//! };
//! let report = examine(&plan, &mut |progress| eprintln!("{progress:?}"))?;
//! print!("{}", report.table(Style::Plain, 100));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod response;
pub mod rollcast;
pub mod connection;
pub mod front;
pub mod watch;
pub mod client;
pub mod visit;
pub mod judge;
pub mod report;
pub mod table;
