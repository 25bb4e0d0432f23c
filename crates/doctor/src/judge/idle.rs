//! Whether something ends the stream, and why.

use std::time::Duration;

use crate::judge::{Finding, fault, fine, note, seconds, unknown};
use crate::rollcast::{busy, closing};
use crate::visit::Observations;
use crate::watch::{End, Watch};

/// A silence this long before the end may be its cause.
const SILENCE: Duration = Duration::from_millis(900);
const PROXY_READ_TIMEOUT: &str = "nginx: `proxy_read_timeout 1h;` in the stream's location; \
                                  rollcast: `heartbeat` in Rocket.toml, to less than any proxy's \
                                  timeout";

/// Whether something ends the stream, and why.
pub fn idle(seen: &Observations, watch: &Watch) -> Finding {
    const NAME: &str = "idle";
    let times = watch.arrivals.iter().map(|arrival| arrival.at);
    let times: Vec<Duration> = [Duration::ZERO].into_iter().chain(times).collect();
    let last = times.last().copied().unwrap_or_default();
    let silence = watch.lasted.saturating_sub(last);
    let open_for = seconds(watch.lasted);
    let how = match &watch.end {
        End::Open => {
            let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
            let longest = pauses.max().unwrap_or_default().max(silence);
            let saw = format!("open for {open_for}, silent for at most {}", seconds(longest));
            return if longest * 5 >= watch.lasted * 4 {
                let limit = "a proxy's timeout would take longer to show";
                unknown(NAME, format!("{saw}; {limit}, try --for 90s"))
            } else {
                fine(NAME, saw)
            };
        }
        End::TooMuch => {
            let saw = format!("more than 64 MB or 200,000 frames arrived in {open_for}");
            return unknown(NAME, format!("{saw}; the doctor reads no more"));
        }
        _ if watch.arrivals.iter().any(|arrival| busy(&arrival.frame).is_some()) => {
            return unknown(NAME, "the server refused the stream: its limit is reached");
        }
        // rollcast announces the end of its streams when it stops.
        End::Closed
            if watch.newest_roll().is_some()
                && watch.arrivals.len() > 2
                && watch
                    .arrivals
                    .last()
                    .is_some_and(|arrival| closing(&arrival.frame).is_some()) =>
        {
            return unknown(NAME, format!("rollcast itself stopped after {open_for}; try again"));
        }
        End::Closed => "ended".to_string(),
        End::Broken(why) => format!("broken off ({why})"),
    };
    if silence >= SILENCE {
        let saw = format!("{how} after {} of silence", seconds(silence));
        fault(NAME, saw, PROXY_READ_TIMEOUT)
    } else if seen.is_rollcast() {
        let saw = format!("{how} after {open_for}, while events arrived");
        fault(
            NAME,
            saw,
            "a proxy's limit on the total time of a request; nginx: its error log, and \
             `worker_shutdown_timeout` if it was reloaded",
        )
    } else {
        note(
            NAME,
            format!("{how} after {open_for}, while events arrived"),
            "the server ends its streams, or a proxy limits their total time",
        )
    }
}

#[cfg(test)]
mod tests {
    use event_stream::parser::Frame;

    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Note, Unknown};
    use crate::judge::samples::{event, expect, foreign, rollcast, rolls, watch};

    #[test]
    fn an_end_is_explained_by_silence_by_the_server_or_by_a_limit() {
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
            ("open", flowing.clone(), End::Open, 4_100, Fine, "silent for at most 0.1 s"),
            (
                "flood",
                flowing.clone(),
                End::TooMuch,
                4_100,
                Unknown,
                "4.1 s; the doctor reads no more",
            ),
            ("silent", rolls(&[]), End::Open, 20_000, Unknown, "try --for 90s"),
            ("cut in silence", rolls(&[]), broken(), 5_003, Fault, "reset) after 5.0 s"),
            ("ended in silence", rolls(&[]), End::Closed, 5_003, Fault, "`proxy_read_timeout 1h;`"),
            ("cut in the middle", flowing, broken(), 4_050, Fault, "while events arrived"),
            ("a server's own end", stopped, End::Closed, 4_060, Unknown, "rollcast itself stopped"),
            ("refused", refused, End::Closed, 5, Unknown, "its limit is reached"),
        ];
        for (case, frames, end, lasted, verdict, text) in table {
            let mut seen = rollcast();
            *seen.watched() = watch(frames, end, lasted);
            expect(case, &idle(&seen, seen.stream.as_ref().expect("one")), verdict, text);
        }
        let events = (0..9).map(|n| (n * 10, event("x", None, "y"))).collect();
        let seen = foreign(watch(events, End::Closed, 90));
        expect("foreign", &idle(&seen, seen.stream.as_ref().expect("one")), Note, "while events");
    }
}
