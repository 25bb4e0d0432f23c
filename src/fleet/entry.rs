//! An entry of the fleet's log: a roll, and the place that it follows.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::cursor::Cursor;
use crate::dice::{Dice, Results};
use crate::draw;
use crate::fleet::error::FleetError;
use crate::roll::{Roll, RollId};
use crate::seeds::Seeds;
use crate::text::{ValueError, from_hex, hex};

/// A roll as it is proposed and read. Its text has one form:
/// `{"id":42,"after":"41-1763861860123","key":"0a1b2c3d","rolled_at":"2026-11-23T01:37:40.123Z","dice":{"1D6":4}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The cursor of the roll before; `0` before roll 1.
    pub after: Cursor,
    /// The key of the node that proposed the roll.
    pub key: KeyId,
    /// The roll.
    pub roll: Roll,
}

/// The id of the key with which a node signs its checkpoints: 4 bytes, as in a checkpoint. Nodes
/// with the same secret and the same `origin` have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    /// 8 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { after, key, roll: Roll { id, rolled_at, dice } } = self;
        write!(
            f,
            "{{\"id\":{id},\"after\":\"{after}\",\"key\":\"{key}\",\
             \"rolled_at\":\"{rolled_at}\",\"dice\":{dice}}}"
        )
    }
}

impl FromStr for Entry {
    type Err = ValueError;

    /// Reads the one form of an entry. Its id follows that of `after`, its dice are different, and
    /// they can show its results.
    fn from_str(text: &str) -> Result<Entry, ValueError> {
        let entry = parse(text).filter(|entry| is_sound(entry) && entry.to_string() == text);
        entry.ok_or_else(|| ValueError::new("an entry of a fleet's log", text))
    }
}

fn parse(text: &str) -> Option<Entry> {
    let (id, rest) = text.strip_prefix("{\"id\":")?.split_once(",\"after\":\"")?;
    let (after, rest) = rest.split_once("\",\"key\":\"")?;
    let (key, rest) = rest.split_once("\",\"rolled_at\":\"")?;
    let (rolled_at, rest) = rest.split_once("\",\"dice\":")?;
    let dice = rest.strip_suffix('}')?;
    let roll =
        Roll { id: id.parse().ok()?, rolled_at: rolled_at.parse().ok()?, dice: dice.parse().ok()? };
    Some(Entry { after: after.parse().ok()?, key: KeyId(from_hex(key)?), roll })
}

/// The place that the text of an entry claims.
pub fn place(text: &str) -> Option<RollId> {
    text.strip_prefix("{\"id\":")?.split_once(',')?.0.parse().ok()
}

fn is_sound(Entry { after, roll, .. }: &Entry) -> bool {
    let Results(results) = &roll.dice;
    let names: HashSet<_> = results.iter().map(|result| result.die).collect();
    after.id.next() == roll.id
        && after.unix_millis.is_some() != (after.id == RollId::BEFORE_FIRST)
        && (1..=Dice::MAX).contains(&results.len())
        && names.len() == results.len()
        && results.iter().all(|result| result.is_possible())
}

/// The roll of the entry after `place`, if a node with this key takes it.
///
/// # Errors
///
/// [`FleetError::Junk`], [`FleetError::NotNext`], [`FleetError::OtherSecret`] or
/// [`FleetError::NotDrawn`].
pub fn roll_after(
    place: Cursor,
    text: &str,
    own_key: KeyId,
    seeds: &Seeds,
) -> Result<Roll, FleetError> {
    let id = place.id.next();
    let entry = text.parse::<Entry>();
    let entry = entry.map_err(|error| FleetError::Junk { id, text: error.to_string() })?;
    let Entry { after, key, roll } = entry;
    if roll.id != id || after != place {
        return Err(FleetError::NotNext { id, ours: place, theirs: after });
    }
    if key != own_key {
        return Err(FleetError::OtherSecret { id, ours: own_key, theirs: key });
    }
    if !is_drawn(&roll, seeds) {
        return Err(FleetError::NotDrawn { id });
    }
    Ok(roll)
}

/// Whether the dice of a roll follow from the seed of its id. Computes the seeds of its block first,
/// if they are not in memory: about 0.15 s for each 1,048,576 rolls.
pub fn is_drawn(roll: &Roll, seeds: &Seeds) -> bool {
    let dice = roll.dice.0.iter().map(|result| result.die).collect::<Vec<_>>();
    let Ok(dice) = Dice::try_from(dice) else { return false };
    draw::results(seeds.draw(roll.id), roll.id, &dice) == roll.dice
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"id":42,"after":"41-1763861860123","key":"0a1b2c3d","rolled_at":"2026-11-23T01:37:40.123Z","dice":{"1D6":4,"1D20":17}}"#;

    #[test]
    fn an_entry_has_one_text_form() {
        let entry: Entry = ENTRY.parse().expect("an entry");
        assert_eq!(entry.to_string(), ENTRY);
        assert_eq!((entry.roll.id, entry.key.to_string().as_str()), (RollId(42), "0a1b2c3d"));
        let first = ENTRY.replace("42", "1").replace("41-1763861860123", "0");
        assert_eq!(first.parse::<Entry>().expect("the first roll").after.to_string(), "0");
    }

    #[test]
    fn whatever_differs_from_that_form_is_refused() {
        for (part, other) in [
            ("\"id\":42", "\"id\":43"),
            ("\"id\":42", "\"id\":042"),
            ("\"id\":42", "\"id\": 42"),
            ("41-1763861860123", "41"),
            ("41-1763861860123", "40-1763861860123"),
            ("0a1b2c3d", "0A1B2C3D"),
            ("0a1b2c3d", "0a1b2c3"),
            (".123Z", ".123456Z"),
            (".123Z", "Z"),
            ("\"1D6\":4", "\"1D6\":7"),
            ("\"1D6\":4", "\"1d6\":4"),
            ("\"1D6\":4", "\"1D20\":4"),
            ("{\"1D6\":4,\"1D20\":17}", "{}"),
            ("}}", "}}\n"),
            ("}}", "},\"x\":1}"),
        ] {
            let text = ENTRY.replacen(part, other, 1);
            assert_ne!(text, ENTRY, "{part} is not in the entry");
            assert!(text.parse::<Entry>().is_err(), "`{text}` was taken for an entry");
        }
        for end in 0..ENTRY.len() {
            assert!(ENTRY[..end].parse::<Entry>().is_err(), "cut after {end} bytes");
        }
    }
}
