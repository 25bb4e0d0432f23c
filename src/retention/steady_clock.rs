//! The clock of pruning by age: when to trust the system clock.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

/// The system clock, except that it trusts a jump ahead only after an hour, so that a clock that is
/// briefly wrong does not delete a history. After sleep or a long stop of the server, the clock
/// also seems to jump ahead. Then pruning by age continues an hour later.
pub struct SteadyClock {
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

    /// A clock that trusts this first reading.
    pub fn start(instant: Instant, wall: Timestamp) -> SteadyClock {
        SteadyClock { anchor: (instant, wall), ahead_since: None }
    }

    /// The trusted time when the system clock shows `wall`.
    pub fn now(&mut self, instant: Instant, wall: Timestamp) -> Timestamp {
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
