//! Export formats: JSON, NDJSON and CSV, the same in the API and in all commands.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use utoipa::ToSchema;

use crate::dice::{Die, Results};
use crate::roll::Roll;
use crate::text::ValueError;

/// A roll.
#[derive(serde::Serialize, ToSchema)]
#[schema(as = Roll, examples(json!({
    "id": 41, "rolled_at": "2026-11-23T01:37:40.123Z", "dice": { "1D6": 4, "1D20": 17 }
})))]
pub struct RollJson {
    /// Its place in the history: 1, 2, 3, … without gaps.
    #[schema(minimum = 1)]
    id: i64,
    /// When it was rolled, in UTC.
    #[schema(format = DateTime)]
    rolled_at: String,
    /// The results: die name to result.
    #[schema(value_type = std::collections::BTreeMap<String, u32>)]
    dice: DiceJson,
}

impl From<&Roll> for RollJson {
    fn from(roll: &Roll) -> RollJson {
        RollJson {
            id: roll.id.0,
            rolled_at: roll.rolled_at.to_string(),
            dice: DiceJson(roll.dice.clone()),
        }
    }
}

struct DiceJson(Results);

impl Serialize for DiceJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_map(Some(self.0.0.len()))?;
        for result in &self.0.0 {
            pairs.serialize_entry(&result.die.to_string(), &result.result)?;
        }
        pairs.end()
    }
}

/// The format of a file of rolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with one column per die, for spreadsheets
    Csv,
    /// One JSON object per line
    Ndjson,
    /// One JSON array
    Json,
}

/// Turns rolls into text, batch by batch.
pub struct Encoder {
    format: Format,
    /// The dice that have a column in a CSV file, in order.
    dice: Vec<Die>,
    /// Whether a roll was encoded.
    has_begun: bool,
}

impl Encoder {
    /// An encoder of rolls of these dice.
    pub fn new(format: Format, dice: Vec<Die>) -> Encoder {
        Encoder { format, dice, has_begun: false }
    }

    /// The text before all rolls.
    pub fn head(&self) -> Vec<u8> {
        match self.format {
            Format::Csv => {
                let names = self.dice.iter().map(Die::to_string);
                let columns = ["id".into(), "rolled_at".into()].into_iter().chain(names);
                csv([columns])
            }
            Format::Ndjson => Vec::new(),
            Format::Json => b"[".to_vec(),
        }
    }

    /// The text of the next rolls.
    ///
    /// # Errors
    ///
    /// A roll has a die that has no column.
    pub fn rolls(&mut self, rolls: &[Roll]) -> Result<Vec<u8>, ValueError> {
        if self.format == Format::Csv {
            let rows = rolls.iter().map(|roll| self.row(roll));
            return Ok(csv(rows.collect::<Result<Vec<_>, _>>()?));
        }
        let mut text = Vec::new();
        for roll in rolls {
            if self.format == Format::Json {
                text.extend(if self.has_begun { &b",\n"[..] } else { b"\n" });
            }
            self.has_begun = true;
            serde_json::to_writer(&mut text, &RollJson::from(roll))
                .expect("plain structs become JSON");
            if self.format == Format::Ndjson {
                text.push(b'\n');
            }
        }
        Ok(text)
    }

    /// The text after all rolls.
    pub fn foot(&self) -> Vec<u8> {
        match self.format {
            Format::Csv | Format::Ndjson => Vec::new(),
            Format::Json => b"\n]\n".to_vec(),
        }
    }

    /// Numbers and a timestamp: nothing that a spreadsheet could take for a formula. The cell of a
    /// die that the roll does not have is empty: other dice were configured then.
    fn row(&self, roll: &Roll) -> Result<Vec<String>, ValueError> {
        let mut row = vec![String::new(); 2 + self.dice.len()];
        row[0] = roll.id.to_string();
        row[1] = roll.rolled_at.to_string();
        for result in &roll.dice.0 {
            let column = self.dice.iter().position(|die| *die == result.die);
            let column =
                column.ok_or_else(|| ValueError::new("a die with a column", result.die))?;
            row[2 + column] = result.result.to_string();
        }
        Ok(row)
    }
}

/// Rows in the format of <https://www.rfc-editor.org/rfc/rfc4180>.
fn csv<R: IntoIterator<Item = String>>(rows: impl IntoIterator<Item = R>) -> Vec<u8> {
    let mut text =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        text.write_record(row).expect("rows of one length go into memory");
    }
    text.into_inner().expect("memory can be written")
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
            Format::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::roll::RollId;

    fn roll(id: i64, dice: &str) -> Roll {
        let rolled_at = "2026-11-23T01:37:40.123Z".parse().expect("a moment");
        Roll { id: RollId(id), rolled_at, dice: dice.parse().expect("dice") }
    }

    fn encode(format: Format, batches: &[&[Roll]]) -> String {
        let dice = ["1D6", "2D6", "1D20"].map(|die| die.parse().expect("a die"));
        let mut encoder = Encoder::new(format, dice.to_vec());
        let mut text = encoder.head();
        for rolls in batches {
            text.extend(encoder.rolls(rolls).expect("all dice have columns"));
        }
        text.extend(encoder.foot());
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn a_file_does_not_depend_on_the_batches_in_which_it_is_encoded() {
        let rolls = [roll(1, r#"{"1D20":17,"1D6":4}"#), roll(2, r#"{"2D6":12}"#)];
        let csv = "id,rolled_at,1D6,2D6,1D20\r\n\
                   1,2026-11-23T01:37:40.123Z,4,,17\r\n\
                   2,2026-11-23T01:37:40.123Z,,12,\r\n";
        let first = r#"{"id":1,"rolled_at":"2026-11-23T01:37:40.123Z","dice":{"1D20":17,"1D6":4}}"#;
        let second = r#"{"id":2,"rolled_at":"2026-11-23T01:37:40.123Z","dice":{"2D6":12}}"#;
        let table = [
            (Format::Csv, csv.to_string()),
            (Format::Ndjson, format!("{first}\n{second}\n")),
            (Format::Json, format!("[\n{first},\n{second}\n]\n")),
        ];
        for (format, expected) in table {
            assert_eq!(encode(format, &[&rolls]), expected);
            assert_eq!(encode(format, &[&[], &rolls[..1], &[], &rolls[1..]]), expected);
        }
        assert_eq!(encode(Format::Json, &[]), "[\n]\n");
    }

    #[test]
    fn a_die_without_a_column_is_an_error() {
        let mut encoder = Encoder::new(Format::Csv, vec!["1D6".parse().expect("a die")]);
        let error = encoder.rolls(&[roll(1, r#"{"1D6":1,"1D20":17}"#)]);
        assert_eq!(
            error.expect_err("a column is missing").to_string(),
            "expected a die with a column, got `1D20`"
        );
    }
}
