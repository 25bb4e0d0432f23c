//! A cursor: a position in the history, right after the roll that it names.

use std::fmt;
use std::str::FromStr;

use crate::roll::{Roll, RollId};
use crate::text::{ValueError, canonical_number};

const EXPECTED: &str = "a cursor such as `41-1763861860123` or `41`";
/// The largest number that a cursor has.
const MAX_NUMBER: i64 = 999_999_999_999_999_999;

/// A place in the history: right after the roll it names.
///
/// It names a roll twice, by id and by timestamp, so that both sides of a resume can tell whether
/// they mean the same history. Written `41-1763861860123` (Unix milliseconds), or `41` if the
/// timestamp is not known.
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

    /// Reads `<id>-<unix milliseconds>` or a bare `<id>`. There is no timestamp before the first
    /// roll, so `0` stands alone.
    fn from_str(text: &str) -> Result<Cursor, ValueError> {
        let (id, unix_millis) = match text.split_once('-') {
            Some((id, time)) => (canonical_number(id), Some(canonical_number(time))),
            None => (canonical_number(text), None),
        };
        match (id, unix_millis) {
            (Some(id), None) => Ok(Cursor::from(RollId(id))),
            (Some(id), Some(Some(unix_millis))) if id > 0 => {
                Ok(Cursor { id: RollId(id), unix_millis: Some(unix_millis) })
            }
            _ => Err(ValueError::new(EXPECTED, text)),
        }
    }
}

impl Cursor {
    /// Reads a cursor as [`from_str`](Cursor::from_str) does, and takes a number that is too large
    /// for the largest one. No roll has such an id or time, so the cursor means the same.
    ///
    /// # Errors
    ///
    /// `text` is not a cursor.
    pub fn clamped(text: &str) -> Result<Cursor, ValueError> {
        let clamped = |number: &str| match canonical_number(number) {
            Some(number) => number.to_string(),
            None if is_large(number) => MAX_NUMBER.to_string(),
            None => number.to_string(),
        };
        let expected = |_| ValueError::new(EXPECTED, text);
        match text.split_once('-') {
            Some((id, time)) => format!("{}-{}", clamped(id), clamped(time)).parse(),
            None => clamped(text).parse(),
        }
        .map_err(expected)
    }
}

/// Whether a text is a canonical number that `canonical_number` refuses for its length.
fn is_large(text: &str) -> bool {
    text.len() > 18 && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
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

    #[test]
    fn a_number_that_is_too_large_stands_for_the_largest() {
        let clamped = |text: &str| Cursor::clamped(text).map(|cursor| cursor.to_string());
        let max = "999999999999999999";
        for (text, expected) in [
            ("41-17", "41-17".to_string()),
            ("0", "0".into()),
            ("9223372036854775807", max.into()),
            ("9223372036854775808", max.into()),
            ("123456789012345678901234567890", max.into()),
            ("41-9223372036854775808", format!("41-{max}")),
        ] {
            assert_eq!(clamped(text), Ok(expected), "{text}");
        }
        for text in ["", "-", "09223372036854775808", "9223372036854775808x", "0-5", "41-"] {
            assert!(clamped(text).is_err(), "`{text}` was taken for a cursor");
        }
    }
}
