//! The store: keeps every roll in one SQLite file.
//!
//! The only place that knows SQL, and the only blocking calls: writes run on the writer's own
//! thread, reads on blocking threads. There is one writer, and a small pool of read-only
//! connections for requests.

mod history;
mod statistics;
mod file;
mod writer;
mod writer_thread;
mod prune;
mod backup;
mod archive;
mod search;
mod disk;

use std::future::pending;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::config::StoreConfig;
use crate::cursor::Cursor;
use crate::dice::{Dice, Die, DieResult};
use crate::roll::{Roll, RollId, RolledAt};
use crate::statistics::{DieTally, Statistics};
use crate::store::file::OpenFiles;
use crate::store::writer::Writer;
use crate::store::writer_thread::WriterThread;

pub use self::archive::Archive;

/// Read-only connections, and so the most requests that read at once.
const N_READERS: u32 = 4;
/// Of those, how many may read at length. The others are left to short reads: a page or the start
/// of a stream finds a reader however many search, download or are far behind.
const N_LONG_READS: usize = N_READERS as usize - 2;
/// Rolls that a short read gets at most: a page of them.
const MOST_SHORT: usize = 128;
/// How long a request waits for its turn to read.
const TURN: Duration = Duration::from_millis(500);
/// How long a request may then read; the longest take some milliseconds on a disk that is well.
/// Well below the 10 s that a supervisor gives a stop.
const LONGEST_READ: Duration = Duration::from_secs(5);
/// SQLite's steps between two looks at that: some 3 µs, or a few pages of a disk that is slow.
const READ_STEPS: i32 = 50;

/// The rolls of one database file; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

/// How much a query reads.
#[derive(Clone, Copy)]
enum Length {
    /// A few rolls, or a page of them.
    Short,
    /// Thousands of rolls, or one batch after the other.
    Long,
}

struct Shared {
    writer: WriterThread,
    readers: Pool<SqliteConnectionManager>,
    turns: Arc<Semaphore>,
    /// Taken before the turn by what reads at length.
    long_reads: Arc<Semaphore>,
    /// Taken by who looks at the disk.
    looks: Arc<Semaphore>,
    files: Arc<OpenFiles>,
    path: PathBuf,
}

/// Which rolls there are: those after `oldest.previous()`, up to `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The oldest roll that is kept; the one after the head when none is.
    pub oldest: RollId,
    /// The place after the newest roll ever stored.
    pub head: Cursor,
}

impl Kept {
    /// How many rolls that is.
    pub fn n_rolls(&self) -> i64 {
        self.head.id.0 - self.oldest.previous().0
    }
}

/// A page of the history.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rolls, in the [`Order`] that was asked for.
    pub rolls: Vec<Roll>,
    /// Which rolls there were at that moment.
    pub kept: Kept,
}

/// The end of the history.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The newest rolls, newest first.
    pub rolls: Vec<Roll>,
    /// The newest roll that was ever made, at that moment.
    pub head: Cursor,
}

/// A part of the history, as somebody asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The rolls after this one; all when there is none.
    pub after: Option<Cursor>,
    /// The rolls before this one; all when there is none.
    pub before: Option<Cursor>,
    /// The rolls from this moment on, where `after` does not say it.
    pub since: Option<RolledAt>,
}

/// In which order a part is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From its beginning.
    OldestFirst,
    /// From its end.
    NewestFirst,
}

/// The rolls between two places, without the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The place before the first roll.
    pub after: RollId,
    /// The place after the last roll.
    pub before: RollId,
}

impl Span {
    /// How many rolls it holds, as far as all are kept.
    pub fn n_rolls(self) -> u64 {
        u64::try_from(self.before.previous().0 - self.after.0).unwrap_or(0)
    }
}

/// A part of the history as it was at one moment: it does not grow.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Its rolls.
    pub span: Span,
    /// The dice of all rolls ever stored, by number and sides.
    pub dice: Vec<Die>,
}

/// What somebody looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Rolls from the first moment on, before the second one.
    pub day: Option<(RolledAt, RolledAt)>,
    /// Rolls with this face.
    pub face: Option<DieResult>,
    /// The page of the oldest rolls after this one.
    pub after: Option<RollId>,
    /// The page of the newest rolls before this one.
    pub before: Option<RollId>,
}

/// A page of what was found, newest roll first.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rolls.
    pub rolls: Vec<Roll>,
    /// Which rolls there were at that moment.
    pub kept: Kept,
    /// The rolls of the day, or all that are kept.
    pub all: Span,
    /// Those that were looked at for this page.
    pub looked_at: Span,
    /// How often the face came up, of all time.
    pub n_ever: Option<u64>,
    /// When the oldest and the newest kept roll were made.
    pub kept_from_to: Option<(RolledAt, RolledAt)>,
}

/// Which rolls are no longer to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// All but the newest so many (not 0).
    Count(i64),
    /// Those made before a moment, as far as no older roll was made later.
    Before(RolledAt),
}

/// What a step of pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Rolls that are gone.
    pub n_rolls: u64,
    /// The oldest that is kept now.
    pub oldest: RollId,
    /// Whether it was a whole step, so that there may be more to go.
    pub more: bool,
}

/// What a look at a database file found.
#[derive(Debug)]
pub enum Inspection {
    /// There is no file: one will be created at the first start.
    Absent,
    /// A sound database.
    Sound {
        /// Which rolls it keeps.
        kept: Kept,
        /// Its schema: how many migrations made it.
        schema: usize,
        /// Whether a server has it open.
        in_use: bool,
    },
}

/// What the database takes of its disk, and what is left.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// The size of the database file.
    pub n_database_bytes: u64,
    /// The size of its write-ahead log.
    pub n_log_bytes: u64,
    /// What this user may still write.
    pub n_free_bytes: u64,
    /// Whether nothing may be written there at all.
    pub read_only: bool,
}

/// What a backup does with a file that has its name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leaves it alone, and fails.
    Refuse,
    /// Replaces it, in one step, once the copy is whole.
    Replace,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupStep {
    /// So many bytes of so many are copied.
    Copying {
        /// Copied so far.
        n_copied: u64,
        /// In all.
        n_bytes: u64,
    },
    /// All are; now they are read again to find damage.
    Checking,
}

/// Why the store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is something else, and was left untouched.
    #[error("expected a rollcast database, found {found} at `{}`; {remedy}", .path.display())]
    NotOurs {
        /// What the file is.
        found: String,
        /// The file.
        path: PathBuf,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A backup that would be written where it must not.
    #[error("expected a place for a copy, found {found} at `{}`; {remedy}", .path.display())]
    Target {
        /// What is there.
        found: String,
        /// Where.
        path: PathBuf,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Another backup writes to the same file.
    #[error("another backup is writing `{}`; let it end, or give this one another name", .0.display())]
    Drafting(PathBuf),
    /// The caller asked for it.
    #[error("stopped before it was done; nothing was changed")]
    Stopped,
    /// Another server has the file.
    #[error(
        "`{}` is in use by another rollcast{holder}; stop that one, or give this one a database \
         of its own (rollcast.database)", .path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who has it, if known.
        holder: String,
    },
    /// The folder or the file cannot be used.
    #[error("cannot {action} `{}`", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file was deleted or replaced while it was open: what is written now is lost.
    #[error(
        "`{}` was moved, deleted or replaced while in use; put it back, then start again",
        .0.display()
    )]
    Moved(PathBuf),
    /// The same, as far as anybody can tell.
    #[error("cannot tell whether `{}` is still the file in use", .path.display())]
    OutOfSight {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file system does not allow a write-ahead log.
    #[error("expected a write-ahead log beside `{}`, got journal mode `{mode}`", .path.display())]
    NoLog {
        /// The database.
        path: PathBuf,
        /// The mode that SQLite chose instead.
        mode: String,
    },
    /// All readers are busy.
    #[error("expected a turn to read the history within {} ms, all readers are busy", TURN.as_millis())]
    Busy,
    /// The disk hangs.
    #[error("the database's disk does not answer within {} ms", TURN.as_millis())]
    NoAnswer,
    /// A read that was ended.
    #[error("expected to read this in {} s, it takes longer; is the disk slow?", LONGEST_READ.as_secs())]
    TooLong,
    /// A cursor that was not given out by this history.
    #[error("expected a cursor of this history, got `{0}`; it has no such roll")]
    OtherHistory(Cursor),
    /// A roll that is not stored has another id than the next one.
    #[error("expected roll {expected} as the next one, got roll {given}")]
    NotNext {
        /// The id of the next roll.
        expected: RollId,
        /// The id of the roll that was given.
        given: RollId,
    },
    /// Another roll is stored under the id of a roll that was given.
    #[error(
        "expected roll {expected} as the next one, got another roll {given} than the stored one"
    )]
    Conflict {
        /// The id of the next roll.
        expected: RollId,
        /// The id of the roll that was given.
        given: RollId,
    },
    /// A stored row that no rollcast wrote.
    #[error("expected a stored roll, got {0}")]
    Malformed(String),
    /// SQLite's own error.
    #[error("the database cannot be used")]
    Sqlite(#[from] rusqlite::Error),
    /// The schema could not be brought up to date.
    #[error("the database cannot be brought up to date")]
    Migration(#[from] rusqlite_migration::Error),
    /// SQLite's own error while that was done.
    #[error("the database cannot be brought up to date")]
    Upgrade(#[source] rusqlite::Error),
    /// The writer's thread could not be started.
    #[error("cannot start a thread for the database")]
    Thread(#[source] std::io::Error),
    /// The pool of readers could not be opened.
    #[error("the database cannot be opened for reading")]
    Pool(#[from] r2d2::Error),
}

impl StoreError {
    /// Whether trying the same again is of no use: commits would be lost, or the roll itself is
    /// refused.
    pub fn is_final(&self) -> bool {
        match self {
            StoreError::Moved(_) | StoreError::Malformed(_) => true,
            StoreError::NotNext { .. } | StoreError::Conflict { .. } => true,
            // The rolls are in that file, wherever it is, and may be lost with it.
            StoreError::OutOfSight { .. } => true,
            StoreError::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ConstraintViolation | ErrorCode::NotADatabase)
            ),
            _ => false,
        }
    }

    /// Whether it is a matter of load, so that the same read may succeed a moment later.
    pub fn is_load(&self) -> bool {
        matches!(self, StoreError::Busy | StoreError::TooLong)
    }
}

impl Store {
    /// Opens the history, creating it (and its folder) where no file is.
    ///
    /// A file that is empty, foreign or of a newer rollcast is refused and left untouched, as is
    /// one that another server has open.
    pub async fn open(config: &StoreConfig) -> Result<Store, StoreError> {
        let path = config.database.clone();
        blocking(move || {
            Store::open_blocking(&path).map_err(|error| file::explain_damage(error, &path))
        })
        .await
    }

    fn open_blocking(path: &Path) -> Result<Store, StoreError> {
        let (path, lock) = file::claim(path)?;
        // Before the readers open: a file that somebody restored may not be in WAL mode.
        let writer = Writer::open(&path)?;
        let files = writer.files();
        let manager = SqliteConnectionManager::file(&path)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(|connection| {
                connection.pragma_update(None, "query_only", true)?;
                // SQLite opens a log only when it first reads.
                connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))
            });
        // All connections open now, while there are file descriptors to be had.
        let readers = Pool::builder()
            .max_size(N_READERS)
            // And stay open. Who may use one is decided by `turns`.
            .min_idle(None)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .build(manager)?;
        // The lock refuses a second server for as long as the store is open.
        let writer = WriterThread::start(writer, lock).map_err(StoreError::Thread)?;
        Ok(Store(Arc::new(Shared {
            writer,
            readers,
            turns: Arc::new(Semaphore::new(N_READERS as usize)),
            long_reads: Arc::new(Semaphore::new(N_LONG_READS)),
            looks: Arc::new(Semaphore::new(1)),
            files,
            path,
        })))
    }

    /// What is at `database`, changing nothing. Reads the whole file, to find damage.
    pub async fn inspect(config: &StoreConfig) -> Result<Inspection, StoreError> {
        let path = config.database.clone();
        blocking(move || file::inspect(&path).map_err(|error| file::explain_damage(error, &path)))
            .await
    }

    /// Copies the history to the file `to`, also while a server adds to it: all rolls up to the
    /// moment of the call, which are given back. The file appears whole, checked and durable, or
    /// not at all. Ends with [`StoreError::Stopped`] soon after `stop` is set.
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

    /// Deletes the oldest of the rolls beyond what is kept, in one short transaction; the newest
    /// roll always stays. Does not wait for an outside writer.
    pub async fn prune(&self, beyond: Beyond) -> Result<Pruned, StoreError> {
        self.0.writer.run(move |writer| writer.prune(beyond)).await
    }

    /// Moves the write-ahead log into the database file, for an orderly end: whether all of it
    /// could be moved, which an outside reader can prevent.
    pub async fn checkpoint(&self) -> Result<bool, StoreError> {
        self.0.writer.run(|writer| writer.checkpoint()).await
    }

    /// What the database takes of its disk, and what is left.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoAnswer`] if the disk hangs.
    pub async fn disk(&self) -> Result<Disk, StoreError> {
        let shared = self.0.clone();
        let answer = timeout(TURN, async {
            // One at a time: a disk that hangs holds the thread that looks, and probes go on coming.
            let look = permit(&shared.looks).await;
            blocking(move || {
                let _look = look;
                shared.files.check()?;
                disk::look(&shared.path)
            })
            .await
        });
        answer.await.map_err(|_elapsed| StoreError::NoAnswer)?
    }

    /// The rolls after `id`, oldest first, at most `limit`. Empty means caught up.
    pub async fn after(&self, id: RollId, limit: usize) -> Result<Vec<Roll>, StoreError> {
        self.read(Length::Long, move |connection| history::after(connection, id, limit)).await
    }

    /// The newest rolls, newest first, at most `limit`, and the head. Also where the oldest are
    /// damaged.
    pub async fn newest(&self, limit: usize) -> Result<Newest, StoreError> {
        self.read(Length::Short, move |connection| history::newest(connection, limit)).await
    }

    /// The roll `id`, if it is kept, and which rolls are.
    pub async fn roll(&self, id: RollId) -> Result<(Option<Roll>, Kept), StoreError> {
        self.read(Length::Short, move |connection| history::roll(connection, id)).await
    }

    /// What all rolls add up to, where `dice` are those rolled now; `None` where `known` is still
    /// the newest roll that is counted ([`RollId::BEFORE_FIRST`] before the first).
    pub async fn statistics(
        &self,
        dice: Dice,
        known: RollId,
    ) -> Result<Option<Statistics>, StoreError> {
        self.read(Length::Long, move |connection| {
            // One transaction, so that all of it is as of the same roll.
            let snapshot = connection.transaction()?;
            if statistics::last_id(&snapshot)? == known {
                return Ok(None);
            }
            let (as_of, tallies) = statistics::Tallies::load(&snapshot)?.into_dice();
            // Here, too: of many large dice it takes a while.
            Ok(Some(Statistics::of(as_of, &tallies, &dice)))
        })
        .await
    }

    /// What all rolls add up to, by die, and the newest roll that is counted, of a file that may
    /// be in use; `None` where no server that keeps statistics has opened it yet. Changes nothing.
    pub async fn tallies_of(
        config: &StoreConfig,
    ) -> Result<Option<(RollId, Vec<DieTally>)>, StoreError> {
        let path = config.database.clone();
        blocking(move || {
            let path = match path.parent().map(Path::exists) {
                Some(true) => file::resolve(&path)?,
                _ => return Ok(None),
            };
            if !file::looks_like_ours(&path)? {
                return Ok(None);
            }
            let mut connection = file::open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            file::check_schema(&connection, &path)?;
            let snapshot = connection.transaction()?;
            if !statistics::are_kept(&snapshot)? {
                return Ok(None);
            }
            Ok(Some(statistics::Tallies::load(&snapshot)?.into_dice()))
        })
        .await
    }

    /// The first roll at or after `moment`, else the newest; `None` when none is kept.
    ///
    /// Ids are the order of rolls; where the clock once stepped back, several rolls fit and any
    /// of them is found.
    pub async fn at(&self, moment: RolledAt) -> Result<Option<RollId>, StoreError> {
        self.read(Length::Short, move |connection| history::at(connection, moment)).await
    }

    /// The place before the first roll at or after `moment`, or the head.
    pub async fn since(&self, moment: RolledAt) -> Result<Cursor, StoreError> {
        self.read(Length::Short, move |connection| history::since(connection, moment)).await
    }

    /// The rolls of a part, at most `limit`: its first ones, or its last ones with the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherHistory`] if a bound is not of this one.
    pub async fn part(&self, part: Part, order: Order, limit: usize) -> Result<Page, StoreError> {
        let length = if limit > MOST_SHORT { Length::Long } else { Length::Short };
        self.read(length, move |connection| history::part(connection, &part, order, limit)).await
    }

    /// Where a part begins and ends now, to be read in batches with [`Store::between`].
    ///
    /// # Errors
    ///
    /// As for [`Store::part`].
    pub async fn extent(&self, part: Part) -> Result<Extent, StoreError> {
        self.read(Length::Short, move |connection| history::extent(connection, &part)).await
    }

    /// The rolls of a span, oldest first, at most `limit`. Empty means that no more are kept.
    pub async fn between(&self, span: Span, limit: usize) -> Result<Vec<Roll>, StoreError> {
        self.read(Length::Long, move |connection| history::between(connection, span, limit)).await
    }

    /// A page of the rolls that fit, at most `limit`. For a face, a bounded number of rolls is
    /// looked at: see [`Found::looked_at`].
    pub async fn search(&self, search: Search, limit: usize) -> Result<Found, StoreError> {
        let length = if search.face.is_some() { Length::Long } else { Length::Short };
        self.read(length, move |connection| search::search(connection, &search, limit)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        length: Length,
        query: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.0.clone();
        // A task of its own takes the turn. Who asked may be polled no further, as a stream is whose
        // client does not read, and would keep a turn that it was given meanwhile: a few such
        // clients had all of them. The set ends the task if nobody waits for it any more.
        let mut task = JoinSet::new();
        task.spawn(async move {
            let waiting = timeout(TURN, shared.turn(length)).await;
            let turn = waiting.map_err(|_elapsed| StoreError::Busy)?;
            blocking(move || {
                // Held until the query ends, even if nobody waits for it any more, so that there
                // are never more blocking threads than connections.
                let _turn = turn;
                let mut connection = shared.readers.get()?;
                let begun = Instant::now();
                // Takes the place of the one that watched over the read before.
                let is_over = move || begun.elapsed() > LONGEST_READ;
                connection.progress_handler(READ_STEPS, Some(is_over))?;
                let read = query(&mut connection).map_err(|error| match error {
                    StoreError::Sqlite(error) if was_interrupted(&error) => StoreError::TooLong,
                    error => file::explain_damage(error, &shared.path),
                })?;
                // What was committed to a file that is gone is nobody's to see: it is lost.
                shared.files.check()?;
                Ok(read)
            })
            .await
        });
        let joined = task.join_next().await.expect("one task");
        outcome(joined).await
    }
}

impl Shared {
    /// A turn to read, kept until it is dropped.
    async fn turn(&self, length: Length) -> (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit) {
        let long_read = match length {
            Length::Short => None,
            Length::Long => Some(permit(&self.long_reads).await),
        };
        (long_read, permit(&self.turns).await)
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("the store never closes its semaphores")
}

fn was_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// Runs blocking work where no other task waits behind it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    outcome(spawn_blocking(work).await).await
}

/// What a task came to; its panic goes on here.
async fn outcome<T>(joined: Result<T, JoinError>) -> T {
    match joined.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime ended and took the task with it, before it began. Who asked ends as well.
        Err(Err(_cancelled)) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures::FutureExt;
    use futures::future::join_all;
    use tempfile::TempDir;

    use crate::config::Keep;

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
    async fn while_one_look_at_the_disk_hangs_others_are_told_in_time() {
        let (_folder, store) = store().await;
        store.disk().await.expect("control: nothing hangs");
        let hanging = permit(&store.0.looks).await;
        let begun = tokio::time::Instant::now();
        let told = join_all((0..100).map(|_| store.disk())).await;
        assert!(told.iter().all(|look| matches!(look, Err(StoreError::NoAnswer))), "{told:?}");
        assert!(begun.elapsed() < 2 * TURN, "told after {:?}", begun.elapsed());
        drop(hanging);
        store.disk().await.expect("nothing hangs any more");
    }
}
