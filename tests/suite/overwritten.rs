//! A database that is overwritten while it is in use: the server stops before anybody sees another
//! roll, and touches neither the new database nor the log of the old one.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, run, wait_for};
use crate::pages::get;

/// A stopped database of another server, with as many rolls.
fn other(n_rolls: i64) -> Vec<u8> {
    let other = Instance::new("every = '1h'");
    other.fill(n_rolls, 1);
    let connection = Connection::open(other.database()).unwrap();
    // The same times with other dice.
    let dice = "update rolls set dice = '{\"1D6\":6,\"1D20\":20}'";
    connection.execute(dice, []).unwrap();
    connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
    fs::read(other.database()).unwrap()
}

/// Writes `content` into the database file, as `cp` does, and waits for the server to stop. Returns
/// the ids that the stream delivered, and how many rolls were stored just before.
fn overwrite(instance: &Instance, server: &mut Server, content: &[u8]) -> (Vec<i64>, i64) {
    let head = || instance.stored().last().unwrap().0;
    let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    // Just after a roll, so that none is made meanwhile.
    let before = head();
    let newest = wait_for("another roll", || Some(head()).filter(|id| *id > before));
    let inode = fs::metadata(instance.database()).unwrap().ino();
    fs::write(instance.database(), content).unwrap();
    assert_eq!(fs::metadata(instance.database()).unwrap().ino(), inode, "control: the same file");
    assert_eq!(server.wait().code(), Some(1), "{:#?}", server.log());
    let id = |id: &str| id.split('-').next().unwrap().parse().unwrap();
    let ids = std::iter::from_fn(|| stream.next()).filter_map(|frame| Some(id(&frame.roll()?.0)));
    (ids.collect(), newest)
}

#[test]
fn a_server_whose_database_is_overwritten_stops_before_anybody_sees_another_roll() {
    const N_ROLLS: i64 = 3_000;
    let instance = Instance::new("every = '500ms'");
    instance.fill(N_ROLLS, 1);
    let content = other(N_ROLLS);
    let mut server = instance.start();
    let (seen, newest) = overwrite(&instance, &mut server, &content);
    assert_eq!(seen.last(), Some(&newest), "a roll that is not kept was streamed: {seen:?}");
    let log = server.log().join("\n");
    assert!(log.contains("was overwritten while in use"), "{log}");
    assert!(log.contains("remove the log beside it"), "expected a remedy in {log}");
    assert!(fs::read(instance.database()).unwrap() == content, "the other database was changed");

    // A supervisor starts it again. The old log would be applied to the other database.
    let wal = instance.path().join("rolls.db-wal");
    let log = fs::read(&wal).unwrap();
    assert!(!log.is_empty(), "control: there is a log");
    for args in [["serve"].as_slice(), &["check"], &["export"], &["stats"]] {
        let (code, _, stderr) = run(instance.command().env("ROCKET_PORT", "0").args(args));
        assert_ne!(code, 0, "{args:?}");
        assert!(stderr.contains("remove this log"), "{args:?}: {stderr}");
    }
    assert!(fs::read(instance.database()).unwrap() == content, "the other database was changed");
    assert!(fs::read(&wal).unwrap() == log, "the log was changed");
    fs::remove_file(&wal).unwrap();
    let _server = instance.start();
    let rolls = wait_for("a roll", || Some(instance.stored()).filter(|rolls| rolls.len() > 3_000));
    assert_eq!(rolls[0].2, "{\"1D6\":6,\"1D20\":20}");
}

#[test]
fn an_older_copy_of_the_same_history_is_noticed_too_and_pages_show_nothing_of_it() {
    let instance = Instance::new("every = '1h'");
    instance.fill(3_000, 1);
    let copy = fs::read(instance.database()).unwrap();
    let mut server = instance.start();
    let connection = Connection::open(instance.database()).unwrap();
    let more = "insert into rolls (rolled_at, dice) select rolled_at, dice from rolls limit 2000;
                pragma wal_checkpoint(truncate);";
    connection.execute_batch(more).unwrap();
    drop(connection);
    assert_eq!(get(&instance.url("/rolls"), &[]).status, 200, "control");
    fs::write(instance.database(), copy).unwrap();
    for path in ["/rolls", "/rolls/17", "/api/rolls"] {
        let answer = get(&instance.url(path), &[]);
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
    }
    server.stop();
}

#[test]
fn a_server_goes_on_whoever_uses_sqlite_or_changes_the_times_of_the_file() {
    let instance = Instance::new("every = '20ms'");
    instance.fill(3_000, 1);
    let mut server = instance.start();
    let goes_on = |what: &str| {
        let n_rolls = instance.stored().len();
        wait_for(what, || (instance.stored().len() > n_rolls + 3).then_some(()));
        assert_eq!(get(&instance.url("/rolls/2000"), &[]).status, 200, "{what}");
    };
    let outside = |sql: &str| {
        let connection = Connection::open(instance.database()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    };
    let changes = [
        "pragma wal_checkpoint(passive)",
        "update rolls set dice = '{\"1D6\":1}' where id > 2500; pragma wal_checkpoint(full)",
        "delete from rolls where id in (2048, 2560); pragma wal_checkpoint(truncate)",
        "vacuum; pragma wal_checkpoint(truncate)",
    ];
    for sql in changes {
        outside(sql);
        goes_on(sql);
    }
    let file = File::options().append(true).open(instance.database()).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    goes_on("touch");
    // After a kill, the index of the log is made anew.
    server.kill();
    let mut server = instance.start();
    goes_on("a start");
    outside("pragma wal_checkpoint(truncate)");
    goes_on("a checkpoint");
    server.stop();
    let log = server.log().join("\n");
    assert!(!log.contains("overwritten"), "{log}");
}
