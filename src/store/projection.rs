//! The statistics as a projection of the rolls: current in memory, saved every few seconds.
//!
//! The writer adds each roll after its commit. What a crash loses is added again from the rolls at
//! the next start. A fault of the statistics never keeps a roll from being stored.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rusqlite::{Connection, ErrorCode};
use tracing::{info, warn};

use crate::dice::Die;
use crate::roll::{Roll, RollId};
use crate::statistics::Tallies;
use crate::store::row::UnreadableLog;
use crate::store::statistics::{self, Unsaved};
use crate::store::{StoreError, history};

/// The time between two saves. A save of two dice writes 24.7 KB of log, which is 1.2 KB per roll at
/// one roll a second (`cargo test --test suite write_ahead_log -- --nocapture`).
const SAVE_INTERVAL: Duration = Duration::from_secs(20);
/// A save is due earlier after this many rolls, so that the view `tallies` reads few of them.
const MAX_UNSAVED: usize = 1_000;
/// Rolls that are read at a time where many are not counted yet.
const BATCH: usize = 50_000;
/// The time between two log lines of a long count.
const LOG_INTERVAL: Duration = Duration::from_secs(2);

/// The tallies in memory, which the writer changes and everybody may read; cheap to clone.
#[derive(Clone, Default)]
pub struct SharedTallies(Arc<RwLock<Tallies>>);

impl SharedTallies {
    /// The last roll that is counted.
    pub fn last_id(&self) -> RollId {
        self.read(Tallies::last_id)
    }

    /// The last roll that is counted, and all dice that were rolled up to it.
    pub fn dice(&self) -> (RollId, Vec<Die>) {
        self.read(|tallies| (tallies.last_id(), tallies.iter().map(|tally| tally.die).collect()))
    }

    /// A copy. Of many large dice it takes some milliseconds.
    pub fn snapshot(&self) -> Tallies {
        self.read(Tallies::clone)
    }

    /// What `read` takes from the tallies. The writer waits meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&Tallies) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tallies) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The writer's side of the projection.
pub struct Projection {
    tallies: SharedTallies,
    unsaved: Unsaved,
    /// Rolls since the last save, or since one that failed.
    n_rolls: usize,
    /// The last roll that is saved.
    saved_id: RollId,
    /// When the last save succeeded or failed.
    tried: Instant,
    /// The last fault, so that each is logged once.
    fault: String,
    log: UnreadableLog,
}

impl Projection {
    /// Loads the saved tallies. [`Projection::catch_up`] adds the rolls after that.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn load(connection: &Connection, log: UnreadableLog) -> Result<Projection, StoreError> {
        let tallies = statistics::load(connection)?;
        Ok(Projection {
            saved_id: tallies.last_id(),
            tallies: SharedTallies(Arc::new(RwLock::new(tallies))),
            unsaved: Unsaved::default(),
            n_rolls: 0,
            tried: Instant::now(),
            fault: String::new(),
            log,
        })
    }

    /// The tallies in memory.
    pub fn tallies(&self) -> SharedTallies {
        self.tallies.clone()
    }

    /// The last roll that is counted.
    pub fn last_id(&self) -> RollId {
        self.tallies.last_id()
    }

    /// The last roll that is counted in the database.
    pub fn saved_id(&self) -> RollId {
        self.saved_id
    }

    /// Adds rolls that were stored just now, and any that somebody else stored before them.
    pub fn add(&mut self, connection: &Connection, rolls: &[Roll]) {
        for roll in rolls {
            let last_id = self.last_id();
            if roll.id == last_id.next() {
                self.add_next(std::slice::from_ref(roll));
            } else if roll.id > last_id
                && let Err(error) = self.add_stored(connection)
            {
                // The rolls after the next commit include these.
                self.log_fault("the statistics lack the newest rolls", error);
            }
        }
    }

    fn add_next(&mut self, rolls: &[Roll]) {
        let Projection { tallies, unsaved, n_rolls, .. } = self;
        *n_rolls += rolls.len();
        tallies.change(|tallies| {
            for roll in rolls {
                tallies.add(roll).into_iter().for_each(|change| unsaved.add(change));
            }
        });
    }

    /// Adds at most a batch of stored rolls that are not counted. Returns whether there were any.
    fn add_batch(&mut self, connection: &Connection) -> Result<bool, StoreError> {
        let rows = history::after(connection, self.last_id(), BATCH)?;
        self.log.log(&rows.unreadable);
        let Some(newest) = rows.newest() else { return Ok(false) };
        self.n_rolls += rows.len();
        self.tallies.change(|tallies| {
            for roll in &rows.rolls {
                tallies.add(roll);
            }
            tallies.skip_to(newest);
        });
        // Cheaper than noting the changes of many rolls one by one.
        self.tallies.read(|tallies| self.unsaved.add_all(tallies));
        Ok(true)
    }

    fn add_stored(&mut self, connection: &Connection) -> Result<(), StoreError> {
        while self.add_batch(connection)? {}
        Ok(())
    }

    /// Adds all stored rolls that are not counted, and saves after each batch, so that a count of
    /// a large database can be interrupted.
    ///
    /// # Errors
    ///
    /// The rolls cannot be read. A save that fails is tried again later.
    pub fn catch_up(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        let (start, mut logged) = (Instant::now(), Instant::now());
        while self.add_batch(connection)? {
            self.save(connection);
            if logged.elapsed() > LOG_INTERVAL {
                logged = Instant::now();
                let last_id = self.last_id().0;
                info!(last_id, "counting past rolls for the statistics: {last_id} so far");
            }
        }
        if start.elapsed() > LOG_INTERVAL {
            let seconds = start.elapsed().as_secs_f64();
            info!(seconds, "counted all past rolls for the statistics in {seconds:.1} s");
        }
        Ok(())
    }

    /// How long until the next save is due; `None` if everything is saved.
    pub fn save_due_in(&self) -> Option<Duration> {
        match self.last_id() == self.saved_id {
            true => None,
            false if self.n_rolls >= MAX_UNSAVED => Some(Duration::ZERO),
            false => Some(SAVE_INTERVAL.saturating_sub(self.tried.elapsed())),
        }
    }

    /// Saves in a transaction of its own. A fault is logged, and the save is tried again later.
    pub fn save(&mut self, connection: &mut Connection) {
        let result = (|| {
            let transaction = connection.transaction()?;
            self.save_in(&transaction)?;
            Ok(transaction.commit()?)
        })();
        self.end_save(result);
    }

    /// Notes how a save ended that the caller made with [`Projection::save_in`]. A fault is logged.
    pub fn end_save(&mut self, result: Result<(), StoreError>) {
        match result {
            Ok(()) => self.saved(),
            Err(error) => {
                (self.tried, self.n_rolls) = (Instant::now(), 0);
                self.log_fault("the statistics cannot be saved, trying again", error);
            }
        }
    }

    /// Saves as a part of the caller's transaction. Call [`Projection::end_save`] or
    /// [`Projection::saved`] after its commit.
    ///
    /// # Errors
    ///
    /// An error of SQLite.
    pub fn save_in(&self, connection: &Connection) -> Result<(), StoreError> {
        self.tallies.read(|tallies| self.unsaved.save(connection, tallies))
    }

    /// Notes that a save is committed.
    pub fn saved(&mut self) {
        self.saved_id = self.last_id();
        (self.unsaved, self.n_rolls) = (Unsaved::default(), 0);
        self.tried = Instant::now();
        if !self.fault.is_empty() {
            info!("the statistics are saved again");
            self.fault.clear();
        }
    }

    fn log_fault(&mut self, what: &str, error: StoreError) {
        // An outside writer holds its lock, or the database is gone: the next roll says so too.
        let is_busy = matches!(&error, StoreError::Sqlite(error)
            if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
        if is_busy || matches!(error, StoreError::Overwritten(_)) {
            return;
        }
        let fault = format!("{:#}", anyhow!(error));
        if fault != self.fault {
            warn!("{what}; new rolls continue: {fault}");
            self.fault = fault;
        }
    }
}

/// The tallies of all rolls in a database that may be in use. Changes nothing.
///
/// # Errors
///
/// The database cannot be read.
pub fn compute(connection: &mut Connection) -> Result<Tallies, StoreError> {
    // One transaction, so that the saved statistics and the rolls after them fit.
    let snapshot = connection.transaction()?;
    let mut projection = Projection::load(&snapshot, UnreadableLog::default())?;
    projection.add_stored(&snapshot)?;
    Ok(projection.tallies.snapshot())
}
