//! A cursor: a position in the history, right after the roll that it names.

use std::fmt;
use std::str::FromStr;

use crate::roll::{Roll, RollId};
use crate::text::{ValueError, canonical_number};

/// A place in the history: right after the roll it names.
///
/// It names a roll twice, by id and by moment, so that both sides of a resume can tell whether
/// they mean the same history. Written `41-1763861860123` (Unix milliseconds), or `41` where the
/// moment is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last roll seen.
    pub id: RollId,
    /// When it was rolled, in Unix milliseconds; `None` leaves that unchecked.
    pub unix_millis: Option<i64>,
}

impl From<RollId> for Cursor {
    fn from(id: RollId) -> Cursor {
        Cursor { id, unix_millis: None }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unix_millis {
            Some(unix_millis) => write!(f, "{}-{unix_millis}", self.id),
            None => self.id.fmt(f),
        }
    }
}

impl FromStr for Cursor {
    type Err = ValueError;

    /// Reads `<id>-<unix milliseconds>` or a bare `<id>`. Before the first roll there is no
    /// moment, so `0` stands alone.
    fn from_str(text: &str) -> Result<Cursor, ValueError> {
        let (id, unix_millis) = match text.split_once('-') {
            Some((id, moment)) => (canonical_number(id), Some(canonical_number(moment))),
            None => (canonical_number(text), None),
        };
        match (id, unix_millis) {
            (Some(id), None) => Ok(Cursor::from(RollId(id))),
            (Some(id), Some(Some(unix_millis))) if id > 0 => {
                Ok(Cursor { id: RollId(id), unix_millis: Some(unix_millis) })
            }
            _ => Err(ValueError::new("a cursor such as `41-1763861860123` or `41`", text)),
        }
    }
}

impl Roll {
    /// The place right after this roll.
    pub fn cursor(&self) -> Cursor {
        Cursor { id: self.id, unix_millis: Some(self.rolled_at.unix_millis()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_in_its_one_form_or_as_a_bare_id() {
        let read = |text: &str| text.parse::<Cursor>().ok().map(|cursor| cursor.to_string());
        for text in ["0", "41", "41-1763861860123", "41-0"] {
            assert_eq!(read(text).as_deref(), Some(text));
        }
        let malformed = [
            "",
            "-",
            "41-",
            "-41",
            "0-0",
            "0-1763861860123",
            "041",
            "41-01",
            "+41",
            " 41",
            "41 ",
            "41-1-1",
            "4_1",
            "41.0",
            "abc",
            "9223372036854775808",
            "٤١",
        ];
        for text in malformed {
            assert_eq!(read(text), None, "`{text}` was taken for a cursor");
        }
    }
}
