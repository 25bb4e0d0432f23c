//! The log of a run: its requests, and the events that the client reported.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many requests are remembered. Further ones are only counted.
pub const MAX_REMEMBERED: usize = 50;

/// The log of a run. All times are since the run began.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The first requests.
    pub requests: Vec<Request>,
    /// How many requests there were.
    pub n_requests: usize,
    /// What the client reported, in order.
    pub heard: Vec<Heard>,
    /// The client reported more than the lab stores.
    pub is_truncated: bool,
    /// When each event was reported.
    pub heard_at: Vec<Duration>,
    /// What went wrong, as the client says.
    pub errors: Vec<String>,
    /// How the client ended.
    pub exit: Option<String>,
    /// How many answers are being written, or are left open.
    pub n_busy: usize,
    /// How many replies of the script have been taken.
    pub n_replies: usize,
    /// Whether the client reported its events in time, for each step that waited for that.
    pub was_in_time: Vec<bool>,
    /// When something happened last.
    pub changed_at: Duration,
}

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub at: Duration,
    /// When the server ended its answer, or noticed that the client had gone.
    pub ended: Option<Duration>,
    pub method: String,
    /// The path and the query.
    pub target: String,
    pub last_event_id: Option<Vec<u8>>,
    pub accept: Option<String>,
}

/// An event, as the client reported it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    #[serde(default = "message")]
    pub event: String,
    #[serde(default)]
    pub data: String,
    /// `None` if the client does not report ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

fn message() -> String {
    "message".into()
}

/// A line of a client: an event or an error. See `docs/lab.md`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Error { error: String },
    Heard(Heard),
}

impl Line {
    /// Reads a line: a JSON object with `data`, and `event` and `id` if the client reports them, or with
    /// `error`. `None` if it is something else, such as a client's own log line.
    pub fn parse(line: &str) -> Option<Line> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let has = |key| value.get(key).is_some();
        if !has("error") && !has("data") && !has("event") {
            return None;
        }
        let mut value = value;
        let object = value.as_object_mut()?;
        // Clients say null where they have nothing.
        object.retain(|_, value| !value.is_null());
        let error = format!("expected strings in `event`, `data` and `id`, got {line}");
        Some(serde_json::from_value(value).unwrap_or(Line::Error { error }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_event_or_an_error_and_everything_else_is_ignored() {
        let heard = |event: &str, data: &str, id: Option<&str>| {
            Some(Line::Heard(Heard {
                event: event.into(),
                data: data.into(),
                id: id.map(String::from),
            }))
        };
        for (line, expected) in [
            (r#"{"event":"x","data":"a","id":"1"}"#, heard("x", "a", Some("1"))),
            (r#"{"data":"a"}"#, heard("message", "a", None)),
            (r#"{"event":null,"data":"a","id":null}"#, heard("message", "a", None)),
            (r#"{"event":"x"}"#, heard("x", "", None)),
            (r#"{"error":"refused"}"#, Some(Line::Error { error: "refused".into() })),
            (
                r#"{"data":"a","id":1}"#,
                Some(Line::Error {
                    error: "expected strings in `event`, `data` and `id`, got {\"data\":\"a\",\"id\":1}"
                        .into(),
                }),
            ),
            (r#"{"level":"info"}"#, None),
            ("[1]", None),
            ("connected", None),
            ("", None),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
    }
}
