//! Whether events arrive when they are made, or something on the way holds them back.

use std::time::Duration;

use event_stream::parser::Frame;
use jiff::SignedDuration;

use crate::judge::{Finding, fault, fine, in_ms, note, seconds, unknown};
use crate::visit::Observations;
use crate::watch::Watch;

/// A roll that arrives this much later than the fastest one is late.
const LATE: SignedDuration = SignedDuration::from_millis(250);
/// The slowest roll must be this much late: a busy machine may hesitate.
const VERY_LATE: SignedDuration = SignedDuration::from_millis(500);
/// Events closer together than this arrived in one piece.
const TOGETHER: Duration = Duration::from_millis(10);
/// How long the first frame may take if the server sends it at once.
pub const AT_ONCE: Duration = Duration::from_millis(900);
/// What to change when something holds events back.
pub const PROXY_BUFFERING: &str = "nginx: `proxy_buffering off;` in the stream's location, of \
                                   every nginx on the way, and no `proxy_ignore_headers \
                                   X-Accel-Buffering;`";

const NAME: &str = "buffering";

/// Whether events arrive when they are made.
pub fn buffering(seen: &Observations, watch: &Watch) -> Finding {
    if let Some(encoding) = watch.head.header("content-encoding") {
        return unknown(NAME, format!("compressed ({encoding}), not read"));
    }
    let Some(first) = watch.arrivals.first() else {
        let saw = format!("nothing arrived in {}", seconds(watch.lasted));
        return if seen.is_rollcast() {
            fault(NAME, format!("{saw}; rollcast sends `sync` at once"), PROXY_BUFFERING)
        } else {
            unknown(NAME, saw)
        };
    };
    let delays = watch.delays();
    if let (true, Some(fastest), Some(slowest)) =
        (delays.len() >= 3, delays.iter().min(), delays.iter().max())
    {
        // The difference is time on the way, even if the two clocks disagree.
        let n_late = delays.iter().filter(|delay| **delay - *fastest > LATE).count();
        let worst = *slowest - *fastest;
        let n_rolls = delays.len();
        if n_late * 5 >= n_rolls && worst > VERY_LATE {
            let worst = worst.as_secs_f64();
            let saw = format!("{n_late} of {n_rolls} rolls arrived late, by up to {worst:.1} s");
            return fault(NAME, saw + ", many at once", PROXY_BUFFERING);
        }
        if first.at > AT_ONCE {
            return slow_start(first.at);
        }
        let saw = format!(
            "{n_rolls} rolls arrived as they were made; their delays differ by at most {} ms",
            worst.as_millis()
        );
        return fine(NAME, saw);
    }
    if seen.is_rollcast() {
        if first.at > AT_ONCE {
            return slow_start(first.at);
        }
        let (first, n_rolls) = (in_ms(first.at), delays.len());
        let saw = format!("the first frame arrived after {first}, but only {n_rolls} rolls");
        return unknown(NAME, saw + "; try a longer --for");
    }
    without_times(watch)
}

/// Judges events that do not say when they were made: by whether they arrive one by one.
fn without_times(watch: &Watch) -> Finding {
    let is_event = |frame: &Frame| matches!(frame, Frame::Event { .. });
    let events: Vec<_> = watch.arrivals.iter().filter(|a| is_event(&a.frame)).collect();
    let n_events = events.len();
    if n_events < 3 {
        return unknown(NAME, format!("only {n_events} events arrived; try a longer --for"));
    }
    let pauses = events.windows(2).map(|pair| pair[1].at - pair[0].at);
    let n_bursts = 1 + pauses.filter(|pause| *pause > TOGETHER).count();
    let saw = format!("{n_events} events arrived in {n_bursts} pieces");
    if n_bursts * 3 <= n_events {
        let saw = format!("{saw}: the server makes them like that, or a proxy holds them back");
        note(NAME, saw, PROXY_BUFFERING)
    } else {
        fine(NAME, format!("{saw}; they do not say when they were made"))
    }
}

fn slow_start(after: Duration) -> Finding {
    let saw = format!("the first frame arrived after {}, not at once", seconds(after));
    fault(NAME, saw, PROXY_BUFFERING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Note, Unknown};
    use crate::judge::samples::{event, expect, foreign, rollcast, rolls, watch};
    use crate::watch::End;

    #[test]
    fn rolls_that_arrive_long_after_they_were_made_were_held_back() {
        // A roll every 100 ms, delivered ten at a time, by clocks that may be an hour apart.
        let held = |skew: i64| -> Vec<(u64, i64)> {
            (1..=40_u64).map(|n| (n.div_ceil(10) * 1_000, n as i64 * 100 + skew)).collect()
        };
        let steady = |skew: i64| -> Vec<(u64, i64)> {
            (1..=40_u64).map(|n| (n * 100 + 5, n as i64 * 100 + skew)).collect()
        };
        // The machine hesitates once.
        let mut hiccup = steady(0);
        for roll in &mut hiccup[10..16] {
            roll.0 = 1_700;
        }
        let table = [
            ("steady", steady(0), Fine, "40 rolls"),
            ("steady, another clock", steady(-3_600_000), Fine, "40 rolls"),
            ("held", held(0), Fault, "`proxy_buffering off;`"),
            ("held, another clock", held(3_600_000), Fault, "by up to 0.9 s"),
            ("one hiccup", hiccup, Fine, "40 rolls"),
            ("too few", steady(0)[..2].to_vec(), Unknown, "only 2 rolls"),
        ];
        for (case, times, verdict, text) in table {
            let mut seen = rollcast();
            *seen.watched() = watch(rolls(&times), End::Open, 5_000);
            let finding = buffering(&seen, seen.stream.as_ref().expect("one"));
            expect(case, &finding, verdict, text);
        }
    }

    #[test]
    fn rollcast_sends_a_frame_at_once_so_a_late_one_was_held_back() {
        let mut late = rolls(&[]);
        for (at, _) in &mut late {
            *at = 4_000;
        }
        let table = [
            ("nothing", vec![], Fault, "nothing arrived in 5.0 s"),
            ("late", late, Fault, "after 4.0 s, not at once"),
            ("at once", rolls(&[]), Unknown, "only 0 rolls"),
        ];
        for (case, frames, verdict, text) in table {
            let mut ours = rollcast();
            *ours.watched() = watch(frames, End::Open, 5_000);
            expect(case, &buffering(&ours, ours.stream.as_ref().expect("one")), verdict, text);
        }
        let nothing = foreign(watch(vec![], End::Open, 5_000));
        let finding = buffering(&nothing, nothing.stream.as_ref().expect("one"));
        expect("nothing, foreign", &finding, Unknown, "nothing arrived");
    }

    #[test]
    fn events_without_times_are_judged_by_how_they_arrive() {
        let events = |times: &[u64]| times.iter().map(|t| (*t, event("x", None, "y"))).collect();
        let table: [(&str, Vec<_>, _, _); 3] = [
            ("each by itself", events(&[10, 200, 400, 610]), Fine, "4 events arrived in 4 pieces"),
            ("in bursts", events(&[1, 1, 1, 2, 900, 900, 901, 901]), Note, "in 2 pieces"),
            ("too few", events(&[1, 2]), Unknown, "only 2 events"),
        ];
        for (case, frames, verdict, text) in table {
            let seen = foreign(watch(frames, End::Open, 2_000));
            let finding = buffering(&seen, seen.stream.as_ref().expect("one"));
            expect(case, &finding, verdict, text);
        }
    }
}
