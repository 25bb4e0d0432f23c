//! A server elsewhere, as commands see it: its address, and the events of its stream.

mod url;
mod events;

pub use self::events::{Frame, Parser};
pub use self::url::Url;
