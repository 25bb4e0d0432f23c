//! Dice and their results, in dice notation and as a flat JSON object.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::text::{ValueError, canonical_number};

/// One or several dice of one kind, such as `2D6`. Their sum is one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Die {
    n_dice: u16,
    n_sides: u16,
}

impl Die {
    /// The maximum number of dice.
    pub const MAX_DICE: u16 = 100;
    /// The maximum number of sides.
    pub const MAX_SIDES: u16 = 1_000;

    /// How many dice are summed, 1 to 100.
    pub fn n_dice(self) -> u16 {
        self.n_dice
    }

    /// How many sides each of them has, 2 to 1,000.
    pub fn n_sides(self) -> u16 {
        self.n_sides
    }

    /// The results that it can show: from `n_dice` to `n_dice * n_sides`.
    pub fn results(self) -> RangeInclusive<u32> {
        let n_dice = u32::from(self.n_dice);
        n_dice..=n_dice * u32::from(self.n_sides)
    }
}

impl fmt::Display for Die {
    /// Dice notation with a capital D, such as `1D20`: the die's name everywhere.
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

/// The dice of a roll: 1 to 16 different ones, in configured order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dice(Vec<Die>);

impl Dice {
    /// The maximum number of dice in a roll.
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
    /// A list for people, such as `1D4, 1D6 and 1D20`.
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

/// The result of one die of a roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DieResult {
    /// The die.
    pub die: Die,
    /// The sum of its dice.
    pub result: u32,
}

impl DieResult {
    /// Reads a result of a die.
    ///
    /// # Errors
    ///
    /// The text is not a number that the die can show.
    pub fn parse(die: Die, text: &str) -> Result<DieResult, ValueError> {
        let result = text.parse().ok().map(|result| DieResult { die, result });
        let result = result.filter(|result| result.is_possible());
        result.ok_or_else(|| ValueError::new("a result that the die can show", text))
    }

    /// Whether the die can show this result.
    pub fn is_possible(self) -> bool {
        self.die.results().contains(&self.result)
    }
}

/// What a search asks of a roll: a die, perhaps with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DieFilter {
    /// The die that the roll must have.
    pub die: Die,
    /// The result that the die must show; any if `None`.
    pub result: Option<u32>,
}

impl From<DieResult> for DieFilter {
    fn from(DieResult { die, result }: DieResult) -> DieFilter {
        DieFilter { die, result: Some(result) }
    }
}

/// The results of a roll, in the order of its dice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results(pub Vec<DieResult>);

impl Results {
    /// The result of a die, if the roll has this die.
    pub fn of(&self, die: Die) -> Option<u32> {
        self.0.iter().find(|shown| shown.die == die).map(|shown| shown.result)
    }
}

impl fmt::Display for Results {
    /// A flat JSON object of die names and results, as stored and sent: `{"1D6":4,"1D20":17}`.
    /// Names consist of digits and a D, so they need no escaping.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, DieResult { die, result }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}\"{die}\":{result}")?;
        }
        f.write_str("}")
    }
}

impl FromStr for Results {
    type Err = serde_json::Error;

    /// Reads a flat JSON object of die names and results and keeps its order.
    fn from_str(json: &str) -> Result<Results, serde_json::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Results;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of die names and results")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Results, A::Error> {
                let mut results = Vec::with_capacity(pairs.size_hint().unwrap_or(2));
                while let Some((name, result)) = pairs.next_entry::<&str, u32>()? {
                    let die = name.parse::<Die>().map_err(A::Error::custom)?;
                    results.push(DieResult { die, result });
                }
                Ok(Results(results))
            }
        }

        let mut deserializer = serde_json::Deserializer::from_str(json);
        let results = deserializer.deserialize_map(Pairs)?;
        deserializer.end()?;
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_notation_is_read_strictly_and_errors_name_what_was_expected() {
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
    fn an_error_quotes_only_the_beginning_of_a_long_text() {
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
    fn results_are_written_as_a_flat_json_object_in_their_order() {
        let result = |die: &str, result| DieResult { die: die.parse().expect("a die"), result };
        let results = Results(vec![result("1D6", 4), result("1D20", 17)]);
        assert_eq!(results.to_string(), r#"{"1D6":4,"1D20":17}"#);
    }
}
