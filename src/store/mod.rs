//! The store: keeps every roll in one SQLite file.
//!
//! The only module that knows SQL, and the only one with blocking calls: writes run on the
//! writer's own thread, reads on blocking threads. There is one writer, and a small pool of
//! read-only connections for requests.

mod range;
mod row;
mod error;
mod blocking;
mod file;
mod inspect;
mod history;
mod search;
mod filter;
mod statistics;
mod projection;
mod prune;
mod writer;
mod writer_thread;
mod read_pool;
mod backup;
mod archive;
mod disk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::config::StoreConfig;
use crate::cursor::Cursor;
use crate::dice::{Dice, DieResult};
use crate::roll::{Roll, RollId, RolledAt};
use crate::statistics::{Statistics, Tallies};
use crate::store::blocking::blocking;
use crate::store::file::OpenFiles;
use crate::store::projection::SharedTallies;
use crate::store::read_pool::{PERMIT_TIMEOUT, QueryClass, ReadPool, acquire};
use crate::store::row::UnreadableLog;
use crate::store::writer::Writer;
use crate::store::writer_thread::WriterThread;

pub use self::archive::Archive;
pub use self::backup::{BackupStep, Existing};
pub use self::disk::Disk;
pub use self::error::StoreError;
pub use self::filter::FilteredPage;
pub use self::history::{Extent, Newest, Page};
pub use self::inspect::Inspection;
pub use self::prune::{Cutoff, Pruned};
pub use self::range::{IdRange, Kept, Order, RollRange};
pub use self::row::{Rows, Unreadable};
pub use self::search::{Found, Search};

/// The rolls of one database file; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    writer: WriterThread,
    tallies: SharedTallies,
    reads: ReadPool,
    unreadable: UnreadableLog,
    /// One permit: see [`Store::disk`].
    disk_permit: Arc<Semaphore>,
    files: Arc<OpenFiles>,
    path: PathBuf,
}

impl Store {
    /// Opens the history. Creates the file and its folder if they do not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotOurs`] for a file that is empty, foreign, damaged or of a newer rollcast,
    /// and [`StoreError::InUse`] for one that another server has open. Such a file is left
    /// untouched.
    pub async fn open(config: &StoreConfig) -> Result<Store, StoreError> {
        let path = config.database.clone();
        blocking(move || {
            Store::open_blocking(&path).map_err(|error| file::explain_damage(error, &path))
        })
        .await
    }

    fn open_blocking(path: &Path) -> Result<Store, StoreError> {
        let (path, lock) = file::claim(path)?;
        // The writer first: a file from a backup is not in WAL mode yet.
        let unreadable = UnreadableLog::default();
        let writer = Writer::open(&path, unreadable.clone())?;
        let (files, tallies) = (writer.files(), writer.tallies());
        let reads = ReadPool::open(&path, files.clone())?;
        // The lock refuses a second server for as long as the store is open.
        let writer = WriterThread::start(writer, lock).map_err(StoreError::Thread)?;
        let disk_permit = Arc::new(Semaphore::new(1));
        Ok(Store(Arc::new(Shared { writer, tallies, reads, unreadable, disk_permit, files, path })))
    }

    /// Inspects the configured database without changing it. Reads the whole file and every roll.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub async fn inspect(config: &StoreConfig) -> Result<Inspection, StoreError> {
        let path = config.database.clone();
        blocking(move || {
            inspect::inspect(&path).map_err(|error| file::explain_damage(error, &path))
        })
        .await
    }

    /// Copies the history to the file `to`, also while a server adds to it: all rolls up to the
    /// moment of the call, which are returned. The file appears whole, checked and durable, or
    /// not at all.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stopped`] soon after `stop` is set, [`StoreError::Target`] if no copy may be
    /// written to `to`.
    pub async fn backup(
        config: &StoreConfig,
        to: &Path,
        existing: Existing,
        stop: Arc<AtomicBool>,
        progress: impl FnMut(BackupStep) + Send + 'static,
    ) -> Result<Kept, StoreError> {
        let (database, to) = (config.database.clone(), to.to_path_buf());
        blocking(move || backup::copy(&database, &to, existing, &stop, progress)).await
    }

    /// Stores rolls that have their ids, in ascending order, in one commit. They are durable when
    /// this returns. A roll that is stored already, with the same time and dice, is left as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotNext`] if a roll that is not stored has another id than the next one,
    /// [`StoreError::Conflict`] if another roll is stored under its id. After an error that is not
    /// [final](StoreError::is_final) none of the rolls is stored by this call, and the same call
    /// may be repeated.
    pub async fn apply(&self, rolls: Vec<Roll>) -> Result<(), StoreError> {
        self.0.writer.run(move |writer| writer.apply(&rolls)).await
    }

    /// Deletes the oldest rolls beyond the cutoff, in one short transaction. The newest roll
    /// always stays.
    ///
    /// # Errors
    ///
    /// SQLite's, also if an outside writer holds its lock: this does not wait for it.
    pub async fn prune(&self, cutoff: Cutoff) -> Result<Pruned, StoreError> {
        self.0.writer.run(move |writer| writer.prune(cutoff)).await
    }

    /// Saves the statistics and moves the write-ahead log into the database file, at an orderly
    /// stop. Returns whether all of it was moved, which an outside reader can prevent.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub async fn finish(&self) -> Result<bool, StoreError> {
        self.0.writer.run(Writer::finish).await
    }

    /// The disk space of the database, and the free space on its disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoAnswer`] if the disk hangs.
    pub async fn disk(&self) -> Result<Disk, StoreError> {
        let shared = self.0.clone();
        let answer = timeout(PERMIT_TIMEOUT, async {
            // One at a time: a hung disk blocks the thread, and more probes keep coming.
            let permit = acquire(&shared.disk_permit).await;
            blocking(move || {
                let _permit = permit;
                shared.files.check()?;
                disk::measure(&shared.path)
            })
            .await
        });
        answer.await.map_err(|_elapsed| StoreError::NoAnswer)?
    }

    /// The rows after `id`, oldest first, at most `limit`. Empty means caught up.
    ///
    /// # Errors
    ///
    /// Those of a query: [`StoreError::Busy`], [`StoreError::TooLong`], [`StoreError::Moved`],
    /// SQLite's. So for all queries below.
    pub async fn after(&self, id: RollId, limit: usize) -> Result<Rows, StoreError> {
        let query = move |connection: &mut _| history::after(connection, id, limit);
        let rows = self.0.reads.read(QueryClass::Long, query).await?;
        Ok(self.logged(rows))
    }

    /// The newest rows, newest first, at most `limit`, and the head. Does not read the oldest
    /// rolls, so damage there does not matter.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn newest(&self, limit: usize) -> Result<Newest, StoreError> {
        let query = move |connection: &mut _| history::newest(connection, limit);
        let newest = self.0.reads.read(QueryClass::of_rows(limit), query).await?;
        self.0.unreadable.log(&newest.unreadable);
        Ok(newest)
    }

    /// The roll `id`, if it is stored, and which rolls are.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreadable`] if its row cannot be read, and those of a query.
    pub async fn roll(&self, id: RollId) -> Result<(Option<Roll>, Kept), StoreError> {
        let query = move |connection: &mut _| history::roll(connection, id);
        let roll = self.0.reads.read(QueryClass::Short, query).await;
        if let Err(StoreError::Unreadable(unreadable)) = &roll {
            self.0.unreadable.log(std::slice::from_ref(unreadable));
        }
        roll
    }

    /// The cursor of the roll `id`, if it is stored and its time can be read, and which rolls are
    /// stored.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn cursor(&self, id: RollId) -> Result<(Option<Cursor>, Kept), StoreError> {
        let query = move |connection: &mut _| history::cursor(connection, id);
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The newest roll that [`Store::statistics`] counts; [`RollId::BEFORE_FIRST`] before the first.
    pub fn last_counted(&self) -> RollId {
        self.0.tallies.last_id()
    }

    /// The statistics of all rolls. The `dice` that are rolled now come first. From memory, without
    /// a query.
    ///
    /// # Errors
    ///
    /// [`StoreError::Thread`] if the system has no thread left.
    pub async fn statistics(&self, dice: Dice) -> Result<Statistics, StoreError> {
        let tallies = self.0.tallies.clone();
        let (sender, statistics) = oneshot::channel();
        // Many large dice take a while, so this must not run on a runtime thread. Nor on a blocking
        // thread: while the disk hangs, queries may hold all of those, and this needs no disk.
        let compute = move || {
            // An error means that the caller stopped waiting.
            let _ = sender.send(Statistics::of(&tallies.snapshot(), &dice));
        };
        thread::Builder::new()
            .name("statistics".into())
            .spawn(compute)
            .map_err(StoreError::Thread)?;
        Ok(statistics.await.expect("the computation does not panic"))
    }

    /// The tallies of all rolls in the configured database, which a server may use. Changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotOurs`] if there is no database, SQLite's.
    pub async fn tallies_of(config: &StoreConfig) -> Result<Tallies, StoreError> {
        let config = config.clone();
        blocking(move || Archive::open(&config)?.tallies()).await
    }

    /// The first roll at or after `time`, else the newest; `None` if no roll is stored.
    ///
    /// Ids are the order of rolls. Where the clock once stepped back, several rolls fit, and any
    /// of them is found.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn at(&self, time: RolledAt) -> Result<Option<RollId>, StoreError> {
        let query = move |connection: &mut _| history::at(connection, time);
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The cursor before the first roll at or after `time`, or the head.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn since(&self, time: RolledAt) -> Result<Cursor, StoreError> {
        let query = move |connection: &mut _| history::since(connection, time);
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// At most `limit` rolls of a range: the first ones, or the last ones with the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherHistory`] if a bound belongs to another history, and those of a query.
    pub async fn page(
        &self,
        range: RollRange,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let query = move |connection: &mut _| history::page(connection, &range, order, limit);
        let page = self.0.reads.read(QueryClass::of_rows(limit), query).await?;
        self.0.unreadable.log(&page.unreadable);
        Ok(page)
    }

    /// At most `limit` rolls of a range with this result: the first ones, or the last ones with the
    /// newest first. Searches a bounded number of rolls: see [`FilteredPage::searched`].
    ///
    /// # Errors
    ///
    /// As for [`Store::page`].
    pub async fn filtered(
        &self,
        range: RollRange,
        result: DieResult,
        order: Order,
        limit: usize,
    ) -> Result<FilteredPage, StoreError> {
        let query =
            move |connection: &mut _| filter::filtered(connection, &range, result, order, limit);
        let class = QueryClass::of_rows(search::MAX_READ);
        let page = self.0.reads.read(class, query).await?;
        self.0.unreadable.log(&page.unreadable);
        Ok(page)
    }

    /// The ids of a range at this moment, to be read in batches with [`Store::between`].
    ///
    /// # Errors
    ///
    /// As for [`Store::page`].
    pub async fn extent(&self, range: RollRange) -> Result<Extent, StoreError> {
        // The dice of counted rolls are in memory, so the query reads few rows.
        let counted = self.0.tallies.dice();
        let query = move |connection: &mut _| history::extent(connection, &range, Some(counted));
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The rows of a range, oldest first, at most `limit`. Empty means that no more are stored.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn between(&self, ids: IdRange, limit: usize) -> Result<Rows, StoreError> {
        let query = move |connection: &mut _| history::between(connection, ids, limit);
        let rows = self.0.reads.read(QueryClass::Long, query).await?;
        Ok(self.logged(rows))
    }

    /// A page of the rolls that match, at most `limit`. A search for a result reads a bounded
    /// number of rolls: see [`Found::looked_at`].
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn search(&self, search: Search, limit: usize) -> Result<Found, StoreError> {
        let class = QueryClass::of_rows(search.max_rows(limit));
        let query = move |connection: &mut _| search::search(connection, &search, limit);
        let found = self.0.reads.read(class, query).await?;
        self.0.unreadable.log(&found.unreadable);
        Ok(found)
    }

    fn logged(&self, rows: Rows) -> Rows {
        self.0.unreadable.log(&rows.unreadable);
        rows
    }
}

#[cfg(test)]
impl Store {
    /// The permits of all long queries, so that further ones fail as [`StoreError::Busy`].
    pub async fn all_long_permits(&self) -> Vec<tokio::sync::OwnedSemaphorePermit> {
        self.0.reads.all_long_permits().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures::FutureExt;
    use futures::future::join_all;
    use tempfile::TempDir;

    use crate::config::Keep;
    use crate::dice::DieResult;

    async fn store() -> (TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("rolls.db");
        let config = StoreConfig { database, keep: Keep::Forever, n_reserve_bytes: 0 };
        let store = Store::open(&config).await.expect("a store");
        (folder, store)
    }

    #[test]
    fn a_read_while_the_runtime_ends_does_not_panic() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (_folder, store) = runtime.block_on(store());
        let handle = runtime.handle().clone();
        drop(runtime);
        // As the pump does, whose thread is not one of the runtime's.
        let _entered = handle.enter();
        assert!(store.newest(1).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_disk_probe_hangs_others_fail_in_time() {
        let (_folder, store) = store().await;
        store.disk().await.expect("control: nothing hangs yet");
        let hanging = acquire(&store.0.disk_permit).await;
        let start = tokio::time::Instant::now();
        let probes = join_all((0..100).map(|_| store.disk())).await;
        assert!(probes.iter().all(|disk| matches!(disk, Err(StoreError::NoAnswer))), "{probes:?}");
        assert!(start.elapsed() < 2 * PERMIT_TIMEOUT, "failed after {:?}", start.elapsed());
        drop(hanging);
        store.disk().await.expect("nothing hangs any more");
    }

    #[tokio::test(start_paused = true)]
    async fn while_long_queries_run_only_queries_of_few_rows_find_a_connection() {
        let (_folder, store) = store().await;
        let _running = store.0.reads.all_long_permits().await;
        let search = |result| Search { result, ..Search::default() };
        let result = DieResult { die: "1D6".parse().expect("a die"), result: 6 };
        let range = RollRange::default();
        let all = IdRange { after: RollId(0), before: RollId(1) };
        let is_busy = |result: Result<(), StoreError>| matches!(result, Err(StoreError::Busy));
        let queries = [
            ("the newest 128", false, store.newest(128).await.map(drop)),
            ("the newest 129", true, store.newest(129).await.map(drop)),
            ("a page of 128", false, store.page(range, Order::NewestFirst, 128).await.map(drop)),
            ("a page of 500", true, store.page(range, Order::NewestFirst, 500).await.map(drop)),
            ("a day's 128", false, store.search(search(None), 128).await.map(drop)),
            ("a day's 500", true, store.search(search(None), 500).await.map(drop)),
            ("a result's 10", true, store.search(search(Some(result)), 10).await.map(drop)),
            ("an extent", false, store.extent(range).await.map(drop)),
            ("a download", true, store.between(all, 10).await.map(drop)),
            ("one roll", false, store.roll(RollId(1)).await.map(drop)),
        ];
        for (query, is_long, result) in queries {
            assert_eq!(is_busy(result), is_long, "{query}");
        }
    }
}
