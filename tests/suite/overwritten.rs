//! A database that is overwritten while it is in use: the server stops before anybody sees another
//! roll, and touches neither the new database nor the log of the old one. The tests in
//! `src/store/overwrite_tests.rs` also show which changes do not count as an overwrite.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, run, wait_for};
use crate::pages::get;

const N_ROLLS: i64 = 3_000;

/// A stopped database of another server, in one file, with this many rolls.
fn other(n_rolls: i64) -> (Instance, PathBuf) {
    let other = Instance::new("every = '1h'");
    other.fill(n_rolls, 1);
    let connection = Connection::open(other.database()).unwrap();
    // The same times with other dice.
    let dice = "update rolls set dice = '{\"1D6\":6,\"1D20\":20}'";
    connection.execute(dice, []).unwrap();
    connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
    drop(connection);
    let path = other.database();
    (other, path)
}

/// Runs a program whose last argument is the database.
fn run_on(instance: &Instance, program: &str, args: &[&Path]) {
    let status = Command::new(program).args(args).arg(instance.database()).status().unwrap();
    assert!(status.success(), "{program} ended with {status}");
}

/// Has another program run this SQL on the database.
fn outside(instance: &Instance, sql: &str) {
    let connection = Connection::open(instance.database()).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[test]
fn a_server_whose_database_is_overwritten_stops_before_anybody_sees_another_roll() {
    let others = [
        ("a smaller history", N_ROLLS / 2),
        ("an equal one", N_ROLLS + 1),
        ("a larger one", 2 * N_ROLLS),
    ];
    for (what, n_rolls) in others {
        let (_other, file) = other(n_rolls);
        let content = fs::read(&file).unwrap();
        let instance = Instance::new("every = '20ms'");
        instance.fill(N_ROLLS, 1);
        let mut server = instance.start();
        let mut stream =
            Stream::open(&instance.url(&format!("/stream/?after={N_ROLLS}")), Ask::default())
                .unwrap();
        stream.rolls(3);
        // A start compares the database with it.
        let checkpoint = instance.path().join("rolls.secret.checkpoint");
        wait_for("a checkpoint", || checkpoint.exists().then_some(()));
        // The lock prevents commits between the last published roll and the fault.
        let lock = Connection::open(instance.database()).unwrap();
        wait_for("the lock", || lock.execute_batch("begin immediate").ok());
        let n_stored: i64 =
            lock.query_row("select max(id) from rolls", [], |row| row.get(0)).unwrap();
        let n_more = (n_stored - N_ROLLS - 3) as usize;
        assert_eq!(stream.rolls(n_more).len(), n_more);
        let inode = || fs::metadata(instance.database()).unwrap().ino();
        let before = inode();
        run_on(&instance, "cp", &[&file]);
        assert_eq!(inode(), before, "control: the same file");
        lock.execute_batch("rollback").unwrap();
        drop(lock);
        assert_eq!(server.wait().code(), Some(1), "{what}: {:#?}", server.log());
        let log = server.log().join("\n");
        assert!(log.contains("was overwritten while in use"), "{what}: {log}");
        assert!(log.contains("remove the log beside it"), "expected a remedy in {log}");
        let published = stream.find_map(|frame| frame.roll());
        assert_eq!(published, None, "{what}: a roll that is not kept was published");

        // A supervisor starts it again. The old log would be applied to the other database.
        let wal = instance.path().join("rolls.db-wal");
        let log = fs::read(&wal).unwrap();
        assert!(!log.is_empty(), "control: there is a log");
        for args in [["serve"].as_slice(), &["check"], &["export"], &["stats"]] {
            let (code, _, stderr) = run(instance.command().env("ROCKET_PORT", "0").args(args));
            assert_ne!(code, 0, "{what}, {args:?}");
            assert!(stderr.contains("remove this log"), "{what}, {args:?}: {stderr}");
        }
        let is_unchanged = fs::read(instance.database()).unwrap() == content;
        assert!(is_unchanged, "{what}: the other database was changed");
        assert!(fs::read(&wal).unwrap() == log, "{what}: the log was changed");
        fs::remove_file(&wal).unwrap();
        // The other database does not match the signed log either.
        let (code, _, stderr) = run(instance.command().env("ROCKET_PORT", "0"));
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("rollcast rekey"), "{what}: {stderr}");
        instance.rekey();
        let _server = instance.start();
        let rolls = wait_for("a roll", || {
            Some(instance.stored()).filter(|rolls| rolls.len() as i64 > n_rolls)
        });
        assert_eq!(rolls[0].2, "{\"1D6\":6,\"1D20\":20}");
    }
}

#[test]
fn nobody_sees_a_roll_of_a_database_that_was_overwritten_also_after_a_checkpoint() {
    for checkpoint in ["", "pragma wal_checkpoint(full)", "pragma wal_checkpoint(truncate)"] {
        // One roll an hour, so that no commit notices it first.
        let instance = Instance::new("every = '1h'");
        instance.fill(N_ROLLS, 1);
        let (_other, file) = other(N_ROLLS + 1);
        let mut server = instance.start();
        wait_for("the first roll", || (instance.stored().len() as i64 > N_ROLLS).then_some(()));
        let paths = ["/rolls", "/rolls/17", "/api/rolls", "/api/rolls.csv"];
        for path in paths {
            assert_eq!(get(&instance.url(path), &[]).status, 200, "control: {path}");
        }
        outside(&instance, checkpoint);
        run_on(&instance, "cp", &[&file]);
        for path in paths {
            let answer = get(&instance.url(path), &[]);
            assert_eq!(answer.status, 503, "{path}, {checkpoint}: {}", answer.body);
        }
        let mut stream = Stream::open(&instance.url("/stream/?after=1"), Ask::default()).unwrap();
        assert!(stream.all(|frame| frame.roll().is_none()), "{checkpoint}: expected no roll");
        server.stop();
        let (other, file) = (fs::read(file).unwrap(), fs::read(instance.database()).unwrap());
        assert!(other == file, "{checkpoint}: the other database was changed");
    }
}

#[test]
fn a_server_goes_on_whatever_others_do_through_sqlite_and_if_the_file_gets_a_new_time() {
    let instance = Instance::new("every = '20ms'");
    instance.fill(N_ROLLS, 1);
    let mut server = instance.start();
    let goes_on = |what: &str| {
        let newest = || instance.stored().last().map_or(0, |roll| roll.0);
        let before = newest();
        wait_for(what, || (newest() > before + 3).then_some(()));
        assert_eq!(get(&instance.url("/rolls"), &[]).status, 200, "{what}");
    };
    let changes = [
        "pragma wal_checkpoint(passive)",
        "update rolls set dice = '{\"1D6\":1}' where id = 7",
        "update rolls set dice = '{\"1D6\":1}' where id > 2500; pragma wal_checkpoint(full)",
        "delete from rolls where id in (2048, 2560); pragma wal_checkpoint(truncate)",
        "insert into rolls (rolled_at, dice) values ('2026-11-23T02:00:00.000Z', '{\"1D6\":5}')",
        "vacuum; pragma wal_checkpoint(truncate)",
        "delete from rolls",
    ];
    for sql in changes {
        outside(&instance, sql);
        run_on(&instance, "touch", &[]);
        goes_on(sql);
        outside(&instance, sql);
        goes_on(sql);
    }
    let copy = instance.path().join("copy.db");
    let (code, _, stderr) = run(instance.command().arg("backup").arg(&copy));
    assert_eq!(code, 0, "{stderr}");
    goes_on("a backup");
    // After a kill, the index of the log is rebuilt. A start refuses changed signed rolls.
    server.kill();
    instance.rekey();
    let mut server = instance.start();
    goes_on("a start");
    run_on(&instance, "touch", &[]);
    goes_on("a new time");
    outside(&instance, "pragma wal_checkpoint(truncate)");
    goes_on("a checkpoint");
    server.stop();
    let log = server.log().join("\n");
    assert!(!log.contains("overwritten"), "{log}");
}
