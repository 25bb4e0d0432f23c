//! Growing, jittered pauses between attempts.

use std::time::Duration;

use tokio::time::sleep;

/// The pauses between attempts that fail one after the other.
///
/// Each is drawn between half of a ceiling and the ceiling, which doubles up to a maximum. So
/// many tasks that failed in the same instant do not all try again in the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    ceiling: Duration,
    max: Duration,
}

impl Backoff {
    /// A first pause of at most `first`, and later ones of at most `max`.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { ceiling: first, max }
    }

    /// The pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.ceiling.mul_f64(rand::random_range(0.5..=1.0));
        self.ceiling = (self.ceiling * 2).min(self.max);
        pause
    }
}

/// The first result of `attempt` that is a success or a permanent error. After a temporary error
/// it pauses and tries again, for ever: the caller drops the future if nobody needs the result.
///
/// # Errors
///
/// The first permanent error.
pub async fn retry<T, E, F: Future<Output = Result<T, E>>>(
    mut backoff: Backoff,
    is_temporary: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    loop {
        match attempt().await {
            Err(error) if is_temporary(&error) => sleep(backoff.next_pause()).await,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::Cell;

    use tokio::time::{Instant, timeout};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_store_that_keeps_failing_is_asked_at_growing_pauses_and_for_ever() {
        let n_attempts = Cell::new(0);
        let failing = retry(
            Backoff::new(SECOND / 10, SECOND),
            |_| true,
            || {
                n_attempts.set(n_attempts.get() + 1);
                async { Err::<(), _>("busy") }
            },
        );
        timeout(100 * SECOND, failing).await.expect_err("it never succeeds");
        // One a second at the least, two at the most, and a few at first.
        assert!((100..=210).contains(&n_attempts.get()), "{} attempts", n_attempts.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_error_or_a_success_ends_the_attempts_at_once() {
        for last in [Ok(7), Err("damaged")] {
            let start = Instant::now();
            let mut answers = vec![last, Err("busy"), Err("busy")];
            let result = retry(
                Backoff::new(SECOND, SECOND),
                |error| *error == "busy",
                || {
                    let answer = answers.pop().expect("no attempt after the last answer");
                    async move { answer }
                },
            );
            assert_eq!(result.await, last);
            assert!(start.elapsed() >= SECOND && start.elapsed() <= 2 * SECOND);
        }
    }

    #[test]
    fn pauses_grow_to_a_maximum_with_jitter() {
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
    }
}
