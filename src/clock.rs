//! The clock: says when the next roll is due. It knows nothing of dice or ids.

use std::time::Duration;

use futures::stream::{Stream, unfold};
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use crate::roll::RolledAt;

/// Timestamps of due rolls: the first one at once, then one every `every` (not zero).
///
/// The monotonic clock paces the ticks. A tick that is missed, because the machine slept or the
/// reader was busy, is left out: a pause is followed by one roll, not by a burst.
pub fn ticks(every: Duration) -> impl Stream<Item = RolledAt> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        // The system clock may step back, so ids order the rolls, not timestamps.
        Some((RolledAt::truncate(Timestamp::now()), ticks))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::pin::pin;

    use futures::StreamExt;
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn the_first_tick_comes_at_once_and_the_others_in_equal_intervals() {
        let start = Instant::now();
        let mut ticks = pin!(ticks(Duration::from_secs(1)));
        for seconds in 0..100 {
            ticks.next().await.expect("a tick");
            assert_eq!(start.elapsed(), Duration::from_secs(seconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_followed_by_one_tick_and_not_by_a_burst() {
        let mut ticks = pin!(ticks(Duration::from_secs(1)));
        ticks.next().await.expect("the first tick");
        advance(Duration::from_millis(600_300)).await;
        let resumed = Instant::now();
        ticks.next().await.expect("the tick after the pause");
        assert_eq!(resumed.elapsed(), Duration::ZERO);
        for seconds in 1..10 {
            ticks.next().await.expect("a tick");
            assert_eq!(resumed.elapsed(), Duration::from_secs(seconds));
        }
    }
}
