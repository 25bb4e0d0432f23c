//! Growing, jittered pauses between attempts.

use std::time::Duration;

/// The pauses between attempts that fail one after the other.
///
/// Each is drawn between half of a ceiling and the ceiling, which doubles up to a maximum. So
/// many tasks that failed in the same instant do not all try again in the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    max: Duration,
}

impl Backoff {
    /// A first pause of at most `first`, and later ones of at most `max`.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { first, ceiling: first, max }
    }

    /// The pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.ceiling.mul_f64(rand::random_range(0.5..=1.0));
        self.ceiling = (self.ceiling * 2).min(self.max);
        pause
    }

    /// After a success: the next pause is a first one again.
    pub fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_maximum_with_jitter_and_start_over_after_a_success() {
        let (first, max) = (Duration::from_millis(10), Duration::from_millis(100));
        let mut backoff = Backoff::new(first, max);
        let mut pauses = Vec::new();
        for ceiling_ms in [10, 20, 40, 80, 100, 100] {
            let pause = backoff.next_pause();
            let ceiling = Duration::from_millis(ceiling_ms);
            assert!(pause >= ceiling / 2 && pause <= ceiling, "{pause:?} below {ceiling:?}");
            pauses.push(pause);
        }
        assert_ne!(pauses[4], pauses[5], "without jitter");
        backoff.reset();
        assert!(backoff.next_pause() <= first);
    }
}
