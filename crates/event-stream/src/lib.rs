//! Event streams (Server-Sent Events) in both directions: [`encoder`] turns events into bytes,
//! [`parser`] turns bytes into frames.
//!
//! The format: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

pub mod encoder;
pub mod parser;
