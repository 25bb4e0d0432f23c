//! The parameters of `/screen` and `/embed`.

use std::fmt;
use std::str::FromStr;

use rocket::form::FromForm;

use crate::dice::Die;
use crate::text::{ValueError, canonical_number};
use crate::web::http::address::address;
use crate::web::http::error::HttpError;

/// The results before the newest that are shown by default, and at most.
const DEFAULT_TAIL: usize = 7;
const MAX_TAIL: usize = 50;

/// The query as it was sent. An empty field means the same as a missing one.
#[derive(FromForm)]
pub struct ShowQuery {
    bg: Option<String>,
    dice: Option<String>,
    tail: Option<String>,
    sound: Option<String>,
}

/// What a page shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Show {
    pub backdrop: Backdrop,
    /// The only dice that are shown; all if it is empty.
    dice: Vec<Die>,
    /// How many results before the newest.
    pub tail: usize,
    pub has_sound: bool,
}

/// What is behind the dice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backdrop {
    Felt,
    /// Nothing: the page is transparent.
    None,
    Colour(Colour),
}

/// Red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

impl Show {
    /// Reads the parameters. `dice` are the dice of this server.
    ///
    /// # Errors
    ///
    /// The first parameter that cannot be used.
    pub fn read(query: &ShowQuery, dice: impl Iterator<Item = Die>) -> Result<Show, HttpError> {
        let dice: Vec<Die> = dice.collect();
        let named = |list: &str| list.split(',').map(|name| one_of(&dice, name)).collect();
        Ok(Show {
            backdrop: field("bg", &query.bg)?.unwrap_or(Backdrop::Felt),
            dice: filled(&query.dice).map_or(Ok(Vec::new()), named)?,
            tail: field("tail", &query.tail)?.map_or(DEFAULT_TAIL, |Tail(tail)| tail),
            has_sound: field("sound", &query.sound)?.is_some_and(|Switch(is_on)| is_on),
        })
    }

    /// The query of an address that shows the same: empty, or `?` and what differs from the
    /// defaults.
    pub fn query(&self) -> String {
        let backdrop = match self.backdrop {
            Backdrop::Felt => None,
            Backdrop::None => Some("bg=none".into()),
            Backdrop::Colour(colour) => Some(format!("bg={}", &colour.to_string()[1..])),
        };
        let names: Vec<String> = self.dice.iter().map(Die::to_string).collect();
        let dice = (!names.is_empty()).then(|| format!("dice={}", names.join(",")));
        let tail = (self.tail != DEFAULT_TAIL).then(|| format!("tail={}", self.tail));
        let sound = self.has_sound.then(|| "sound=1".into());
        address("", [backdrop, dice, tail, sound])
    }

    /// Whether all dice are shown.
    pub fn shows_all(&self) -> bool {
        self.dice.is_empty()
    }

    /// Whether a die is shown.
    pub fn has(&self, die: Die) -> bool {
        self.shows_all() || self.dice.contains(&die)
    }
}

impl Backdrop {
    pub fn name(self) -> &'static str {
        match self {
            Backdrop::Felt => "felt",
            Backdrop::None => "none",
            Backdrop::Colour(_) => "colour",
        }
    }
}

impl FromStr for Backdrop {
    type Err = ValueError;

    /// Reads `felt`, `none`, or a colour of six hex digits, with or without `#`: in an address, `#`
    /// begins the fragment.
    fn from_str(text: &str) -> Result<Backdrop, ValueError> {
        match text {
            "felt" => Ok(Backdrop::Felt),
            "none" => Ok(Backdrop::None),
            _ => {
                let error = || ValueError::new("`felt`, `none` or a colour such as `00ff00`", text);
                let digits = text.strip_prefix('#').unwrap_or(text).to_lowercase();
                let colour = crate::text::from_hex(&digits).map(Colour);
                Ok(Backdrop::Colour(colour.ok_or_else(error)?))
            }
        }
    }
}

impl Colour {
    /// Whether dark text is easier to read on it than white text.
    ///
    /// Source: relative luminance, <https://www.w3.org/TR/WCAG22/#dfn-relative-luminance>. Black and
    /// white have the same contrast to a colour whose luminance is about 0.18.
    pub fn is_light(self) -> bool {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

struct Tail(usize);

impl FromStr for Tail {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Tail, ValueError> {
        let n_results = canonical_number(text).and_then(|number| usize::try_from(number).ok());
        let tail = n_results.filter(|n_results| *n_results <= MAX_TAIL).map(Tail);
        tail.ok_or_else(|| ValueError::new("0 to 50 results", text))
    }
}

struct Switch(bool);

impl FromStr for Switch {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Switch, ValueError> {
        match text {
            "0" => Ok(Switch(false)),
            "1" => Ok(Switch(true)),
            _ => Err(ValueError::new("`0` or `1`", text)),
        }
    }
}

/// A die of this server, by its name, such as `1D20`, or by its short name, `d20`.
fn one_of(dice: &[Die], name: &str) -> Result<Die, HttpError> {
    let invalid = |error| HttpError::invalid("dice", error);
    let is_short = name.starts_with(['d', 'D']);
    let whole = if is_short { format!("1{name}") } else { name.to_owned() };
    let die = whole.parse().map_err(invalid)?;
    let is_rolled = dice.contains(&die);
    is_rolled
        .then_some(die)
        .ok_or_else(|| invalid(ValueError::new("dice that this server rolls", name)))
}

fn filled(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}

fn field<T: FromStr<Err = ValueError>>(
    name: &str,
    value: &Option<String>,
) -> Result<Option<T>, HttpError> {
    let value = filled(value).map(str::parse).transpose();
    value.map_err(|error| HttpError::invalid(name, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bg: &str, dice: &str, tail: &str, sound: &str) -> Result<Show, String> {
        let [bg, dice, tail, sound] = [bg, dice, tail, sound].map(|value| Some(value.to_owned()));
        let query = ShowQuery { bg, dice, tail, sound };
        let rolled: Vec<Die> = ["1D6", "1D20", "2D6"].map(|die| die.parse().expect("a die")).into();
        Show::read(&query, rolled.into_iter()).map_err(|error| error.message)
    }

    #[test]
    fn empty_fields_have_their_defaults() {
        let show = read("", "", "", "").expect("defaults");
        assert_eq!((show.backdrop, show.tail, show.has_sound), (Backdrop::Felt, 7, false));
        assert!(["1D6", "1D20", "2D6"].iter().all(|die| show.has(die.parse().expect("a die"))));
    }

    #[test]
    fn a_backdrop_is_felt_or_nothing_or_a_colour() {
        for (text, expected) in
            [("felt", "felt"), ("none", "none"), ("00ff00", "#00ff00"), ("#00FF00", "#00ff00")]
        {
            let backdrop = read(text, "", "", "").expect("a backdrop").backdrop;
            let shown = match backdrop {
                Backdrop::Colour(colour) => colour.to_string(),
                other => other.name().to_owned(),
            };
            assert_eq!(shown, expected);
        }
        for text in ["green", "0f0", "##00ff00", "00ff00;", "00ff0g", "url(x)"] {
            let expected =
                format!("bg: expected `felt`, `none` or a colour such as `00ff00`, got `{text}`");
            assert_eq!(read(text, "", "", ""), Err(expected));
        }
    }

    #[test]
    fn text_is_dark_on_light_colours_only() {
        let is_light = |text: &str| match text.parse() {
            Ok(Backdrop::Colour(colour)) => colour.is_light(),
            other => panic!("expected a colour, got {other:?}"),
        };
        for light in ["ffffff", "00ff00", "ff00ff", "ffff00", "808080"] {
            assert!(is_light(light), "{light}");
        }
        for dark in ["000000", "0000ff", "1d5b45", "8f2437", "555555"] {
            assert!(!is_light(dark), "{dark}");
        }
    }

    #[test]
    fn dice_are_named_as_they_are_written_or_in_short() {
        let show = read("", "d20,2d6", "0", "1").expect("dice");
        let shown = ["1D6", "1D20", "2D6"].map(|die| show.has(die.parse().expect("a die")));
        assert_eq!((shown, show.tail, show.has_sound), ([false, true, true], 0, true));
        for (dice, expected) in [
            ("1D8", "dice: expected dice that this server rolls, got `1D8`"),
            ("1D6,", "dice: expected dice notation such as `1D6`, got ``"),
        ] {
            assert_eq!(read("", dice, "", ""), Err(expected.to_owned()));
        }
    }

    #[test]
    fn the_query_of_what_is_shown_shows_the_same() {
        for (bg, dice, tail, sound, query) in [
            ("felt", "", "7", "0", ""),
            ("none", "", "", "", "?bg=none"),
            ("#00FF00", "d20,2d6", "3", "1", "?bg=00ff00&dice=1D20,2D6&tail=3&sound=1"),
        ] {
            assert_eq!(read(bg, dice, tail, sound).map(|show| show.query()), Ok(query.into()));
        }
    }

    #[test]
    fn a_tail_has_a_bound_and_sound_is_a_switch() {
        for (tail, sound, expected) in [
            ("51", "", "tail: expected 0 to 50 results, got `51`"),
            ("-1", "", "tail: expected 0 to 50 results, got `-1`"),
            ("7.5", "", "tail: expected 0 to 50 results, got `7.5`"),
            ("", "yes", "sound: expected `0` or `1`, got `yes`"),
        ] {
            assert_eq!(read("", "", tail, sound), Err(expected.to_owned()));
        }
    }
}
