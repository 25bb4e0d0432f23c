//! The pool of read-only connections: permits, and timeouts for permits and queries.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::store::StoreError;
use crate::store::blocking::{blocking, outcome};
use crate::store::error::explain_damage;
use crate::store::open_files::OpenFiles;
use crate::store::time_limits::{PERMIT_TIMEOUT, QUERY_TIMEOUT};

/// Read-only connections: the most queries that run at the same time.
const N_CONNECTIONS: u32 = 4;
/// The most of those that run long queries. The others always serve short ones, so a page or the
/// start of a stream finds a free connection during searches, downloads and long replays.
const MAX_LONG_QUERIES: usize = N_CONNECTIONS as usize - 2;
/// The most rows that a short query reads: a page of rolls.
const MAX_SHORT_ROWS: usize = 128;
/// How much later a query is given up that does not notice its timeout, since the disk hangs.
const HANG_TOLERANCE: Duration = Duration::from_secs(1);
/// SQLite instructions between two checks of the timeout: some 3 µs, or a few pages of a slow disk.
const STEPS_PER_CHECK: i32 = 50;

/// How much a query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryClass {
    /// At most a page of rolls.
    Short,
    /// Thousands of rows, or one batch after the other.
    Long,
}

impl QueryClass {
    /// The class of a single query that reads at most this many rows.
    pub fn of_rows(n_rows: usize) -> QueryClass {
        if n_rows > MAX_SHORT_ROWS { QueryClass::Long } else { QueryClass::Short }
    }
}

/// Read-only connections to one database; cheap to clone.
#[derive(Clone)]
pub struct ReadPool(Arc<Shared>);

struct Shared {
    connections: Pool<SqliteConnectionManager>,
    permits: Arc<Semaphore>,
    /// Long queries acquire one of these first.
    long_permits: Arc<Semaphore>,
    files: Arc<OpenFiles>,
    path: PathBuf,
}

impl ReadPool {
    /// Opens all connections now, while file descriptors are available.
    ///
    /// # Errors
    ///
    /// [`StoreError::Pool`] if a connection cannot be opened.
    pub fn open(path: &Path, files: Arc<OpenFiles>) -> Result<ReadPool, StoreError> {
        let manager = SqliteConnectionManager::file(path)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(|connection| {
                connection.pragma_update(None, "query_only", true)?;
                // SQLite opens the log only when it first reads.
                connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))
            });
        let connections = Pool::builder()
            .max_size(N_CONNECTIONS)
            // They stay open; the permits decide who uses one.
            .min_idle(None)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .build(manager)?;
        Ok(ReadPool(Arc::new(Shared {
            connections,
            permits: Arc::new(Semaphore::new(N_CONNECTIONS as usize)),
            long_permits: Arc::new(Semaphore::new(MAX_LONG_QUERIES)),
            files,
            path: path.to_path_buf(),
        })))
    }

    /// Runs `query` on a free connection.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if no permit is free in time, [`StoreError::TooLong`] if the query
    /// takes too long, [`StoreError::Moved`] if the file was replaced, and the error of `query`.
    pub async fn read<T: Send + 'static>(
        &self,
        class: QueryClass,
        query: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.0.clone();
        // Acquire the permit in a separate task. A stream whose client stops reading is never
        // polled again; if it held a permit, a few such clients would exhaust the pool. Dropping
        // the set ends the task if nobody waits for it any more.
        let mut task = JoinSet::new();
        task.spawn(async move {
            let acquired = timeout(PERMIT_TIMEOUT, shared.acquire(class)).await;
            let permits = acquired.map_err(|_elapsed| StoreError::Busy)?;
            blocking(move || {
                // Held until the query ends, even if nobody waits for it any more, so that there
                // are never more blocking threads than connections.
                let _permits = permits;
                shared.run(query)
            })
            .await
        });
        let limit = PERMIT_TIMEOUT + QUERY_TIMEOUT + HANG_TOLERANCE;
        match timeout(limit, task.join_next()).await {
            Ok(joined) => outcome(joined.expect("one task")).await,
            Err(_elapsed) => Err(StoreError::TooLong),
        }
    }
}

#[cfg(test)]
impl ReadPool {
    /// What as many long queries as may run hold.
    pub async fn all_long_permits(&self) -> Vec<OwnedSemaphorePermit> {
        let mut permits = Vec::new();
        for _ in 0..MAX_LONG_QUERIES {
            permits.push(acquire(&self.0.long_permits).await);
        }
        permits
    }
}

impl Shared {
    async fn acquire(
        &self,
        class: QueryClass,
    ) -> (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit) {
        let long = match class {
            QueryClass::Short => None,
            QueryClass::Long => Some(acquire(&self.long_permits).await),
        };
        (long, acquire(&self.permits).await)
    }

    fn run<T>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connections.get()?;
        let start = Instant::now();
        // Replaces the handler of the query before.
        let is_over = move || start.elapsed() > QUERY_TIMEOUT;
        connection.progress_handler(STEPS_PER_CHECK, Some(is_over))?;
        let result = query(&mut connection).map_err(|error| match error {
            StoreError::Sqlite(error) if was_interrupted(&error) => StoreError::TooLong,
            error => explain_damage(error, &self.path),
        })?;
        // Nobody may see rolls that were committed to a file that is gone: they are lost.
        self.files.check(&connection)?;
        Ok(result)
    }
}

/// Acquires a permit of a semaphore that is never closed.
pub async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("the store never closes its semaphores")
}

fn was_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}
