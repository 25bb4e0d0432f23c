//! Reading text from outside: canonical numbers, and errors that quote what was read.

use std::fmt;

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
pub fn canonical_number(text: &str) -> Option<i64> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if digits && canonical { text.parse().ok() } else { None }
}
