//! Text from a server, made safe to print.

/// The text with its control characters written as escapes: those that steer a terminal or end a
/// line (C0, DEL and C1), and those that change the direction of text (`Bidi_Control`).
///
/// ```
/// use event_stream::printable::printable;
///
/// assert_eq!(printable("\x1b[2Jdone\r\n"), r"\u{1b}[2Jdone\r\n");
/// assert_eq!(printable("a\u{202e}b"), r"a\u{202e}b");
/// assert_eq!(printable("Würfel 🎲"), "Würfel 🎲");
/// ```
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_bidi_control(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

/// <https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
