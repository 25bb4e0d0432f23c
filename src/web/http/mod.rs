//! HTTP middleware that all endpoints share.

pub mod forwarded;
pub mod client;
pub mod access;
pub mod headers;
pub mod methods;
pub mod host;
pub mod accept;
pub mod etag;
pub mod error;
pub mod permits;
