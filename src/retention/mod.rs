//! Retention: prunes the oldest rolls beyond the setting `keep` without pausing the feed.

mod steady_clock;

use std::future::pending;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::Timestamp;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::config::Keep;
use crate::metrics::Metrics;
use crate::roll::RolledAt;
use crate::store::{Cutoff, Pruned, Store};

use self::steady_clock::SteadyClock;

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
                long.add_step(Instant::now(), n_rolls, more);
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
    /// Adds a step that ended `now`.
    fn add_step(&mut self, now: Instant, n_rolls: u64, more: bool) {
        let (started, logged) = self.times.get_or_insert((now, now));
        self.n_rolls += n_rolls;
        let n_pruned = self.n_rolls;
        if more && now - *logged > LOG_INTERVAL {
            *logged = now;
            info!(n_pruned, "pruning old rolls: {n_pruned} so far");
        } else if !more {
            if started != logged {
                let seconds = (now - *started).as_secs_f64();
                info!(n_pruned, seconds, "pruned {n_pruned} old rolls in {seconds:.0} s");
            }
            *self = LongPrune::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::task::Poll;
    use std::thread;

    use jiff::SignedDuration;
    use tempfile::NamedTempFile;
    use tokio::sync::oneshot;
    use tracing::subscriber::DefaultGuard;

    use crate::metrics::Readings;
    use crate::roll::Roll;

    /// How long a test waits for the pruner, in real time.
    const MAX_WAIT: Duration = Duration::from_secs(60);

    /// The log of this thread, until it is dropped.
    struct Log {
        file: NamedTempFile,
        _subscriber: DefaultGuard,
    }

    impl Log {
        fn start() -> Log {
            let file = NamedTempFile::new().expect("a file");
            let writer = Arc::new(file.reopen().expect("the file"));
            let log = tracing_subscriber::fmt().with_writer(writer).with_target(false);
            let log = log.with_ansi(false).without_time().finish();
            Log { file, _subscriber: tracing::subscriber::set_default(log) }
        }

        /// The lines about pruning.
        fn lines(&self) -> Vec<String> {
            let log = std::fs::read_to_string(&self.file).expect("the log");
            let lines = log.lines().filter(|line| line.contains("prun"));
            lines.map(|line| line.trim_start().to_string()).collect()
        }
    }

    /// The value of a counter.
    fn count(metrics: &Metrics, name: &str) -> u64 {
        let text = metrics.scrape(Readings::default());
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("rollcast_{name} ")));
        value.expect("a metric").parse().expect("a number")
    }

    /// Runs a pruner until `is_done`. Nothing else sleeps, so the paused clock advances by the
    /// pruner's pauses only.
    async fn run_until(mut pruner: Pin<&mut impl Future<Output = ()>>, is_done: impl Fn() -> bool) {
        let waiting = poll_fn(|cx| {
            assert!(pruner.as_mut().poll(cx).is_pending(), "the pruner ended");
            if is_done() { Poll::Ready(()) } else { Poll::Pending }
        });
        // The bound is a thread's, because a timer would make the paused clock jump to it.
        let (_waits, end) = mpsc::channel::<()>();
        let (late, is_late) = oneshot::channel();
        thread::spawn(move || {
            if end.recv_timeout(MAX_WAIT) == Err(RecvTimeoutError::Timeout) {
                let _ = late.send(());
            }
        });
        tokio::select! {
            () = waiting => {}
            _ = is_late => panic!("expected the pruner to act within {MAX_WAIT:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_prune_is_retried_ever_later_and_a_success_restores_the_pace() {
        let log = Log::start();
        // A tile and one roll. Only whole tiles are pruned.
        let (_folder, store) = Store::with_rolls(257).await;
        let next_tile = |n: i64| (256 * n + 2..=256 * n + 257).map(Roll::example).collect();
        let metrics = Metrics::default();
        let n_failures = || count(&metrics, "prune_failures_total");
        let n_pruned = || count(&metrics, "pruned_total");
        let mut pruner = pin!(prune(Keep::Count(1), None, store.clone(), metrics.clone()));
        let start = tokio::time::Instant::now();

        let locked = store.lock_as_another_program();
        for (n, seconds) in (1..).zip([0, 1, 3, 7, 15, 31, 63, 123, 183]) {
            run_until(pruner.as_mut(), || n_failures() == n).await;
            assert_eq!(start.elapsed().as_secs(), seconds, "failure {n}");
        }
        drop(locked);
        run_until(pruner.as_mut(), || n_pruned() == 256).await;
        assert_eq!(start.elapsed().as_secs(), 243);
        store.apply(next_tile(1)).await.expect("space");
        store.sign().await.expect("space");
        run_until(pruner.as_mut(), || n_pruned() == 512).await;
        assert_eq!(start.elapsed().as_secs(), 244, "the ordinary pace");
        store.apply(next_tile(2)).await.expect("space");
        store.sign().await.expect("space");
        let _locked = store.lock_as_another_program();
        for (n, seconds) in [(10, 245), (11, 246), (12, 248)] {
            run_until(pruner.as_mut(), || n_failures() == n).await;
            assert_eq!(start.elapsed().as_secs(), seconds, "failure {n}");
        }

        let fault = "WARN cannot prune old rolls, will retry; new rolls continue: ";
        let expected = [fault, "INFO old rolls are pruned again", fault];
        let lines = log.lines();
        assert_eq!(lines.len(), expected.len(), "one line per fault: {lines:#?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn each_setting_has_its_cutoff() {
        let mut clock = SteadyClock::start(Instant::now(), Timestamp::now());
        assert_eq!(cutoff(Keep::Forever, &mut clock), None);
        assert_eq!(cutoff(Keep::Count(100), &mut clock), Some(Cutoff::Count(100)));
        let age = SignedDuration::from_hours(36);
        let expected = || RolledAt::truncate(Timestamp::now() - age);
        let earliest = expected();
        let Some(Cutoff::Before(moment)) = cutoff(Keep::Age(age), &mut clock) else {
            panic!("expected a moment")
        };
        assert!(earliest <= moment && moment <= expected(), "{moment}");
        // An age that ends before the calendar begins.
        let begin = Some(Cutoff::Before(RolledAt::truncate(Timestamp::MIN)));
        assert_eq!(cutoff(Keep::Age(SignedDuration::MAX), &mut clock), begin);
    }

    #[test]
    fn a_long_prune_is_logged_every_ten_seconds_and_at_its_end() {
        let log = Log::start();
        let start = Instant::now();
        let mut long = LongPrune::default();
        // Two prunes; only the first one is long.
        let steps = [(0, 7, true), (10, 20, true), (11, 300, true), (21, 4_000, true)];
        let ends = [(22, 50_000, true), (25, 600_000, false), (26, 8, true), (27, 9, false)];
        for (seconds, n_rolls, more) in steps.into_iter().chain(ends) {
            long.add_step(start + Duration::from_secs(seconds), n_rolls, more);
        }
        let expected = [
            "INFO pruning old rolls: 327 so far n_pruned=327",
            "INFO pruning old rolls: 54327 so far n_pruned=54327",
            "INFO pruned 654327 old rolls in 25 s n_pruned=654327 seconds=25.0",
        ];
        assert_eq!(log.lines(), expected);
    }
}
