//! Retention: prunes the oldest rolls beyond the setting `keep` without pausing the feed.

use std::future::pending;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::config::Keep;
use crate::metrics::Metrics;
use crate::roll::RolledAt;
use crate::store::{Cutoff, Pruned, Store};

/// The time between two prunes. One commit that deletes many rolls costs less than a commit for
/// each roll.
const PRUNE_INTERVAL: Duration = Duration::from_secs(1);
/// If there are more rolls to prune, the pause after a step is this many times as long as the step.
/// So the writer is free for new rolls most of the time.
const PAUSE_FACTOR: u32 = 3;
/// The delay after a failed prune. It doubles after each failure, up to the maximum.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);
/// The time between two log lines about a long prune.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Prunes until the future is dropped. With `keep = "forever"` it does nothing. `newest` is the
/// timestamp of the newest roll, if there is one.
///
/// A failed prune never stops new rolls. It is logged and retried later.
pub async fn prune(keep: Keep, newest: Option<Timestamp>, store: Store, metrics: Metrics) {
    // The clock may already be wrong at the start, on a machine that has not synchronised its time
    // yet. So use the newest roll as the first reading.
    let mut clock = SteadyClock::start(Instant::now(), newest.unwrap_or_else(Timestamp::now));
    let mut delay = MIN_RETRY_DELAY;
    let mut logged_fault = String::new();
    let mut long = LongPrune::default();
    loop {
        let Some(cutoff) = cutoff(keep, &mut clock) else { return pending().await };
        let start = Instant::now();
        let pause = match store.prune(cutoff).await {
            Ok(Pruned { n_rolls, oldest, more }) => {
                metrics.pruned(n_rolls, oldest);
                long.add_step(n_rolls, more);
                if !logged_fault.is_empty() {
                    info!("old rolls are pruned again");
                    logged_fault.clear();
                }
                delay = MIN_RETRY_DELAY;
                if more { PAUSE_FACTOR * start.elapsed() } else { PRUNE_INTERVAL }
            }
            Err(error) => {
                metrics.prune_failed();
                // Log each fault once, not with every attempt.
                let fault = format!("{:#}", anyhow!(error));
                if fault != logged_fault {
                    warn!("cannot prune old rolls, will retry; new rolls continue: {fault}");
                    logged_fault = fault;
                }
                let pause = delay;
                delay = (delay * 2).min(MAX_RETRY_DELAY);
                pause
            }
        };
        sleep(pause).await;
    }
}

/// The current cutoff, or `None` if all rolls are kept.
fn cutoff(keep: Keep, clock: &mut SteadyClock) -> Option<Cutoff> {
    match keep {
        Keep::Forever => None,
        Keep::Age(age) => {
            let now = clock.now(Instant::now(), Timestamp::now());
            let moment = now.checked_sub(age).unwrap_or(Timestamp::MIN);
            Some(Cutoff::Before(RolledAt::truncate(moment)))
        }
        Keep::Count(n_rolls) => Some(Cutoff::Count(n_rolls)),
    }
}

/// Logs the progress of a long prune, such as the first one after a change of `keep`.
#[derive(Default)]
struct LongPrune {
    /// The start, and the time of the last log line. `None` if no prune is running.
    times: Option<(Instant, Instant)>,
    n_rolls: u64,
}

impl LongPrune {
    fn add_step(&mut self, n_rolls: u64, more: bool) {
        let now = Instant::now();
        let (started, logged) = self.times.get_or_insert((now, now));
        self.n_rolls += n_rolls;
        let n_pruned = self.n_rolls;
        if more && logged.elapsed() > LOG_INTERVAL {
            *logged = now;
            info!(n_pruned, "pruning old rolls: {n_pruned} so far");
        } else if !more {
            if started != logged {
                let seconds = started.elapsed().as_secs_f64();
                info!(n_pruned, seconds, "pruned {n_pruned} old rolls in {seconds:.0} s");
            }
            *self = LongPrune::default();
        }
    }
}

/// The system clock, except that it trusts a jump ahead only after an hour, so that a clock that is
/// briefly wrong does not delete a history. After sleep or a long stop of the server, the clock
/// also seems to jump ahead. Then pruning by age continues an hour later.
struct SteadyClock {
    /// The last trusted pair of readings.
    anchor: (Instant, Timestamp),
    /// When a jump ahead of the anchor was first noticed.
    ahead_since: Option<Instant>,
}

impl SteadyClock {
    /// The largest step ahead that is trusted at once. Ordinary corrections are smaller.
    const JUMP: SignedDuration = SignedDuration::from_mins(1);
    /// How long a jump ahead must last to be trusted.
    const TRUST_DELAY: Duration = Duration::from_secs(3_600);

    fn start(instant: Instant, wall: Timestamp) -> SteadyClock {
        SteadyClock { anchor: (instant, wall), ahead_since: None }
    }

    /// The trusted time when the system clock shows `wall`.
    fn now(&mut self, instant: Instant, wall: Timestamp) -> Timestamp {
        let (then, at) = self.anchor;
        let passed = SignedDuration::try_from(instant - then).unwrap_or(SignedDuration::MAX);
        let expected = at.checked_add(passed).unwrap_or(Timestamp::MAX);
        if wall.duration_since(expected) <= SteadyClock::JUMP {
            self.anchor = (instant, wall);
            self.ahead_since = None;
            return wall;
        }
        let since = *self.ahead_since.get_or_insert_with(|| {
            warn!(
                "the clock jumped ahead, or the server was stopped for a while: the clock shows \
                 {wall:.0}, expected {expected:.0}; pruning uses the expected time for an hour"
            );
            instant
        });
        if instant - since < SteadyClock::TRUST_DELAY {
            return expected;
        }
        *self = SteadyClock::start(instant, wall);
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_ahead_of_the_newest_roll_at_the_start_is_not_trusted_for_an_hour() {
        let start = Instant::now();
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let table = [
            // The clock is ahead and is then corrected.
            (1, "2027-11-25T12:00:00Z", "2026-11-25T12:00:01Z"),
            (60, "2027-11-25T12:01:00Z", "2026-11-25T12:01:00Z"),
            (70, "2026-11-25T12:01:30Z", "2026-11-25T12:01:30Z"),
            // The clock is right, and the server was stopped for a month.
            (80, "2026-12-25T12:00:00Z", "2026-11-25T12:01:40Z"),
            (3_680, "2026-12-25T13:00:00Z", "2026-12-25T13:00:00Z"),
        ];
        let mut clock = SteadyClock::start(start, moment("2026-11-25T12:00:00Z"));
        for (seconds, wall, expected) in table {
            let seen = clock.now(start + Duration::from_secs(seconds), moment(wall));
            assert_eq!(seen, moment(expected), "after {seconds} s, at {wall}");
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_trusted_an_hour_later_and_one_that_is_set_back_at_once() {
        let start = Instant::now();
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let mut clock = SteadyClock::start(start, moment("2026-11-25T12:00:00Z"));
        // Seconds since the start, what the clock shows, and the trusted time.
        let table = [
            (1, "2026-11-25T12:00:01Z", "2026-11-25T12:00:01Z"),
            (60, "2026-11-25T12:01:30Z", "2026-11-25T12:01:30Z"),
            (70, "2099-01-01T00:00:00Z", "2026-11-25T12:01:40Z"),
            (80, "2026-11-25T12:01:50Z", "2026-11-25T12:01:50Z"),
            (90, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            (100, "2026-11-25T12:02:10Z", "1970-01-01T00:00:10Z"),
            (3_699, "2026-11-25T13:02:09Z", "1970-01-01T01:00:09Z"),
            (3_700, "2026-11-25T13:02:10Z", "2026-11-25T13:02:10Z"),
            (3_701, "2026-11-25T13:02:11Z", "2026-11-25T13:02:11Z"),
        ];
        for (seconds, wall, expected) in table {
            let seen = clock.now(start + Duration::from_secs(seconds), moment(wall));
            assert_eq!(seen, moment(expected), "after {seconds} s, at {wall}");
        }
    }
}
