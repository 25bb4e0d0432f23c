//! Retention: has the store prune the oldest rolls, as `keep` says, without a pause in the feed.

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

/// How often is looked whether there is something to prune: many rolls in one commit cost less
/// than a commit each.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Where there is more to go, a pause of so many times what the step took. Rolls need the writer
/// too, and get it for the larger part.
const PAUSE_FACTOR: u32 = 3;
/// Time until a prune that failed is tried again: doubled up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// How long pruning goes on in silence.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Prunes for as long as it is polled; does nothing where all is kept. `newest` is when the newest
/// roll so far was made, if there is one.
///
/// A prune that fails never stops the rolls: it is tried again later.
pub async fn prune(keep: Keep, newest: Option<Timestamp>, store: Store, metrics: Metrics) {
    // Also a clock that was wrong before the start is not believed at once, as of a machine that has
    // not asked for the time yet.
    let mut clock = SteadyClock::start(Instant::now(), newest.unwrap_or_else(Timestamp::now));
    let mut retry = FIRST_RETRY;
    let mut said = String::new();
    let mut long = LongPrune::default();
    loop {
        let Some(cutoff) = cutoff(keep, &mut clock) else { return pending().await };
        let start = Instant::now();
        let pause = match store.prune(cutoff).await {
            Ok(Pruned { n_rolls, oldest, more }) => {
                metrics.pruned(n_rolls, oldest);
                long.went_on(n_rolls, more);
                if !said.is_empty() {
                    info!("old rolls are pruned again");
                    said.clear();
                }
                retry = FIRST_RETRY;
                if more { PAUSE_FACTOR * start.elapsed() } else { LOOK_EVERY }
            }
            Err(error) => {
                metrics.prune_failed();
                // Each fault once, not with every attempt.
                let fault = format!("{:#}", anyhow!(error));
                if fault != said {
                    warn!("old rolls cannot be pruned, trying again; new ones go on: {fault}");
                    said = fault;
                }
                let pause = retry;
                retry = (retry * 2).min(LONGEST_RETRY);
                pause
            }
        };
        sleep(pause).await;
    }
}

/// What is no longer to be kept now, if anything ever.
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

/// Tells of a prune that takes a while, as the first one after a change of `keep` does.
#[derive(Default)]
struct LongPrune {
    /// When it began and when it was last told of.
    since: Option<(Instant, Instant)>,
    n_rolls: u64,
}

impl LongPrune {
    fn went_on(&mut self, n_rolls: u64, more: bool) {
        let now = Instant::now();
        let (began, told) = self.since.get_or_insert((now, now));
        self.n_rolls += n_rolls;
        let n_pruned = self.n_rolls;
        if more && told.elapsed() > TELL_EVERY {
            *told = now;
            info!(n_pruned, "pruning old rolls: {n_pruned} so far");
        } else if !more {
            if began != told {
                let seconds = began.elapsed().as_secs_f64();
                info!(n_pruned, seconds, "{n_pruned} old rolls are pruned, in {seconds:.0} s");
            }
            *self = LongPrune::default();
        }
    }
}

/// The time of day, except that a jump ahead is not believed at once: a clock that is wrong for a
/// moment must not delete a history. A machine that was asleep jumps ahead, too, as does a server
/// that was stopped for a while; then pruning by the clock resumes an hour later.
struct SteadyClock {
    /// A pair of readings that is believed.
    anchor: (Instant, Timestamp),
    /// Since when the clock is ahead of that.
    ahead_since: Option<Instant>,
}

impl SteadyClock {
    /// More than any clock is set in passing.
    const JUMP: SignedDuration = SignedDuration::from_mins(1);
    /// Then it is believed.
    const BELIEVED_AFTER: Duration = Duration::from_secs(3_600);

    fn start(instant: Instant, wall: Timestamp) -> SteadyClock {
        SteadyClock { anchor: (instant, wall), ahead_since: None }
    }

    /// The time that may be acted upon, where the clock shows `wall`.
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
                "the clock jumped ahead, or this was stopped for a while: it shows {wall:.0} after \
                 {expected:.0}; for an hour rolls are pruned as if it showed the latter"
            );
            instant
        });
        if instant - since < SteadyClock::BELIEVED_AFTER {
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
    fn a_clock_that_is_ahead_of_the_newest_roll_at_the_start_is_not_believed_for_an_hour() {
        let start = Instant::now();
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let table = [
            // It was ahead, and then set.
            (1, "2027-11-25T12:00:00Z", "2026-11-25T12:00:01Z"),
            (60, "2027-11-25T12:01:00Z", "2026-11-25T12:01:00Z"),
            (70, "2026-11-25T12:01:30Z", "2026-11-25T12:01:30Z"),
            // It is right, and the server was stopped for long.
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
    fn a_clock_that_jumps_ahead_is_believed_an_hour_later_and_one_that_is_set_back_at_once() {
        let start = Instant::now();
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let mut clock = SteadyClock::start(start, moment("2026-11-25T12:00:00Z"));
        // Seconds since the start, what the clock shows, and what is acted upon.
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
