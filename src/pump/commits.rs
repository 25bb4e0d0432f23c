//! Commits that are tried again until they succeed. The pump of a single machine and that of a fleet
//! share this.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::select;
use tokio::time::sleep;
use tracing::{error, info};

use crate::health::Health;
use crate::metrics::Metrics;
use crate::store::StoreError;

/// How long to wait before storing a roll again: doubled after each failure, up to the maximum.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);
/// How long a stop waits for the commit under way. A supervisor kills the server after 10 s.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// Why no more rolls are made.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// No later attempt can succeed.
    #[error("rolls can no longer be stored")]
    Store(#[source] StoreError),
    /// A commit hangs during a stop. Its rolls may or may not be stored.
    #[error(
        "the database's disk does not answer: a commit did not end within {} s of the stop; no \
         roll is lost, since the rolls of that commit were never shown", STOP_TIMEOUT.as_secs()
    )]
    NoAnswer,
}

/// The attempts to store the same rolls. Counts and reports them.
pub struct Commits<'a> {
    metrics: &'a Metrics,
    health: &'a Health,
    delay: Duration,
    n_failures: u32,
    logged_fault: String,
}

impl<'a> Commits<'a> {
    /// No attempt yet.
    pub fn new(metrics: &'a Metrics, health: &'a Health) -> Commits<'a> {
        let logged_fault = String::new();
        Commits { metrics, health, delay: MIN_RETRY_DELAY, n_failures: 0, logged_fault }
    }

    /// How many attempts failed.
    pub fn n_failures(&self) -> u32 {
        self.n_failures
    }

    /// Waits for a commit of `n_rolls`, and reports its success.
    ///
    /// # Errors
    ///
    /// [`PumpError::NoAnswer`] if it hangs after `shutdown` completes.
    pub fn wait_for(
        &self,
        commit: impl Future<Output = Result<(), StoreError>>,
        n_rolls: usize,
        shutdown: &(impl Future<Output = ()> + Clone),
    ) -> impl Future<Output = Result<Result<(), StoreError>, PumpError>> {
        let start = Instant::now();
        let (metrics, health, n_failures) =
            (self.metrics.clone(), self.health.clone(), self.n_failures);
        let give_up = async {
            shutdown.clone().await;
            sleep(STOP_TIMEOUT).await;
        };
        async move {
            let (commit, give_up) = (pin!(commit), pin!(give_up));
            let result = select! {
                biased;
                result = commit => result,
                () = give_up => return Err(PumpError::NoAnswer),
            };
            if result.is_ok() {
                metrics.appended(n_rolls, start.elapsed());
                health.committed();
                if n_failures > 0 {
                    info!(n_failures, "rolls are stored again");
                }
            }
            Ok(result)
        }
    }

    /// Reports a failed attempt. Returns how long to wait before the next one.
    ///
    /// # Errors
    ///
    /// [`PumpError::Store`] if the error is [final](StoreError::is_final).
    pub fn failed(&mut self, error: StoreError) -> Result<Duration, PumpError> {
        if error.is_final() {
            return Err(PumpError::Store(error));
        }
        self.n_failures += 1;
        // Log each fault once, not with every attempt: a full disk would fill the log as well.
        let fault = format!("{:#}", anyhow!(error));
        self.metrics.append_failed();
        self.health.failed(fault.clone());
        if fault != self.logged_fault {
            error!("no roll can be stored, trying again: {fault}");
            self.logged_fault = fault;
        }
        let delay = self.delay;
        self.delay = (delay * 2).min(MAX_RETRY_DELAY);
        Ok(delay)
    }
}
