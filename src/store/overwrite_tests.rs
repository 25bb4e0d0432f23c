//! Tests of the check for an overwritten database: what it must notice, and what it must not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::config::StoreConfig;
use crate::roll::{Roll, RollId};
use crate::store::row::UnreadableLog;
use crate::store::server_lock::ServerLock;
use crate::store::writer::Writer;
use crate::store::{StoreError, file};

const N_ROLLS: i64 = 400;

/// A database with a writer, and with a connection of another program.
struct Used {
    // Dropped in this order.
    writer: Writer,
    outside: Connection,
    _lock: ServerLock,
    folder: TempDir,
}

impl Used {
    fn new() -> Used {
        let folder = tempfile::tempdir().expect("a folder");
        let (writer, lock) = open(&folder.path().join("rolls.db"));
        let outside = Connection::open(folder.path().join("rolls.db")).expect("a connection");
        let mut used = Used { writer, outside, _lock: lock, folder };
        used.writer.apply(&(1..=N_ROLLS).map(|id| roll(id, 1)).collect::<Vec<_>>()).expect("rolls");
        // Until the first checkpoint, the file is the same for all histories.
        assert!(used.writer.finish().expect("a checkpoint"));
        used
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rolls.db")
    }

    /// Stores the next roll.
    fn roll(&mut self) -> Result<(), StoreError> {
        let sql = "select seq + 1 from sqlite_sequence where name = 'rolls'";
        let id = self.outside.query_row(sql, [], |row| row.get(0)).expect("an id");
        self.writer.apply(&[roll(id, 1)])
    }

    /// What a request does after its query.
    fn read(&self) -> Result<(), StoreError> {
        self.writer.files().check(&self.outside)
    }

    fn outside(&self, sql: &str) {
        self.outside.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// In a process of its own: if this one closed the file, it would release SQLite's locks on it.
    fn run(&self, program: &str, args: &[&Path]) {
        let status = Command::new(program).args(args).arg(self.path()).status().expect("a program");
        assert!(status.success(), "{program} ended with {status}");
    }
}

fn open(path: &Path) -> (Writer, ServerLock) {
    let (path, lock) = file::claim(path).expect("a database");
    let secret = Some(path.with_extension("secret"));
    let config = StoreConfig { secret, ..StoreConfig::example(Path::new("")) };
    let open = Writer::open(&path, &config, UnreadableLog::default()).expect("a writer");
    (open.writer, lock)
}

/// Roll `id` with this result of 1D6.
fn roll(id: i64, result: u32) -> Roll {
    let (minute, second) = (id / 60 % 60, id % 60);
    let rolled_at = format!("2026-11-23T01:{minute:02}:{second:02}.123Z");
    Roll {
        id: RollId(id),
        rolled_at: rolled_at.parse().expect("a timestamp"),
        dice: format!("{{\"1D6\":{result}}}").parse().expect("results"),
    }
}

/// Another database in one file, with this many rolls at the same times.
fn other(folder: &Path, n_rolls: i64) -> PathBuf {
    let path = folder.join(format!("other-{n_rolls}.db"));
    let (mut writer, _lock) = open(&path);
    writer.apply(&(1..=n_rolls).map(|id| roll(id, 6)).collect::<Vec<_>>()).expect("rolls");
    assert!(writer.finish().expect("a checkpoint"));
    path
}

/// A copy of the database as it is, in one file.
fn copy(used: &Used) -> PathBuf {
    let path = used.folder.path().join("copy.db");
    used.outside(&format!("vacuum into '{}'", path.display()));
    path
}

#[test]
fn an_overwritten_database_is_noticed_whatever_it_is_overwritten_with_and_whoever_checkpointed() {
    type Make = fn(&Used) -> PathBuf;
    let others: [(&str, Make); 7] = [
        ("a smaller history", |used| other(used.folder.path(), N_ROLLS / 2)),
        ("an equal one", |used| other(used.folder.path(), N_ROLLS + 2)),
        ("a larger one", |used| other(used.folder.path(), N_ROLLS * 2)),
        ("an empty one", |used| other(used.folder.path(), 0)),
        ("an older copy", copy),
        ("a text", |used| {
            let path = used.folder.path().join("text");
            fs::write(&path, "1D6\n".repeat(99)).expect("a file");
            path
        }),
        ("nothing", |_| "/dev/null".into()),
    ];
    let checkpoints = [
        ("none", ""),
        ("a passive one", "pragma wal_checkpoint(passive)"),
        ("a full one", "pragma wal_checkpoint(full)"),
        ("one that truncates the log", "pragma wal_checkpoint(truncate)"),
        ("one of the writer", ""),
        ("one of the writer in each commit", ""),
    ];
    for (with, make) in others {
        for (checkpoint, sql) in checkpoints {
            let mut used = Used::new();
            let file = make(&used);
            if checkpoint.contains("in each commit") {
                used.writer.checkpoint_after(1);
            }
            used.roll().expect("a roll");
            used.outside(sql);
            if checkpoint == "one of the writer" {
                used.writer.checkpoint_after(1);
                used.roll().expect("a roll");
                used.writer.checkpoint_after(1_000);
            } else {
                used.writer.save_statistics();
            }
            used.outside(sql);
            used.run("cp", &[&file]);
            let case = format!("{with}, last checkpoint: {checkpoint}");
            let error = used.read().expect_err(&case);
            assert!(matches!(error, StoreError::Overwritten(_)), "{case}: {error}");
            let error = used.writer.apply(&[roll(N_ROLLS + 3, 1)]).expect_err(&case);
            assert!(matches!(error, StoreError::Overwritten(_)), "{case}: {error}");
            let error = used.writer.finish().expect_err(&case);
            assert!(matches!(error, StoreError::Overwritten(_)), "{case}: {error}");
            let path = used.path();
            drop((used.outside, used.writer));
            let is_unchanged = fs::read(path).expect("a file") == fs::read(file).expect("a file");
            assert!(is_unchanged, "{case}: the file was changed");
        }
    }
}

#[test]
fn an_overwritten_database_is_noticed_after_a_crash() {
    let mut used = Used::new();
    used.roll().expect("a roll");
    // As a killed server leaves it.
    let crashed = used.folder.path().join("crashed.db");
    for suffix in ["", "-wal"] {
        let from = file::beside(&used.path(), suffix);
        fs::copy(from, file::beside(&crashed, suffix)).expect("a copy");
    }
    fs::copy(used.path().with_extension("secret"), crashed.with_extension("secret"))
        .expect("a copy");
    // A program that looks at it before the start makes the index, and stays.
    let outside = Connection::open(&crashed).expect("a connection");
    let sql = "select count(*) from rolls";
    let n_rolls: i64 = outside.query_row(sql, [], |row| row.get(0)).expect("a number");
    assert_eq!(n_rolls, N_ROLLS + 1);
    let (mut writer, _lock) = open(&crashed);
    let other = other(used.folder.path(), N_ROLLS + 1);
    let status = Command::new("cp").args([other, crashed]).status().expect("a program");
    assert!(status.success());
    let error = writer.apply(&[roll(N_ROLLS + 2, 1)]).expect_err("another database");
    assert!(matches!(error, StoreError::Overwritten(_)), "{error}");
}

#[test]
fn what_other_programs_do_through_sqlite_is_no_overwrite_and_neither_is_a_new_time_of_the_file() {
    let edits = [
        "",
        "update rolls set dice = '{\"1D6\":5}' where id = 7",
        "update rolls set dice = '{\"1D6\":5}'",
        "update rolls set dice = '{\"1D6\":5}' where id = (select max(id) from rolls)",
        "delete from rolls where id < 300",
        "delete from rolls where id = (select max(id) from rolls)",
        "insert into rolls (rolled_at, dice) values ('2026-11-23T02:00:00.000Z', '{\"1D6\":5}')",
        "create table if not exists notes (text)",
        "vacuum",
        "reindex; analyze; pragma optimize",
        "delete from rolls",
    ];
    let checkpoints = [
        "",
        "pragma wal_checkpoint(passive)",
        "pragma wal_checkpoint(full)",
        "pragma wal_checkpoint(restart)",
        "pragma wal_checkpoint(truncate)",
    ];
    for touches in [false, true] {
        // One database for all, so that each meets what the others left.
        let mut used = Used::new();
        for n_frames in [1_000, 1, 3] {
            used.writer.checkpoint_after(n_frames);
            for edit in edits {
                for checkpoint in checkpoints {
                    let case = format!("{edit}; {checkpoint}; touched: {touches}; {n_frames}");
                    let fine = |checked: Result<(), StoreError>| {
                        checked.unwrap_or_else(|error| panic!("{case}: {error}"));
                    };
                    used.outside(edit);
                    if touches {
                        used.run("touch", &[]);
                        fine(used.read());
                    }
                    used.outside(checkpoint);
                    if touches {
                        used.run("touch", &[]);
                        fine(used.read());
                    }
                    fine(used.roll());
                    fine(used.read());
                }
            }
        }
        assert!(used.writer.finish().expect("a checkpoint"));
    }
}
