//! Whether the server makes rolls.

use jiff::{SignedDuration, Timestamp};

use crate::judge::clock::skew;
use crate::judge::{Finding, fault, fine, unknown};
use crate::visit::Observations;
use crate::watch::Watch;

/// How late the newest roll may be beyond three intervals.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// Whether the server makes rolls as often as its page says.
pub fn roller(seen: &Observations, watch: &Watch) -> Finding {
    const NAME: &str = "roller";
    let Some((page, rolls)) = seen.page_rolls() else {
        return match watch.live_rolls().count() {
            0 => unknown(NAME, "no page says how often events are due"),
            n_rolls => fine(NAME, format!("{n_rolls} rolls were made meanwhile")),
        };
    };
    let at_end = watch.started + SignedDuration::try_from(watch.lasted).unwrap_or_default();
    let live: Option<Timestamp> = watch.live_rolls().last().map(|(_, rolled_at)| rolled_at);
    let from_stream = live.or_else(|| watch.newest_roll()?.rolled_at);
    let from_page = || rolls.newest?.rolled_at;
    let newest = from_stream.map(|newest| (newest, at_end));
    let Some((newest, now)) = newest.or_else(|| Some((from_page()?, page.at))) else {
        return unknown(NAME, "the server has no rolls");
    };
    let age = now.duration_since(newest) - skew(seen, watch).unwrap_or_default();
    let saw = format!(
        "rolls are due every {:?}, the newest is {:.1} s old",
        rolls.every,
        age.as_secs_f64().max(0.0)
    );
    let max_age = SignedDuration::try_from(rolls.every * 3).unwrap_or(SignedDuration::MAX);
    if age > max_age.saturating_add(TOLERANCE) {
        fault(
            NAME,
            saw,
            "rollcast's log says why no roll is stored; `rollcast check` checks the database",
        )
    } else {
        fine(NAME, saw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Unknown};
    use crate::judge::samples::{START_MS, expect, foreign, head, rollcast, rolls, watch};
    use crate::watch::End;

    #[test]
    fn no_roll_for_three_intervals_is_a_fault() {
        let of_another_clock = "Mon, 23 Nov 2026 00:37:40 GMT";
        let table = [
            ("rolling", rolls(&[(9_000, 8_998)]), 10_000, "", Fine),
            ("stalled", rolls(&[(1_000, 998)]), 10_000, "", Fault),
            ("just opened", rolls(&[]), 2_000, "", Fine),
            ("rolling", rolls(&[(9_000, 8_998 - 3_600_000)]), 10_000, of_another_clock, Fine),
            ("stalled", rolls(&[(1_000, 998 - 3_600_000)]), 10_000, of_another_clock, Fault),
        ];
        for (case, frames, lasted, date, verdict) in table {
            let mut seen = rollcast();
            *seen.watched() = watch(frames, End::Open, lasted);
            if !date.is_empty() {
                seen.watched().head = head(&[("date", date)]);
            }
            let finding = roller(&seen, seen.stream.as_ref().expect("one"));
            expect(case, &finding, verdict, "every 1s");
        }
        // A silent stream: the newest roll of the page counts.
        let mut seen = rollcast();
        *seen.watched() = watch(vec![], End::Open, 100);
        let Some(Ok(page)) = &mut seen.page else { panic!("a sample has a page") };
        let rolls = page.rolls.as_mut().expect("one");
        rolls.newest = format!("40-{}", START_MS - 60_000).parse().ok();
        expect("page", &roller(&seen, seen.stream.as_ref().expect("one")), Fault, "60.5 s");
        let foreign = foreign(watch(vec![], End::Open, 100));
        let finding = roller(&foreign, foreign.stream.as_ref().expect("one"));
        expect("foreign", &finding, Unknown, "how often");
    }
}
