//! The store: keeps every roll in one SQLite file.
//!
//! The only module that knows SQL, and the only one with blocking calls: writes run on the
//! writer's own thread, reads on blocking threads. There is one writer, and a small pool of
//! read-only connections for requests.

mod time_limits;
mod range;
mod id_ranges;
mod row;
mod error;
mod blocking;
mod schema;
mod file;
mod file_limit;
mod server_lock;
mod content;
mod open_files;
mod inspect;
mod clock_steps;
mod times;
mod history;
mod extent;
mod search;
mod occurrence;
mod filter;
mod statistics;
mod projection;
mod prune;
mod log;
mod writer;
mod writer_thread;
mod read_pool;
mod backup_file;
mod backup;
mod archive;
mod disk;
mod queries;
#[cfg(test)]
mod test_store;
#[cfg(test)]
mod test_history;
#[cfg(test)]
mod query_tests;
#[cfg(test)]
mod time_tests;
#[cfg(test)]
mod overwrite_tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::config::StoreConfig;
use crate::draft::Existing;
use crate::log::VerifierKey;
use crate::roll::Roll;
use crate::seeds::{Secret, Seeds};
use crate::statistics::Tallies;
use crate::store::blocking::blocking;
use crate::store::error::explain_damage;
use crate::store::log::Signer;
use crate::store::open_files::OpenFiles;
use crate::store::projection::SharedTallies;
use crate::store::read_pool::{ReadPool, acquire};
use crate::store::row::UnreadableLog;
use crate::store::server_lock::ServerLock;
use crate::store::time_limits::PERMIT_TIMEOUT;
use crate::store::writer::{OpenWriter, Writer};
use crate::store::writer_thread::WriterThread;

pub use self::archive::Archive;
pub use self::backup::BackupStep;
pub use self::disk::Disk;
pub use self::error::StoreError;
pub use self::extent::Extent;
pub use self::filter::FilteredPage;
pub use self::history::{Newest, Page};
pub use self::id_ranges::IdRanges;
pub use self::inspect::Inspection;
pub use self::log::{Chain, Compared, Fixed, Rekeyed, Signed};
pub use self::occurrence::Occurrence;
pub use self::prune::{Cutoff, Pruned};
pub use self::range::{IdRange, Kept, Order, RollRange};
pub use self::row::{Rows, Unreadable};
pub use self::search::{Found, MAX_READ, Search};

/// The rolls of one database file; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    writer: WriterThread,
    tallies: SharedTallies,
    signer: Arc<Signer>,
    seeds: Seeds,
    reads: ReadPool,
    unreadable: UnreadableLog,
    /// One permit: see [`Store::disk`].
    disk_permit: Arc<Semaphore>,
    files: Arc<OpenFiles>,
    path: PathBuf,
    /// The last field, so that it is dropped after the connections.
    _lock: Arc<ServerLock>,
}

impl Store {
    /// Opens the history. Creates the file and its folder if they do not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnusableDatabase`] for a file that is empty, foreign, damaged or of a newer
    /// rollcast, and [`StoreError::InUse`] for one that another server has open. Such a file is
    /// left untouched.
    pub async fn open(config: &StoreConfig) -> Result<Store, StoreError> {
        let config = config.clone();
        let open = move || {
            let opened = Store::open_blocking(&config);
            opened.map_err(|error| explain_damage(error, &config.database))
        };
        blocking(open).await
    }

    fn open_blocking(config: &StoreConfig) -> Result<Store, StoreError> {
        let (path, mut lock) = file::claim(&config.database)?;
        // The writer first: a file from a backup is not in WAL mode yet.
        let unreadable = UnreadableLog::default();
        let OpenWriter { writer, signer, seeds } = Writer::open(&path, config, unreadable.clone())?;
        let (files, tallies) = (writer.files(), writer.tallies());
        let reads = ReadPool::open(&path, files.clone())?;
        lock.acquire_database()?;
        // The lock refuses a second server for as long as the store is open. It is released after
        // the last connection is closed.
        let lock = Arc::new(lock);
        let writer = WriterThread::start(writer, lock.clone()).map_err(StoreError::Thread)?;
        let disk_permit = Arc::new(Semaphore::new(1));
        Ok(Store(Arc::new(Shared {
            writer,
            tallies,
            signer: Arc::new(signer),
            seeds,
            reads,
            unreadable,
            disk_permit,
            files,
            path,
            _lock: lock,
        })))
    }

    /// Inspects the configured database without changing it. Reads the whole file and every roll.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`].
    pub async fn inspect(config: &StoreConfig) -> Result<Inspection, StoreError> {
        let config = config.clone();
        let inspect = move || {
            let inspected = inspect::inspect(&config);
            inspected.map_err(|error| explain_damage(error, &config.database))
        };
        blocking(inspect).await
    }

    /// The tallies of all rolls in the configured database, which a server may use. Changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnusableDatabase`] if there is no database; otherwise an error of SQLite.
    pub async fn tallies_of(config: &StoreConfig) -> Result<Tallies, StoreError> {
        let config = config.clone();
        blocking(move || Archive::open(&config)?.tallies()).await
    }

    /// Copies the history to the file `to`, also while a server adds to it: all rolls up to the
    /// moment of the call, which are returned. The file appears whole, checked and durable, or
    /// not at all.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stopped`] soon after `stop` is set, [`StoreError::Draft`] if no copy may be
    /// written to `to`.
    pub async fn backup(
        config: &StoreConfig,
        to: &Path,
        existing: Existing,
        stop: Arc<AtomicBool>,
        progress: impl FnMut(BackupStep) + Send + 'static,
    ) -> Result<Kept, StoreError> {
        let (config, to) = (config.clone(), to.to_path_buf());
        blocking(move || backup::copy(&config, &to, existing, &stop, progress)).await
    }

    /// Makes a new secret while no server runs. The log gets a new key, and a chain begins with the
    /// next roll.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnusableDatabase`] if there is no database, [`StoreError::InUse`] if a server
    /// runs, and errors of SQLite and of the file system.
    pub async fn rekey(config: &StoreConfig) -> Result<Rekeyed, StoreError> {
        let config = config.clone();
        blocking(move || log::rekey(&config)).await
    }

    /// The secret of a node that may be running.
    ///
    /// # Errors
    ///
    /// [`StoreError::Secret`] if there is none, [`StoreError::File`] if it cannot be read.
    pub fn secret(config: &StoreConfig) -> Result<Secret, StoreError> {
        let database = file::resolve(&config.database)?;
        log::load_secret(&log::secret_path(config, &database))
    }

    /// Refuses a file that is the configured database or belongs to it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Draft`] if it does.
    pub fn refuse_own(config: &StoreConfig, file: &Path) -> Result<(), StoreError> {
        // A database that does not exist has no files.
        let Ok(database) = file::resolve(&config.database) else { return Ok(()) };
        backup_file::refuse_own(file, &database, &log::secret_path(config, &database))
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
    /// An error of SQLite, also if an outside writer holds its lock: this does not wait for it.
    pub async fn prune(&self, cutoff: Cutoff) -> Result<Pruned, StoreError> {
        self.0.writer.run(move |writer| writer.prune(cutoff)).await
    }

    /// The seeds of the rolls.
    pub fn seeds(&self) -> Seeds {
        self.0.seeds.clone()
    }

    /// The public key of the log.
    pub fn key(&self) -> &VerifierKey {
        self.0.signer.verifier()
    }

    /// Watches the newest checkpoint of the log; `None` before the first.
    pub fn signed(&self) -> watch::Receiver<Option<Signed>> {
        self.0.signer.newest()
    }

    /// Adds rows that another program inserted after the newest roll to the log. Otherwise the next
    /// roll adds them.
    ///
    /// # Errors
    ///
    /// As for [`Store::apply`].
    pub async fn add_to_log(&self) -> Result<(), StoreError> {
        self.0.writer.run(Writer::add_to_log).await
    }

    /// Signs the log if it has grown since the newest checkpoint. The checkpoint is durable before
    /// [`Store::signed`] has it.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] or [`StoreError::Draft`] if the checkpoint cannot be written. Then the
    /// previous one stays the newest.
    pub async fn sign(&self) -> Result<(), StoreError> {
        let signer = self.0.signer.clone();
        blocking(move || signer.sign()).await
    }

    /// Saves the statistics and moves the write-ahead log into the database file, at an orderly
    /// stop. Returns whether all of it was moved, which an outside reader can prevent.
    ///
    /// # Errors
    ///
    /// An error of SQLite.
    pub async fn finish(&self) -> Result<bool, StoreError> {
        self.0.writer.run(Writer::finish).await
    }

    /// What `read` takes from the tallies in memory. The writer waits meanwhile.
    pub fn read_tallies<T>(&self, read: impl FnOnce(&Tallies) -> T) -> T {
        self.0.tallies.read(read)
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
                shared.files.check_paths()?;
                disk::measure(&shared.path)
            })
            .await
        });
        answer.await.map_err(|_elapsed| StoreError::NoAnswer)?
    }
}
