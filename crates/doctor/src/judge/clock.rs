//! Whether the clocks of server and client agree.

use jiff::SignedDuration;
use jiff::fmt::rfc2822;

use crate::judge::{Finding, fault, fine, unknown};
use crate::response::Head;
use crate::visit::Observations;
use crate::watch::Watch;

/// A larger difference misleads people who read the times of rolls.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(5);
const CLOCK: &str = "run a time service (chronyd, ntpd) on both machines";

/// Whether the clocks agree.
pub fn clock(seen: &Observations, watch: &Watch) -> Finding {
    const NAME: &str = "clock";
    let fastest = watch.delays().into_iter().min();
    match (skew(seen, watch), fastest) {
        (Some(skew), _) if skew.abs() > MAX_SKEW => {
            fault(NAME, format!("the server's clock is {} this machine's", apart(skew)), CLOCK)
        }
        (_, Some(age)) if age.abs() > MAX_SKEW => fault(
            NAME,
            format!("the times of rolls are {} this machine's clock", apart(age)),
            CLOCK,
        ),
        (Some(_), _) => fine(NAME, "the server's clock agrees with this machine's"),
        (None, Some(_)) => fine(NAME, "the times of rolls agree with this machine's clock"),
        (None, None) => unknown(NAME, "no `Date` header, and no times in the events"),
    }
}

/// How far this machine's clock is ahead of the server's, to a second; by the stream's `Date`,
/// else the page's, which may come from a cache.
pub fn skew(seen: &Observations, watch: &Watch) -> Option<SignedDuration> {
    let page = seen.page.as_ref().and_then(|page| page.as_ref().ok()).map(|page| &page.head);
    [Some(&watch.head), page].into_iter().flatten().find_map(skew_of)
}

fn skew_of(head: &Head) -> Option<SignedDuration> {
    let date = head.header("date")?;
    let date = rfc2822::DateTimeParser::new().parse_timestamp(&date).ok()?;
    // The header has no fractions of a second.
    let ahead = head.at.duration_since(date) - SignedDuration::from_millis(500);
    // The server wrote it at some time since the request; it may have been held back on the way.
    let on_the_way = SignedDuration::try_from(head.after).unwrap_or(SignedDuration::MAX);
    Some(ahead.min(SignedDuration::ZERO.max(ahead.saturating_sub(on_the_way))))
}

fn apart(ahead: SignedDuration) -> String {
    let direction = if ahead.is_negative() { "ahead of" } else { "behind" };
    format!("{:.0} s {direction}", ahead.abs().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Unknown};
    use crate::judge::samples::{expect, foreign, head, rolls, watch};
    use crate::watch::End;

    #[test]
    fn clocks_are_compared_by_the_date_header_and_by_the_rolls() {
        let late: Vec<_> = (1..=5).map(|n| (n * 100, n as i64 * 100 - 60_000)).collect();
        let table = [
            ("Mon, 23 Nov 2026 01:37:40 GMT", rolls(&[(100, 90)]), Fine, "agrees"),
            ("Mon, 23 Nov 2026 01:37:36 GMT", rolls(&[(100, 90)]), Fine, "agrees"),
            ("Mon, 23 Nov 2026 01:36:40 GMT", rolls(&[]), Fault, "60 s behind"),
            ("Mon, 23 Nov 2026 01:38:40 GMT", rolls(&[]), Fault, "60 s ahead of"),
            ("Mon, 23 Nov 2026 01:37:40 GMT", rolls(&late), Fault, "the times of rolls are 60 s"),
            ("no date", rolls(&[(100, 90)]), Fine, "the times of rolls"),
            ("no date", rolls(&[]), Unknown, "no `Date`"),
        ];
        for (date, frames, verdict, text) in table {
            let mut seen = foreign(watch(frames, End::Open, 1_000));
            seen.watched().head = head(&[("date", date)]);
            expect(date, &clock(&seen, seen.stream.as_ref().expect("one")), verdict, text);
        }
        let mut held_back = foreign(watch(rolls(&[]), End::Open, 1_000));
        held_back.watched().head = Head {
            after: Duration::from_secs(9),
            ..head(&[("date", "Mon, 23 Nov 2026 01:37:31 GMT")])
        };
        let watch = held_back.stream.as_ref().expect("one");
        expect("held back", &clock(&held_back, watch), Fine, "agrees");
    }
}
