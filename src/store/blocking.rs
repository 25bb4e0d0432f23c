//! Blocking work on the runtime's blocking threads.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::task::{JoinError, spawn_blocking};

use crate::store::StoreError;

/// Runs blocking work on a thread where no other task waits behind it.
///
/// # Errors
///
/// Those of `work`.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    outcome(spawn_blocking(work).await).await
}

/// The result of a task. A panic in the task continues in the caller.
pub async fn outcome<T>(joined: Result<T, JoinError>) -> T {
    match joined.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime ended before the task began. The caller ends as well.
        Err(Err(_cancelled)) => pending().await,
    }
}
