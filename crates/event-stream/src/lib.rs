//! Event streams (Server-Sent Events) in both directions.
//!
//! - [`encoder`] turns events into bytes, [`parser`] turns bytes into frames.
//! - [`stream`] reads frames from anything that can be read.
//! - [`printable`] makes text of a server safe to print.
//! - [`proxy`] decides which requests go through a proxy.
//! - [`client`] requests a stream, or anything else, from an [`http_url::HttpUrl`].
//!
//! The format: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

pub mod encoder;
pub mod parser;
pub mod stream;
pub mod printable;
pub mod http_url;
pub mod proxy;
mod forward;
pub mod client;
