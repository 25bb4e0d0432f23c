//! Prints what a client tells, one JSON object a line.

use std::env;
use std::fmt::Display;

/// The address of the stream.
pub fn url() -> String {
    env::var("LAB_URL").expect("LAB_URL is set by the lab")
}

/// Prints an event. Without an id, the client tells none.
pub fn tell(event: &str, data: &str, id: Option<&str>) {
    let event = if event.is_empty() { "message" } else { event };
    match id {
        Some(id) => println!("{}", serde_json::json!({ "event": event, "data": data, "id": id })),
        None => println!("{}", serde_json::json!({ "event": event, "data": data })),
    }
}

/// Prints an error.
pub fn fail(error: impl Display) {
    println!("{}", serde_json::json!({ "error": error.to_string() }));
}
