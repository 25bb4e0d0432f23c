//! Rolls as they arrive and as they are written.

use std::fmt::Write;

use jiff::Timestamp;

use crate::cursor::Cursor;
use crate::export_format::RollJson;
use crate::roll::{Roll, RolledAt};

/// How a roll is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// Columns, for people.
    Text,
    /// A JSON object.
    Json,
}

impl LineFormat {
    /// Appends the line of a roll.
    pub fn write(self, roll: &Roll, text: &mut String) {
        match self {
            LineFormat::Json => {
                let json = serde_json::to_string(&RollJson::from(roll));
                text.push_str(&json.expect("plain structs become JSON"));
            }
            LineFormat::Text => {
                let _ = write!(text, "{:>7}  {}", roll.id, roll.rolled_at);
                for result in &roll.dice.0 {
                    let _ = write!(text, "  {} {:<2}", result.die, result.result);
                }
                text.truncate(text.trim_end().len());
            }
        }
        text.push('\n');
    }
}

/// The roll of an event with this id and data; `None` if it is not one.
pub fn parse_roll(id: &str, data: &str) -> Option<Roll> {
    let Cursor { id, unix_millis: Some(unix_millis) } = id.parse().ok()? else { return None };
    let rolled_at = RolledAt::truncate(Timestamp::from_millisecond(unix_millis).ok()?);
    Some(Roll { id, rolled_at, dice: data.parse().ok()? })
}
