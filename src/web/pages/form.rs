//! A field of a form, as it was sent.

use serde::Serialize;

use crate::text::ValueError;

/// A field of a form: the text that was sent, and why it cannot be used.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Field {
    pub value: String,
    pub error: Option<String>,
}

impl Field {
    /// A field with this text.
    pub fn of(value: impl Into<String>) -> Field {
        Field { value: value.into(), error: None }
    }
}

/// The field for a text, and its value if the text can be used. A missing text is an empty one.
pub fn field<T>(
    given: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> (Field, Option<T>) {
    let text = given.unwrap_or_default();
    let (value, error) = match parse(text) {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error.to_string())),
    };
    (Field { value: text.into(), error }, value)
}

/// The field for a text that may be missing or empty: then it has no value and no error.
pub fn optional<T>(
    given: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> (Field, Option<T>) {
    match given.filter(|text| !text.is_empty()) {
        Some(text) => field(Some(text), parse),
        None => (Field::default(), None),
    }
}
