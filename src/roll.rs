//! The values: what is rolled, the roll, and the cursor that names a place in the history.
//!
//! Plain values without I/O. Each has one text form, written by `Display`, which the database,
//! the stream and the pages share.

use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, Unit};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// The place of a roll in the history: 1, 2, 3, … without gaps. [`RollId::BEFORE_FIRST`] is the
/// place before the first roll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollId(pub i64);

impl RollId {
    /// The place before the first roll: everything ever rolled comes after it.
    pub const BEFORE_FIRST: RollId = RollId(0);

    /// The id of the roll after this one.
    pub fn next(self) -> RollId {
        RollId(self.0 + 1)
    }

    /// The id of the roll before this one.
    pub fn previous(self) -> RollId {
        RollId(self.0 - 1)
    }
}

impl fmt::Display for RollId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RollId {
    type Err = ValueError;

    /// Reads a decimal id, 0 (before the first) or more, without sign, spaces or leading zeros.
    fn from_str(text: &str) -> Result<RollId, ValueError> {
        match canonical_number(text) {
            Some(id) => Ok(RollId(id)),
            None => Err(ValueError::new("a roll's id such as `41`", text)),
        }
    }
}

/// The moment of a roll: UTC, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolledAt(Timestamp);

impl RolledAt {
    /// The millisecond that `moment` lies in.
    pub fn truncate(moment: Timestamp) -> RolledAt {
        let rounding =
            jiff::TimestampRound::new().smallest(Unit::Millisecond).mode(jiff::RoundMode::Floor);
        RolledAt(moment.round(rounding).unwrap_or(moment))
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// The moment as a timestamp.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for RolledAt {
    /// RFC 3339 with exactly three decimals: `2026-11-23T01:37:40.123Z`. Sorts as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl FromStr for RolledAt {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<RolledAt, ValueError> {
        let moment = text
            .parse::<Timestamp>()
            .map_err(|_| ValueError::new("a moment such as `2026-11-23T01:37:40.123Z`", text))?;
        Ok(RolledAt::truncate(moment))
    }
}

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

/// Dice of one kind, rolled together, their sum being the result: `2D6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Die {
    n_dice: u16,
    n_sides: u16,
}

impl Die {
    /// The most dice that are summed.
    pub const MAX_DICE: u16 = 100;
    /// The most sides of a die.
    pub const MAX_SIDES: u16 = 1_000;

    /// How many dice are summed, 1 to 100.
    pub fn n_dice(self) -> u16 {
        self.n_dice
    }

    /// How many sides each has, 2 to 1,000.
    pub fn n_sides(self) -> u16 {
        self.n_sides
    }
}

impl fmt::Display for Die {
    /// Dice notation with a capital D, the name of the die everywhere: `1D20`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}D{}", self.n_dice, self.n_sides)
    }
}

impl FromStr for Die {
    type Err = ValueError;

    /// Reads dice notation, `NdS` or `NDS`: 1 to 100 dice, 2 to 1,000 sides, without spaces,
    /// signs or leading zeros.
    fn from_str(text: &str) -> Result<Die, ValueError> {
        let parts = text.split_once(['d', 'D']);
        let Some((n_dice, n_sides)) = parts
            .and_then(|(dice, sides)| Some((canonical_number(dice)?, canonical_number(sides)?)))
        else {
            return Err(ValueError::new("dice notation such as `1D6`", text));
        };
        if !(1..=i64::from(Die::MAX_DICE)).contains(&n_dice) {
            return Err(ValueError::new("1 to 100 dice", text));
        }
        if !(2..=i64::from(Die::MAX_SIDES)).contains(&n_sides) {
            return Err(ValueError::new("dice of 2 to 1000 sides", text));
        }
        Ok(Die { n_dice: n_dice as u16, n_sides: n_sides as u16 })
    }
}

/// The dice of every roll: 1 to 16 different ones, in the order in which they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dice(Vec<Die>);

impl Dice {
    /// The most dice of a roll.
    pub const MAX: usize = 16;

    /// The dice in order.
    pub fn iter(&self) -> impl Iterator<Item = Die> {
        self.0.iter().copied()
    }
}

impl TryFrom<Vec<Die>> for Dice {
    type Error = ValueError;

    fn try_from(dice: Vec<Die>) -> Result<Dice, ValueError> {
        if dice.is_empty() || dice.len() > Dice::MAX {
            return Err(ValueError::new("1 to 16 dice", dice.len()));
        }
        for (index, die) in dice.iter().enumerate() {
            if dice[..index].contains(die) {
                return Err(ValueError::new("each die once", die));
            }
        }
        Ok(Dice(dice))
    }
}

impl fmt::Display for Dice {
    /// For people: `1D4, 1D6 and 1D20`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, die) in self.0.iter().enumerate() {
            let joint = match index {
                0 => "",
                _ if index + 1 == self.0.len() => " and ",
                _ => ", ",
            };
            write!(f, "{joint}{die}")?;
        }
        Ok(())
    }
}

/// What one die of a roll showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Face {
    /// The die.
    pub die: Die,
    /// The sum of its faces, at least 1 a die and at most its sides.
    pub result: u32,
}

/// What the dice of a roll showed, in configured order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faces(pub Vec<Face>);

impl fmt::Display for Faces {
    /// A flat JSON object, die name to result: `{"1D6":4,"1D20":17}`, as it is stored and sent.
    /// Names need no escaping: they are digits and a D.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, Face { die, result }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}\"{die}\":{result}")?;
        }
        f.write_str("}")
    }
}

impl FromStr for Faces {
    type Err = serde_json::Error;

    /// Reads a flat JSON object of die names and results, in its own order.
    fn from_str(json: &str) -> Result<Faces, serde_json::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Faces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of die names and results")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Faces, A::Error> {
                let mut faces = Vec::with_capacity(pairs.size_hint().unwrap_or(2));
                while let Some((name, result)) = pairs.next_entry::<&str, u32>()? {
                    let die = name.parse::<Die>().map_err(A::Error::custom)?;
                    faces.push(Face { die, result });
                }
                Ok(Faces(faces))
            }
        }

        let mut deserializer = serde_json::Deserializer::from_str(json);
        let faces = deserializer.deserialize_map(Pairs)?;
        deserializer.end()?;
        Ok(faces)
    }
}

/// A roll that is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoll {
    /// When the dice fell.
    pub rolled_at: RolledAt,
    /// What they showed.
    pub dice: Faces,
}

/// A stored roll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    /// Its place in the history.
    pub id: RollId,
    /// When the dice fell.
    pub rolled_at: RolledAt,
    /// What they showed.
    pub dice: Faces,
}

impl Roll {
    /// The place right after this roll.
    pub fn cursor(&self) -> Cursor {
        Cursor { id: self.id, unix_millis: Some(self.rolled_at.unix_millis()) }
    }
}

/// A text that is not the value it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got `{seen}`")]
pub struct ValueError {
    expected: &'static str,
    seen: String,
}

impl ValueError {
    /// Says what was expected and what was seen instead; of a long text, how it begins.
    pub fn new(expected: &'static str, seen: impl fmt::Display) -> ValueError {
        ValueError { expected, seen: shortened(&seen.to_string()) }
    }
}

/// A text from outside, as long as it may be in a message: its first 80 characters.
pub fn shortened(text: &str) -> String {
    shortened_to(80, text)
}

/// The first `n_chars` characters of a text from outside, and `…` where that is not all.
pub fn shortened_to(n_chars: usize, text: &str) -> String {
    match text.char_indices().nth(n_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// A decimal number of up to 18 digits in its one canonical form, so that every value has one
/// text: no sign, no spaces, no leading zeros.
fn canonical_number(text: &str) -> Option<i64> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if digits && canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_notation_is_read_strictly_and_says_what_it_expected() {
        let table = [
            ("1D6", Ok("1D6")),
            ("1d20", Ok("1D20")),
            ("100D1000", Ok("100D1000")),
            ("1D2", Ok("1D2")),
            ("0D6", Err("expected 1 to 100 dice, got `0D6`")),
            ("101D6", Err("expected 1 to 100 dice, got `101D6`")),
            ("1D1", Err("expected dice of 2 to 1000 sides, got `1D1`")),
            ("1D1001", Err("expected dice of 2 to 1000 sides, got `1D1001`")),
            ("D6", Err("expected dice notation such as `1D6`, got `D6`")),
            ("1D", Err("expected dice notation such as `1D6`, got `1D`")),
            ("", Err("expected dice notation such as `1D6`, got ``")),
            ("1D6 ", Err("expected dice notation such as `1D6`, got `1D6 `")),
            ("+1D6", Err("expected dice notation such as `1D6`, got `+1D6`")),
            ("01D6", Err("expected dice notation such as `1D6`, got `01D6`")),
            ("1D6D2", Err("expected dice notation such as `1D6`, got `1D6D2`")),
            ("1W6", Err("expected dice notation such as `1D6`, got `1W6`")),
            ("1D٦", Err("expected dice notation such as `1D6`, got `1D٦`")),
        ];
        for (text, expected) in table {
            let seen = text.parse::<Die>();
            let seen = seen.map(|die| die.to_string()).map_err(|e| e.to_string());
            assert_eq!(seen, expected.map(String::from).map_err(String::from));
        }
    }

    #[test]
    fn an_error_shows_how_a_long_text_begins() {
        let error = |text: &str| text.parse::<Die>().expect_err("no die").to_string();
        let longest = "ä".repeat(80);
        let expected = format!("expected dice notation such as `1D6`, got `{longest}`");
        assert_eq!(error(&longest), expected);
        let expected = format!("expected dice notation such as `1D6`, got `{longest}…`");
        assert_eq!(error(&"ä".repeat(100_000)), expected);
    }

    #[test]
    fn a_roll_has_one_to_sixteen_different_dice() {
        let dice = |texts: &[&str]| {
            let dice: Vec<Die> = texts.iter().map(|t| t.parse().expect("a die")).collect();
            Dice::try_from(dice).map(|d| d.to_string()).map_err(|e| e.to_string())
        };
        assert_eq!(dice(&["1D6", "1D20"]), Ok("1D6 and 1D20".into()));
        assert_eq!(dice(&["1D4", "2D6", "1D20"]), Ok("1D4, 2D6 and 1D20".into()));
        assert_eq!(dice(&[]), Err("expected 1 to 16 dice, got `0`".into()));
        assert_eq!(dice(&["1D6", "1d6"]), Err("expected each die once, got `1D6`".into()));
        let many: Vec<String> = (2..19).map(|sides| format!("1D{sides}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(dice(&many), Err("expected 1 to 16 dice, got `17`".into()));
    }

    #[test]
    fn faces_are_written_as_a_flat_json_object_in_their_order() {
        let face = |die: &str, result| Face { die: die.parse().expect("a die"), result };
        let faces = Faces(vec![face("1D6", 4), face("1D20", 17)]);
        assert_eq!(faces.to_string(), r#"{"1D6":4,"1D20":17}"#);
    }

    #[test]
    fn moments_keep_milliseconds_and_sort_as_text() {
        let moment = |text: &str| text.parse::<RolledAt>().expect("a moment");
        let early = moment("2026-11-23T01:37:40.0999Z");
        assert_eq!(early.to_string(), "2026-11-23T01:37:40.099Z");
        assert_eq!(early.unix_millis(), 1_795_397_860_099);
        let late = moment("2026-11-23T02:37:41+01:00");
        assert_eq!(late.to_string(), "2026-11-23T01:37:41.000Z");
        assert!(early < late && early.to_string() < late.to_string());
    }

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
