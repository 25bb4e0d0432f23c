//! Reads text from outside: canonical numbers, hex digits, and errors that quote the text.

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

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes as hex digits in lower case.
pub fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).map(char::from).collect()
}

/// Reads `N` bytes from exactly `2 * N` hex digits in lower case. `None` for any other text.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    /// The value of each digit. This is a table, because the digits of a seed are random, so a
    /// processor could not predict branches on them.
    const VALUES: [u8; 256] = {
        let mut values = [NO_DIGIT; 256];
        let mut value = 0;
        while value < 16 {
            values[DIGITS[value as usize] as usize] = value;
            value += 1;
        }
        values
    };
    const NO_DIGIT: u8 = 0xff;
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    let mut all = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        all |= high | low;
        *byte = high << 4 | low;
    }
    (all < 16).then_some(bytes)
}
