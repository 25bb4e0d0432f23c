//! The delivery: whether events come when they are made, keep coming, and go on after a break.

use std::time::Duration;

use event_stream::parser::Frame;
use jiff::SignedDuration;
use serde_json::Value;

use crate::doctor::client::{End, Watch};
use crate::doctor::judge::{Finding, fault, fine, in_ms, in_words, note, seconds, unknown};
use crate::doctor::visit::{Seen, busy, sync};

/// A roll that comes later than the quickest by this much was held back.
const LATE: SignedDuration = SignedDuration::from_millis(250);
/// The worst of them, to be called held back at all: a busy machine may hesitate.
const VERY_LATE: SignedDuration = SignedDuration::from_millis(500);
/// Events closer together than this came in one piece.
const TOGETHER: Duration = Duration::from_millis(10);
/// How long a first frame may take that the server sends at once.
pub const AT_ONCE: Duration = Duration::from_millis(900);
/// A silence before an end that could be its cause.
const SILENCE: Duration = Duration::from_millis(900);
pub const PROXY_BUFFERING: &str = "nginx: `proxy_buffering off;` in the stream's location, of every nginx \
                               on the way, and no `proxy_ignore_headers X-Accel-Buffering;`";
const PROXY_READ_TIMEOUT: &str = "nginx: `proxy_read_timeout 1h;` in the stream's location; \
                                  rollcast: `heartbeat` in Rocket.toml, to less than any proxy's \
                                  timeout";
const LAST_EVENT_ID: &str = "nginx: no `proxy_set_header Last-Event-ID`, no \
                             `proxy_pass_request_headers off;` in the stream's location";

/// Whether events come when they are made.
pub fn buffering(seen: &Seen, watch: &Watch) -> Finding {
    const NAME: &str = "buffering";
    let answer = &watch.answer;
    if let Some(encoding) = answer.header("content-encoding") {
        return unknown(NAME, format!("compressed ({encoding}), not read"));
    }
    let events: Vec<_> =
        watch.arrivals.iter().filter(|a| matches!(a.frame, Frame::Event { .. })).collect();
    let Some(first) = watch.arrivals.first() else {
        return match seen.is_rollcast() {
            true => {
                let saw = format!("nothing came in {}", seconds(watch.lasted));
                fault(NAME, format!("{saw}, and rollcast speaks first"), PROXY_BUFFERING)
            }
            false => unknown(NAME, format!("nothing came in {}", seconds(watch.lasted))),
        };
    };
    // How much later than the quickest each roll came: whatever the clocks, that is time on the
    // way.
    let delays: Vec<SignedDuration> = watch
        .live_rolls()
        .map(|(arrival, rolled_at)| watch.time_of(arrival).duration_since(rolled_at.timestamp()))
        .collect();
    if let (true, Some(quickest), Some(slowest)) =
        (delays.len() >= 3, delays.iter().min(), delays.iter().max())
    {
        let n_late = delays.iter().filter(|delay| **delay - *quickest > LATE).count();
        let worst = *slowest - *quickest;
        let n_rolls = delays.len();
        if n_late * 5 >= n_rolls && worst > VERY_LATE {
            let saw = format!(
                "{n_late} of {n_rolls} rolls came late, by up to {:.1} s, many at once",
                worst.as_secs_f64()
            );
            return fault(NAME, saw, PROXY_BUFFERING);
        }
        if first.at > AT_ONCE {
            return slow_start(first.at);
        }
        let saw = format!(
            "{n_rolls} rolls came when they were made, the slowest {} ms behind the quickest",
            worst.as_millis()
        );
        return fine(NAME, saw);
    }
    if seen.is_rollcast() {
        if first.at > AT_ONCE {
            return slow_start(first.at);
        }
        return unknown(
            NAME,
            format!(
                "the first words came after {}, but only {} rolls to go by; try a longer --for",
                in_ms(first.at),
                delays.len()
            ),
        );
    }
    if events.len() < 3 {
        return unknown(NAME, format!("only {} events to go by; try a longer --for", events.len()));
    }
    let gaps = events.windows(2).map(|pair| pair[1].at - pair[0].at);
    let n_bursts = 1 + gaps.filter(|gap| *gap > TOGETHER).count();
    let saw = format!("{} events came in {n_bursts} pieces", events.len());
    if n_bursts * 3 <= events.len() {
        let saw = format!("{saw}: the server makes them so, or a proxy holds them back");
        note(NAME, saw, PROXY_BUFFERING)
    } else {
        fine(NAME, format!("{saw}; they do not say when they were made"))
    }
}

fn slow_start(after: Duration) -> Finding {
    let saw = format!("the first words came after {}, not at once", seconds(after));
    fault("buffering", saw, PROXY_BUFFERING)
}

/// Whether somebody cuts a stream off, and why.
pub fn idle(seen: &Seen, watch: &Watch) -> Finding {
    const NAME: &str = "idle";
    let moments = watch.arrivals.iter().map(|arrival| arrival.at);
    let edges: Vec<Duration> = [Duration::ZERO].into_iter().chain(moments).collect();
    let last = edges.last().copied().unwrap_or_default();
    let silence = watch.lasted.saturating_sub(last);
    let open_for = seconds(watch.lasted);
    let how = match &watch.end {
        End::Left => {
            let longest = edges.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
            let longest = longest.max(silence);
            let saw = format!("open for {open_for}, at most {} of it silent", seconds(longest));
            return if longest * 5 >= watch.lasted * 4 {
                unknown(NAME, format!("{saw}; who cuts it off later is not seen, try --for 90s"))
            } else {
                fine(NAME, saw)
            };
        }
        End::Flooded => {
            let saw = format!("more came in {open_for} than is looked at");
            return unknown(NAME, saw + " (64 MB or 200000 events); what followed was not read");
        }
        _ if watch.arrivals.iter().any(|arrival| busy(&arrival.frame).is_some()) => {
            return unknown(NAME, "the stream was refused as one too many");
        }
        // The last words of a server that stops.
        End::Closed
            if watch.head().is_some()
                && watch.arrivals.len() > 2
                && watch.arrivals.last().is_some_and(|arrival| is_closing(&arrival.frame)) =>
        {
            return unknown(NAME, format!("rollcast itself stopped after {open_for}; try again"));
        }
        End::Closed => "ended".to_string(),
        End::Broken(why) => format!("broken off ({why})"),
    };
    if silence >= SILENCE {
        let saw = format!("{how} after {} without a word", seconds(silence));
        fault(NAME, saw, PROXY_READ_TIMEOUT)
    } else if seen.is_rollcast() {
        let saw = format!("{how} after {open_for}, while events came");
        fault(
            NAME,
            saw,
            "a proxy's limit on the whole time of a request; nginx: its error log, and \
             `worker_shutdown_timeout` if it was reloaded",
        )
    } else {
        note(
            NAME,
            format!("{how} after {open_for}, while events came"),
            "the server ends its streams, or a proxy limits their whole time",
        )
    }
}

/// Whether a frame is the last one of a server that ends its streams.
fn is_closing(frame: &Frame) -> bool {
    matches!(frame, Frame::Event { name, id: None, .. } if name == "closing")
}

/// Whether a client that comes back goes on where it was.
pub fn resume(seen: &Seen) -> Finding {
    const NAME: &str = "resume";
    let Some(resumed) = &seen.resumed else {
        return unknown(NAME, "the events have no ids");
    };
    let asked = format!("asked for what came after `{}`", resumed.last_event_id);
    let frames = match &resumed.answered {
        Ok(frames) => frames,
        Err(why) => return unknown(NAME, format!("{asked}: {}", in_words(why))),
    };
    if let Some(sync) = frames.iter().find_map(sync) {
        let mode = sync.get("mode").and_then(Value::as_str).unwrap_or_default();
        return match mode {
            "resumed" => fine(NAME, format!("{asked}, and got it")),
            "live" => fault(NAME, format!("{asked}, and was not heard"), LAST_EVENT_ID),
            _ => {
                let reason = sync.get("reason").and_then(Value::as_str).unwrap_or_default();
                let saw = format!("{asked}, and was told `{mode}` ({reason})");
                fault(
                    NAME,
                    saw,
                    "one history behind one address: nginx: one `server` in the `upstream`",
                )
            }
        };
    }
    let next = frames.iter().find_map(|frame| match frame {
        Frame::Event { id: Some(id), .. } => Some(id),
        _ => None,
    });
    match next {
        Some(id) if resumed.later_ids.contains(id) => fine(NAME, format!("{asked}, and got it")),
        Some(id) => unknown(
            NAME,
            format!(
                "{asked}, and got `{id}`: the server does not repeat events, or Last-Event-ID is \
                 lost on the way"
            ),
        ),
        None => unknown(NAME, format!("{asked}, and nothing came that says so")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::client::NoAnswer;
    use crate::doctor::judge::Verdict::{Fault, Fine, Note, Unknown};
    use crate::doctor::judge::samples::{self, event, expect, foreign, rolls, seen, watch};

    #[test]
    fn rolls_that_come_long_after_they_were_made_were_held_back() {
        // One a 100 ms, in pieces of ten; and the same, with a clock that is an hour wrong.
        let held = |skew: i64| -> Vec<(u64, i64)> {
            (1..=40_u64).map(|n| (n.div_ceil(10) * 1_000, n as i64 * 100 + skew)).collect()
        };
        let steady = |skew: i64| -> Vec<(u64, i64)> {
            (1..=40_u64).map(|n| (n * 100 + 5, n as i64 * 100 + skew)).collect()
        };
        // A machine that hesitates once.
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
            let mut seen = seen();
            *seen.watched() = watch(rolls(&times), End::Left, 5_000);
            let finding = buffering(&seen, seen.stream.as_ref().expect("one"));
            expect(case, &finding, verdict, text);
        }
    }

    #[test]
    fn rollcast_speaks_first_so_a_late_start_is_somebody_elses_doing() {
        let mut late = rolls(&[]);
        for (at, _) in &mut late {
            *at = 4_000;
        }
        let table = [
            ("nothing", vec![], Fault, "nothing came in 5.0 s"),
            ("late", late, Fault, "after 4.0 s, not at once"),
            ("at once", rolls(&[]), Unknown, "only 0 rolls"),
        ];
        for (case, frames, verdict, text) in table {
            let mut ours = seen();
            *ours.watched() = watch(frames, End::Left, 5_000);
            expect(case, &buffering(&ours, ours.stream.as_ref().expect("one")), verdict, text);
        }
        let nothing = foreign(watch(vec![], End::Left, 5_000));
        let finding = buffering(&nothing, nothing.stream.as_ref().expect("one"));
        expect("nothing, foreign", &finding, Unknown, "nothing came");
    }

    #[test]
    fn events_without_times_are_judged_by_how_they_come() {
        let events = |times: &[u64]| times.iter().map(|t| (*t, event("x", None, "y"))).collect();
        let table: [(&str, Vec<_>, _, _); 3] = [
            ("each by itself", events(&[10, 200, 400, 610]), Fine, "4 events came in 4 pieces"),
            ("in bursts", events(&[1, 1, 1, 2, 900, 900, 901, 901]), Note, "in 2 pieces"),
            ("too few", events(&[1, 2]), Unknown, "only 2 events"),
        ];
        for (case, frames, verdict, text) in table {
            let seen = foreign(watch(frames, End::Left, 2_000));
            let finding = buffering(&seen, seen.stream.as_ref().expect("one"));
            expect(case, &finding, verdict, text);
        }
    }

    #[test]
    fn an_end_is_put_down_to_silence_to_the_server_or_to_a_limit() {
        let flowing: Vec<(u64, i64)> = (1..=40_u64).map(|n| (n * 100, n as i64 * 100)).collect();
        let flowing = rolls(&flowing);
        let mut stopped = flowing.clone();
        stopped.push((4_050, Frame::Retry(3_000)));
        stopped.push((4_050, event("closing", None, r#"{"reason":"shutdown"}"#)));
        let refused = vec![
            (3, Frame::Retry(30_000)),
            (4, event("busy", None, r#"{"reason":"address","limit":2}"#)),
        ];
        let broken = || End::Broken("reset".into());
        let table = [
            ("open", flowing.clone(), End::Left, 4_100, Fine, "at most 0.1 s of it silent"),
            ("flood", flowing.clone(), End::Flooded, 4_100, Unknown, "more came in 4.1 s"),
            ("silent", rolls(&[]), End::Left, 20_000, Unknown, "try --for 90s"),
            ("cut in silence", rolls(&[]), broken(), 5_003, Fault, "reset) after 5.0 s"),
            ("ended in silence", rolls(&[]), End::Closed, 5_003, Fault, "`proxy_read_timeout 1h;`"),
            ("cut in the middle", flowing, broken(), 4_050, Fault, "while events came"),
            ("a server's own end", stopped, End::Closed, 4_060, Unknown, "rollcast itself stopped"),
            ("refused", refused, End::Closed, 5, Unknown, "one too many"),
        ];
        for (case, frames, end, lasted, verdict, text) in table {
            let mut seen = seen();
            *seen.watched() = watch(frames, end, lasted);
            expect(case, &idle(&seen, seen.stream.as_ref().expect("one")), verdict, text);
        }
        let events = (0..9).map(|n| (n * 10, event("x", None, "y"))).collect();
        let seen = foreign(watch(events, End::Closed, 90));
        expect("foreign", &idle(&seen, seen.stream.as_ref().expect("one")), Note, "while events");
    }

    #[test]
    fn a_last_event_id_is_heard_or_not() {
        let sync = |mode| Ok(vec![Frame::Retry(1_000), samples::sync(mode)]);
        let id = |id| Ok(vec![event("x", Some(id), "y")]);
        let table = [
            ("resumed", sync("resumed"), Fine, "and got it"),
            ("live", sync("live"), Fault, "`proxy_pass_request_headers off;`"),
            ("reset", sync("reset"), Fault, "one history behind one address"),
            ("the next one", id("49-2"), Fine, "and got it"),
            ("some other", id("77"), Unknown, "is lost on the way"),
            ("nothing", Ok(vec![]), Unknown, "nothing came that says so"),
            (
                "no answer",
                Err(NoAnswer::Silent(std::time::Duration::from_secs(5))),
                Unknown,
                "no answer in 5.0 s",
            ),
        ];
        for (case, answered, verdict, text) in table {
            let mut seen = seen();
            seen.resumed.as_mut().expect("one").answered = answered;
            expect(case, &resume(&seen), verdict, text);
        }
        let seen = foreign(watch(vec![], End::Left, 1_000));
        expect("no ids", &resume(&seen), Unknown, "no ids");
    }
}
