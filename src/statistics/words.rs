//! Writes numbers for people.

/// Groups the digits in threes: `12,345`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Groups the digits and rounds to `n_digits` decimals: `12,345.7`. `x` must not be negative.
pub fn decimal(x: f64, n_digits: usize) -> String {
    let text = format!("{x:.n_digits$}");
    match text.split_once('.') {
        Some((whole, fraction)) => {
            whole.parse().map_or(text.clone(), |n| format!("{}.{fraction}", grouped(n)))
        }
        None => text.parse().map_or(text, grouped),
    }
}

/// The number with this decimal logarithm: `0.0123`, or `10⁻³⁸` below 0.001 and from 10⁶.
pub fn power_of_ten(log10: f64) -> String {
    match log10 {
        ..-3.0 | 6.0.. => format!("10{}", superscript(log10.round() as i64)),
        ..1.0 => format!("{:.*}", (2.0 - log10.floor()) as usize, 10_f64.powf(log10)),
        _ => format!("{:.1}", 10_f64.powf(log10)),
    }
}

/// The number in superscript digits: `⁻³⁸`.
pub fn superscript(n: i64) -> String {
    let raise = |c| match c {
        '0'..='9' => "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth((c as u8 - b'0').into()),
        // The minus sign.
        _ => Some('⁻'),
    };
    n.to_string().chars().filter_map(raise).collect()
}

/// A range of results: `17`, or `1–17`.
pub fn span(from: u32, to: u32) -> String {
    if from == to { from.to_string() } else { format!("{from}–{to}") }
}

/// A range of counts: `17`, or `1 to 17`.
pub fn between(low: u64, high: u64) -> String {
    if low == high { grouped(low) } else { format!("{} to {}", grouped(low), grouped(high)) }
}

/// The text with a capital letter at its start.
pub fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!(decimal(1234.56, 1), "1,234.6");
        assert_eq!(decimal(0.0004, 4), "0.0004");
        assert_eq!(
            [-38.2, -2.0, 0.0, 0.4, 1.31, 7.0].map(power_of_ten),
            ["10⁻³⁸", "0.0100", "1.00", "2.51", "20.4", "10⁷"]
        );
    }
}
