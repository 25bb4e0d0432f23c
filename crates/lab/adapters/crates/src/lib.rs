//! Prints what a client reports, one JSON object a line.

use std::env;
use std::fmt::Display;

/// The address of the stream.
pub fn url() -> String {
    env::var("LAB_URL").expect("LAB_URL is set by the lab")
}

/// The names of the events that the case has.
pub fn names() -> Vec<String> {
    let names = env::var("LAB_EVENTS").expect("LAB_EVENTS is set by the lab");
    let mut names: Vec<String> = serde_json::from_str(&names).expect("a JSON array of names");
    names.push("message".into());
    names
}

/// Prints an event. Without an id, the client reports none.
pub fn report(event: &str, data: &str, id: Option<&str>) {
    match id {
        Some(id) => println!("{}", serde_json::json!({ "event": event, "data": data, "id": id })),
        None => println!("{}", serde_json::json!({ "event": event, "data": data })),
    }
}

/// Prints an error.
pub fn fail(error: impl Display) {
    println!("{}", serde_json::json!({ "error": error.to_string() }));
}
