//! Reads text from outside: canonical numbers, and errors that quote the text.

use std::fmt;

/// An error for a text that is not the expected value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got `{given}`")]
pub struct ValueError {
    expected: &'static str,
    given: String,
}

impl ValueError {
    /// An error that names what was expected and quotes the first 80 characters of the text that
    /// was `given` instead.
    pub fn new(expected: &'static str, given: impl fmt::Display) -> ValueError {
        ValueError { expected, given: shortened(&given.to_string()) }
    }
}

/// The first 80 characters of a text from outside, for a message.
pub fn shortened(text: &str) -> String {
    shortened_to(80, text)
}

/// The first `n_chars` characters of a text from outside, followed by `…` if there are more.
pub fn shortened_to(n_chars: usize, text: &str) -> String {
    match text.char_indices().nth(n_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// Reads a decimal number of up to 18 digits without sign, spaces or leading zeros, so that each
/// number has exactly one text. `None` for any other text.
pub fn canonical_number(text: &str) -> Option<i64> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if digits && canonical { text.parse().ok() } else { None }
}
