//! The writer: the only connection that appends and prunes rolls.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension, Transaction, TransactionBehavior,
};
use tokio::sync::watch;

use crate::config::StoreConfig;
use crate::draft::sync_folder;
use crate::roll::{Roll, RollId};
use crate::seeds::Seeds;
use crate::store::content::Content;
use crate::store::error::file_error;
use crate::store::file_limit::explain_limit;
use crate::store::log::{EndOfLog, LogWriter, OpenLog, Signed, Signer, secret_path};
use crate::store::open_files::{OpenFiles, TrackedFile};
use crate::store::projection::{Projection, SharedTallies};
use crate::store::prune::{self, Step};
use crate::store::row::{self, UnreadableLog};
use crate::store::{Cutoff, Pruned, StoreError, file, history};

/// How long the commit of a roll waits while another program holds SQLite's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The size limit of the write-ahead log after a checkpoint. A long read by another program can
/// make the log larger until then.
const JOURNAL_BYTES: u32 = 16 << 20;

pub struct Writer {
    connection: Connection,
    files: Arc<OpenFiles>,
    statistics: Projection,
    log: LogWriter,
    /// The newest checkpoint of the log.
    signed: watch::Receiver<Option<Signed>>,
    /// Whether the newest rolls may be stored although their commit failed, and so not be durable.
    is_in_doubt: bool,
    path: PathBuf,
}

/// The writer, and the parts of the log for other modules.
pub struct OpenWriter {
    pub writer: Writer,
    pub signer: Signer,
    pub seeds: Seeds,
}

impl Writer {
    /// Opens a history that [`file::claim`] has locked, and counts the rolls that the saved
    /// statistics do not include. Reports unreadable rolls to `log`.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] if the file or its folder cannot be written; [`StoreError::NoLog`] if
    /// WAL mode cannot be set; [`StoreError::Moved`] or [`StoreError::CannotExamine`] if a file is
    /// no longer at its path; otherwise the error of SQLite or of loading the statistics.
    pub fn open(
        database: &Path,
        config: &StoreConfig,
        unreadable: UnreadableLog,
    ) -> Result<OpenWriter, StoreError> {
        let mut connection = file::open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let database_file = TrackedFile::at(database)?;
        // SQLite opens a file that is not writable for reading only, without an error.
        if connection.is_readonly(MAIN_DB)? {
            let source = io::Error::other("it could be opened for reading only");
            return Err(file_error("write to", database, source));
        }
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Acquires the write lock first. A deferred transaction that reads before it writes can
        // fail at its first write.
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        file::enable_wal(&connection, database)?;
        // An acknowledged roll survives a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        let limit = format!("pragma journal_size_limit = {JOURNAL_BYTES}");
        connection.query_row(&limit, [], |_| Ok(()))?;
        let mut statistics = Projection::load(&connection, unreadable)?;
        statistics.catch_up(&mut connection)?;
        let secret = secret_path(config, database);
        let OpenLog { writer: log, signer, seeds } =
            OpenLog::open(&mut connection, secret, config.origin.as_deref())?;
        // The write-ahead log exists now. SQLite also syncs the folder but ignores an error. Then a
        // power cut could remove the log with all rolls in it.
        sync_folder(database)?;
        // After a crash, if another program opened the file first, the index lacks the state of the
        // file until a checkpoint is complete. This one may fail, for example on a full disk, because
        // a later one has the same effect.
        let _ = checkpoint(&connection, "passive");
        let content = Content::new(database, &connection)?;
        let files = Arc::new(OpenFiles::new(database_file, content)?);
        let path = database.to_path_buf();
        let signed = signer.newest();
        let is_in_doubt = false;
        let writer = Writer { connection, files, statistics, log, signed, is_in_doubt, path };
        Ok(OpenWriter { writer, signer, seeds })
    }

    /// The statistics in memory.
    pub fn tallies(&self) -> SharedTallies {
        self.statistics.tallies()
    }

    /// The database and its write-ahead log.
    pub fn files(&self) -> Arc<OpenFiles> {
        self.files.clone()
    }

    /// Stores the rolls in one transaction, syncs it to disk, and adds them to the statistics.
    /// Skips rolls that are already stored.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotNext`] or [`StoreError::Conflict`] if a roll does not continue the history;
    /// [`StoreError::Malformed`] if a row does not read back as its roll;
    /// [`StoreError::Overwritten`] if another database is in the file; [`StoreError::Moved`] or
    /// [`StoreError::CannotExamine`] if the files are not at their paths after the commit;
    /// [`StoreError::FileLimit`] if a file cannot grow any further; otherwise the error of SQLite,
    /// such as a full disk.
    pub fn apply(&mut self, rolls: &[Roll]) -> Result<(), StoreError> {
        self.is_in_doubt = true;
        let applied = self.commit(rolls).map_err(|error| explain_limit(error, &self.path));
        let is_full = match &applied {
            Err(StoreError::Sqlite(error)) => {
                error.sqlite_error_code() == Some(ErrorCode::DiskFull)
            }
            Err(StoreError::FileLimit { .. }) => true,
            _ => false,
        };
        if is_full {
            // In a small database the log is the larger file, so a checkpoint may free space for
            // the next attempt. Ignore its error and report the full disk.
            let _ = checkpoint(&self.connection, "truncate");
        }
        let end_of_log = applied?;
        // Check the files before the log gets the rolls, because rolls in the log are signed.
        self.files.check(&self.connection)?;
        self.log.committed(end_of_log);
        self.statistics.add(&self.connection, rolls);
        self.is_in_doubt = false;
        Ok(())
    }

    /// Adds the rows that another program inserted after the newest roll to the log.
    ///
    /// # Errors
    ///
    /// As for [`Writer::apply`].
    pub fn add_to_log(&mut self) -> Result<(), StoreError> {
        let head = history::head(&self.connection)?.id;
        if self.is_in_doubt || head.0 as u64 <= self.log.size() {
            return Ok(());
        }
        let end_of_log = self.commit(&[])?;
        self.files.check(&self.connection)?;
        self.log.committed(end_of_log);
        Ok(())
    }

    /// Returns the end of the log with the rolls.
    fn commit(&mut self, rolls: &[Roll]) -> Result<EndOfLog, StoreError> {
        let Writer { connection, files, log, .. } = self;
        write(connection, files.content(), rolls.last(), |transaction| {
            let new = not_stored(transaction, rolls)?;
            for roll in new {
                insert(transaction, roll)?;
            }
            log.add(transaction, new)
        })
    }

    /// Deletes the oldest rolls beyond the cutoff, at most [`prune::N_AT_ONCE`] of them.
    ///
    /// # Errors
    ///
    /// The error of SQLite, such as a lock that another program holds.
    pub fn prune(&mut self, cutoff: Cutoff) -> Result<Pruned, StoreError> {
        let last_counted = self.statistics.last_id();
        let n_signed = self.signed.borrow().as_ref().map_or(0, |signed| signed.checkpoint.size);
        // Read before acquiring the write lock, which another program may hold.
        let Step { kept, up_to } =
            prune::next_step(&self.connection, cutoff, last_counted, n_signed)?;
        let Some(up_to) = up_to else {
            return Ok(Pruned { n_rolls: 0, oldest: kept.oldest, more: false });
        };
        // The next roll waits for this call, so fail at once if another program holds the lock.
        self.connection.busy_timeout(Duration::ZERO)?;
        let n_rolls = self.delete(up_to);
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        let more = up_to.0 - kept.oldest.previous().0 == prune::N_AT_ONCE;
        Ok(Pruned { n_rolls: n_rolls?, oldest: up_to.next(), more })
    }

    fn delete(&mut self, up_to: RollId) -> Result<u64, StoreError> {
        // After a crash, deleted rolls can no longer be counted. So save the statistics with them.
        let saves = up_to > self.statistics.saved_id();
        let statistics = &self.statistics;
        let n_rolls = write(&mut self.connection, self.files.content(), None, |transaction| {
            if saves {
                statistics.save_in(transaction)?;
            }
            prune::delete(transaction, up_to)
        })?;
        if saves {
            self.statistics.saved();
        }
        Ok(n_rolls)
    }

    /// The time until the statistics must be saved; `None` if they are saved.
    pub fn save_due_in(&self) -> Option<Duration> {
        self.statistics.save_due_in()
    }

    /// Saves the statistics. Logs an error.
    pub fn save_statistics(&mut self) {
        let statistics = &self.statistics;
        let save = |transaction: &Transaction<'_>| statistics.save_in(transaction);
        let saved = write(&mut self.connection, self.files.content(), None, save);
        self.statistics.end_save(saved);
    }

    /// Saves the statistics and checkpoints the write-ahead log before a normal stop. Returns
    /// whether the checkpoint is complete.
    ///
    /// # Errors
    ///
    /// [`StoreError::Overwritten`] if another database is in the file; [`StoreError::Sqlite`] if
    /// the checkpoint fails.
    pub fn finish(&mut self) -> Result<bool, StoreError> {
        if let Err(error) = self.files.content().check(&self.connection) {
            // Closing the last connection runs a checkpoint too. Ignore the error: it is no worse
            // than before.
            let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = self.connection.set_db_config(no_checkpoint, true);
            return Err(error);
        }
        if self.save_due_in().is_some() {
            self.save_statistics();
        }
        checkpoint(&self.connection, "truncate")
    }
}

#[cfg(test)]
impl Writer {
    /// Has a commit run a checkpoint when the log has this many frames.
    pub fn checkpoint_after(&self, n_frames: u32) {
        let sql = format!("pragma wal_autocheckpoint = {n_frames}");
        self.connection.query_row(&sql, [], |_| Ok(())).expect("a pragma");
    }
}

/// Runs `work` in a transaction that ends with a commit. Give it the `newest` roll if it stores
/// rolls.
fn write<T>(
    connection: &mut Connection,
    content: &Content,
    newest: Option<&Roll>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // A commit may run a checkpoint, which must not write to another database.
    content.check(connection)?;
    let transaction = connection.transaction()?;
    let n_commits = content.n_commits()?;
    let result = work(&transaction)?;
    transaction.commit()?;
    content.committed(n_commits, newest)?;
    Ok(result)
}

/// Moves the write-ahead log into the database. Returns false if a reader prevents part of it.
fn checkpoint(connection: &Connection, mode: &str) -> Result<bool, StoreError> {
    let sql = format!("pragma wal_checkpoint({mode})");
    let n_busy: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok(n_busy == 0)
}

/// The rolls that are not stored yet. It is an error if they do not follow the newest roll.
fn not_stored<'a>(connection: &Connection, rolls: &'a [Roll]) -> Result<&'a [Roll], StoreError> {
    let next = history::next_id(connection)?;
    let mut n_stored = 0;
    // No row has the next id or a later one, so a new roll needs no query.
    for roll in rolls.iter().take_while(|roll| roll.id < next) {
        match history::is_stored_as(connection, roll)? {
            Some(true) => n_stored += 1,
            Some(false) => return Err(StoreError::Conflict { expected: next, given: roll.id }),
            None => break,
        }
    }
    let new = &rolls[n_stored..];
    let mut expected = next;
    for Roll { id: given, .. } in new {
        if *given != expected {
            return Err(StoreError::NotNext { expected, given: *given });
        }
        expected = expected.next();
    }
    Ok(new)
}

/// Inserts a roll and checks that its row reads back as the same roll, because readers get that.
fn insert(transaction: &Transaction<'_>, roll: &Roll) -> Result<(), StoreError> {
    let sql = "insert into rolls (id, rolled_at, dice) values (?1, ?2, ?3)";
    let values = (roll.id.0, roll.rolled_at.to_string(), roll.dice.to_string());
    transaction.prepare_cached(sql)?.execute(values)?;
    // A `returning` clause costs more: SQLite creates a temporary table for it.
    let sql = "select id, rolled_at, dice from rolls where id = ?1";
    let stored = transaction.prepare_cached(sql)?.query_row([roll.id.0], row::read).optional()?;
    match stored {
        Some(Ok(stored)) if stored == *roll => Ok(()),
        stored => {
            let id = roll.id;
            Err(StoreError::Malformed(format!("roll {id}: it reads back as {stored:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tempfile::TempDir;

    fn writer() -> (TempDir, Writer) {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StoreConfig::example(folder.path());
        let (path, _lock) = file::claim(&config.database).expect("a database");
        let open = Writer::open(&path, &config, UnreadableLog::default()).expect("a writer");
        (folder, open.writer)
    }

    /// Roll `id` with this result of 1D6.
    fn roll(id: i64, result: u32) -> Roll {
        let rolled_at = format!("2026-11-23T01:37:{id:02}.123Z").parse().expect("a timestamp");
        let dice = format!("{{\"1D6\":{result}}}").parse().expect("results");
        Roll { id: RollId(id), rolled_at, dice }
    }

    fn stored(writer: &Writer) -> Vec<Roll> {
        history::after(&writer.connection, RollId::BEFORE_FIRST, 100).expect("rolls").rolls
    }

    #[test]
    fn rolls_that_are_stored_are_left_as_they_are_and_the_rest_of_a_group_is_stored() {
        let (_folder, mut writer) = writer();
        let rolls: Vec<Roll> = (1..=5).map(|id| roll(id, id as u32)).collect();
        for n_rolls in [0, 2, 2, 1, 5, 5] {
            writer.apply(&rolls[..n_rolls]).expect("rolls that fit");
        }
        writer.apply(&rolls[3..]).expect("rolls that fit");
        assert_eq!(stored(&writer), rolls);
        let sql = "select sum(n_rolls) from tallies";
        let n_counted: i64 = writer.connection.query_row(sql, [], |row| row.get(0)).expect("a sum");
        assert_eq!(n_counted, 5, "rolls were counted twice, or not at all");
    }

    #[test]
    fn all_but_the_next_roll_is_refused_and_the_others_of_its_group_with_it() {
        let (_folder, mut writer) = writer();
        let rolls: Vec<Roll> = (1..=3).map(|id| roll(id, 1)).collect();
        writer.apply(&rolls).expect("rolls that fit");
        // Other programs may delete rows. Their ids are never reused.
        writer.connection.execute("delete from rolls where id in (1, 3)", []).expect("a deletion");
        let table: [(&[Roll], i64, i64, bool); 7] = [
            (&[roll(5, 1)], 4, 5, false),
            (&[roll(4, 1), roll(6, 1)], 5, 6, false),
            (&[roll(4, 1), roll(4, 1)], 5, 4, false),
            (&[roll(1, 1)], 4, 1, false),
            (&[roll(3, 1), roll(4, 1)], 4, 3, false),
            (&[roll(2, 2)], 4, 2, true),
            (&[roll(0, 1)], 4, 0, false),
        ];
        for (rolls, next, wrong, conflicts) in table {
            let error = writer.apply(rolls).expect_err("rolls that do not fit");
            let (expected, given, is_conflict) = match error {
                StoreError::NotNext { expected, given } => (expected, given, false),
                StoreError::Conflict { expected, given } => (expected, given, true),
                other => panic!("expected a roll that does not fit, got {other} for {rolls:?}"),
            };
            assert_eq!((expected, given), (RollId(next), RollId(wrong)), "{rolls:?}");
            assert_eq!(is_conflict, conflicts, "{rolls:?}");
        }
        assert_eq!(stored(&writer), [roll(2, 1)]);
        writer.apply(&[roll(4, 6)]).expect("the next roll");
        assert_eq!(stored(&writer), [roll(2, 1), roll(4, 6)]);
    }

    #[test]
    fn a_roll_that_does_not_read_back_as_itself_is_not_stored() {
        let (_folder, mut writer) = writer();
        let delete = "delete from rolls where id = new.id";
        let change = "update rolls set dice = '{\"1D6\":6}' where id = new.id";
        for body in [delete, change] {
            let sql = format!("create trigger other after insert on rolls begin {body}; end");
            writer.connection.execute_batch(&sql).expect("a trigger");
            let error = writer.apply(&[roll(1, 1)]).expect_err("another row is stored");
            assert!(matches!(error, StoreError::Malformed(_)), "{error}");
            writer.connection.execute_batch("drop trigger other").expect("no trigger");
            assert_eq!(stored(&writer), []);
        }
        writer.apply(&[roll(1, 1)]).expect("without the trigger");
    }

    #[test]
    fn a_row_that_is_not_a_roll_conflicts_with_the_roll_of_its_id() {
        let (_folder, mut writer) = writer();
        // As schema 2 stored it.
        let sql = "drop trigger refuse_unreadable_insert;
                   insert into rolls (rolled_at, dice) values ('garbage', '[]')";
        writer.connection.execute_batch(sql).expect("a row");
        let error = writer.apply(&[roll(1, 1)]).expect_err("its id is taken");
        assert!(
            matches!(error, StoreError::Conflict { expected: RollId(2), given: RollId(1) }),
            "{error}"
        );
        writer.apply(&[roll(2, 1)]).expect("the next roll");
    }

    #[test]
    fn rolls_are_refused_once_there_is_no_id_left() {
        let (_folder, mut writer) = writer();
        let sql = "insert into rolls (id, rolled_at, dice)
                   values (?1, '2026-11-23T01:37:40.123Z', '{}')";
        for impossible in [i64::MIN, 0, 1_048_577, 1_000_000_000_000_000_000, i64::MAX] {
            writer.connection.execute(sql, [impossible]).expect_err("the schema refuses it");
        }
        writer.connection.execute(sql, [1]).expect("a row");
        let moves = "update rolls set id = 1_048_578";
        writer.connection.execute(moves, []).expect_err("the schema refuses it");
        writer.connection.execute("delete from rolls", []).expect("a change");
        let triggers = "drop trigger refuse_impossible_id; drop trigger refuse_distant_id";
        writer.connection.execute_batch(triggers).expect("a change");
        writer.connection.execute(sql, [i64::MAX]).expect("a row");
        let error = writer.apply(&[roll(1, 1)]).expect_err("no id is left");
        assert!(error.is_final(), "{error}");
        assert!(error.to_string().contains("9223372036854775807"), "{error}");
    }
}
