//! The database file: refused files stay unchanged, rolls are durable, and one server at a time
//! uses it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use rollcast::config::{Keep, StoreConfig};
use rollcast::dice::{Dice, Die};
use rollcast::draw;
use rollcast::roll::{Roll, RollId, RolledAt};
use rollcast::store::Store;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, http, wait_for};

/// Starts a server that must fail, and returns its last log line.
fn refusal(instance: &Instance) -> String {
    let mut server = Server::spawn(&mut instance.command());
    let status = server.wait();
    assert_eq!(status.code(), Some(1), "{:#?}", server.log());
    server.log().last().unwrap().clone()
}

fn folder_of(instance: &Instance) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(instance.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            let content = if path.is_file() { fs::read(&path).unwrap() } else { vec![] };
            (name, content)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_foreign_file_is_refused_and_left_unchanged() {
    fn sqlite(path: &Path, sql: &str) {
        Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }
    type Make = fn(&Path);
    let table: [(&str, Make, &str); 9] = [
        (
            "a pipe",
            |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            "not a file",
        ),
        (
            "a broken symbolic link",
            |path| std::os::unix::fs::symlink("no/such.db", path).unwrap(),
            "a broken symbolic link",
        ),
        ("an empty file", |path| fs::write(path, "").unwrap(), "an empty file"),
        ("a text", |path| fs::write(path, "rolls\n".repeat(50)).unwrap(), "not SQLite"),
        ("a short text", |path| fs::write(path, "1D6").unwrap(), "not SQLite"),
        ("a folder", |path| fs::create_dir(path).unwrap(), "a folder"),
        (
            "a foreign database",
            |path| sqlite(path, "create table rolls (id integer)"),
            "another program's SQLite database",
        ),
        (
            "a newer schema",
            |path| {
                sqlite(
                    path,
                    "pragma application_id = 0x524F4C4C; pragma user_version = 99; create table t (x)",
                )
            },
            "schema 99, this one knows",
        ),
        (
            "a newer schema that only the write-ahead log tells of",
            |path| {
                sqlite(
                    path,
                    "pragma application_id = 0x524F4C4C; pragma user_version = 1; create table t (x)",
                );
                let copy = path.with_extension("copy");
                let writer = Connection::open(path).unwrap();
                writer.query_row("pragma journal_mode = wal", [], |_| Ok(())).unwrap();
                writer.execute_batch("pragma user_version = 99").unwrap();
                // As a killed process leaves it.
                let wal = |path: &Path| {
                    path.with_file_name(format!("{}-wal", path.file_name().unwrap().display()))
                };
                fs::copy(path, &copy).unwrap();
                fs::copy(wal(path), wal(&copy)).unwrap();
                drop(writer);
                fs::rename(wal(&copy), wal(path)).unwrap();
                fs::rename(copy, path).unwrap();
            },
            "schema 99, this one knows",
        ),
    ];
    for (what, make, found) in table {
        let instance = Instance::new("every = '1ms'");
        make(&instance.database());
        // Only SQLite can check a write-ahead log. It creates `-shm`, and rollcast its lock file.
        let beside = |name: &str| name.ends_with("-shm") || name.ends_with("-lock");
        let compared = |mut files: Vec<(String, Vec<u8>)>| {
            files.retain(|(name, _)| !(what.contains("log") && beside(name)));
            files
        };
        let before = compared(folder_of(&instance));
        let error = refusal(&instance);
        assert!(error.contains(found) && error.contains("rolls.db"), "{what}: {error}");
        let check = instance.command().arg("check").output().unwrap();
        assert_eq!(check.status.code(), Some(1), "{what}: check must refuse too");
        assert!(before == compared(folder_of(&instance)), "{what}: a file was changed");
    }
}

#[test]
fn a_second_server_on_the_same_database_refuses_to_start() {
    let instance = Instance::new("every = '20ms'");
    let first = instance.start();
    let second = |path: &Path| {
        let mut command = instance.command();
        command.env("ROCKET_PORT", "0");
        command.env("ROCKET_ROLLCAST", format!("{{database=\"{}\"}}", path.display()));
        let mut server = Server::spawn(&mut command);
        assert_eq!(server.wait().code(), Some(1), "{:#?}", server.log());
        server.log().last().unwrap().clone()
    };
    // Also through a second name of the file.
    let link = instance.path().join("link.db");
    std::os::unix::fs::symlink(instance.database(), &link).unwrap();
    for path in [instance.database(), link.clone()] {
        let error = second(&path);
        assert!(error.contains(&format!("process {}", first.pid())), "{error}");
        assert!(error.contains("rollcast.database"), "expected a remedy in {error}");
    }
    let mut check = instance.command();
    check.arg("check").env("ROCKET_ROLLCAST", format!("{{database=\"{}\"}}", link.display()));
    let checked = String::from_utf8(check.output().unwrap().stdout).unwrap();
    assert!(checked.contains("a server is running on it"), "{checked}");
    let mut first = first;
    // A killed server leaves its lock file behind, but not the lock.
    first.kill();
    instance.start().stop();
}

#[test]
fn ids_have_no_gaps_across_restarts_and_counts_match_the_rolls() {
    let instance = Instance::new("every = '2ms'\ndice = ['1D6', '3D4']");
    for round in 1..=3_usize {
        let mut server = instance.start();
        wait_for("rolls", || (instance.stored().len() > 50 * round).then_some(()));
        server.stop();
    }
    let ids: Vec<i64> = instance.stored().into_iter().map(|roll| roll.0).collect();
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>());
    let count =
        |sql: &str| -> i64 { instance.sqlite().query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("select count(*) from faces"), 2 * ids.len() as i64);
    assert_eq!(count("select sum(n_rolls) from tallies"), 2 * ids.len() as i64);
    let differing = "select count(*) from
        (select die, face, count(*) as n from faces group by die, face) f
        full join tallies t on t.die = f.die and t.face = f.face
        where f.n is not t.n_rolls";
    assert_eq!(count(differing), 0, "tallies that differ from the rolls");
    assert_eq!(count("select count(*) from rolls where not dice like '{\"1D6\":%,\"3D4\":%}'"), 0);
    assert_eq!(count("select max(face) <= 12 and min(face) >= 3 from faces where die = '3D4'"), 1);
}

#[test]
fn a_roll_that_cannot_be_stored_is_retried_and_published_only_afterwards() {
    let instance = Instance::new("every = '20ms'");
    let server = instance.start();
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    stream.rolls(5);
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch("begin immediate").unwrap();
    wait_for("the log line of the fault", || {
        server.log().iter().any(|line| line.contains("no roll can be stored")).then_some(())
    });
    let logged_at = jiff::Timestamp::now();
    // Pages still work.
    assert_eq!(http().get(instance.url("/")).call().unwrap().status(), 200);
    let n_stored = instance.stored().len();
    outside.execute_batch("rollback").unwrap();
    let seen: Vec<i64> = stream
        .rolls(n_stored + 20 - 5)
        .iter()
        .map(|(id, _)| id.split('-').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(seen, (6..=n_stored as i64 + 20).collect::<Vec<_>>(), "gaps or repeats");
    assert!(server.log().iter().any(|line| line.contains("rolls are stored again")));
    // The rolls that failed together. The 50 ticks of the second until the failure are skipped.
    let is_old =
        |(_, at, _): &&(i64, String, String)| at.parse::<jiff::Timestamp>().unwrap() < logged_at;
    let n_old = instance.stored()[n_stored..].iter().take_while(is_old).count();
    assert!((1..10).contains(&n_old), "expected only the rolls that failed, got {n_old}");
}

#[test]
fn a_server_stops_while_its_commits_wait_for_another_writer() {
    let instance = Instance::new("every = '1ms'");
    let mut server = instance.start();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let outside = Connection::open(instance.database()).unwrap();
    outside.pragma_update(None, "busy_timeout", 5_000).unwrap();
    // Every commit waits for this lock, and more rolls are due meanwhile.
    let slow = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(60)) == Err(RecvTimeoutError::Timeout) {
            outside.execute_batch("begin immediate").unwrap();
            let _ = stopped.recv_timeout(Duration::from_millis(20));
            outside.execute_batch("rollback").unwrap();
        }
    });
    wait_for("rolls", || (instance.stored().len() > 100).then_some(()));
    server.stop();
    drop(stop);
    slow.join().unwrap();
}

#[test]
fn rolls_due_during_a_slow_commit_are_stored_together_by_the_next() {
    let instance = Instance::new("every = '10ms'");
    let _server = instance.start();
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    stream.rolls(5);
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch("begin immediate").unwrap();
    let n_before = instance.stored().len();
    // A commit waits up to 1 s for this lock, as it would for a slow disk.
    let slow = Instant::now();
    wait_for("half a second", || (slow.elapsed() > Duration::from_millis(500)).then_some(()));
    let locked_at = jiff::Timestamp::now();
    outside.execute_batch("rollback").unwrap();
    let rolls = stream.rolls(n_before + 100 - 5);
    assert_eq!(rolls.len(), n_before + 95);
    let during = |(_, rolled_at, _): &&(i64, String, String)| {
        rolled_at.parse::<jiff::Timestamp>().unwrap() < locked_at
    };
    let n_during = instance.stored()[n_before..].iter().filter(during).count();
    // Without batches, only the roll of the waiting commit would be this old.
    assert!(n_during > 5, "expected rolls during the commit, got {n_during}");
}

#[test]
fn a_stop_does_not_wait_for_a_roll_that_cannot_be_stored() {
    let instance = Instance::new("every = '20ms'");
    let mut server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 3).then_some(()));
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch("begin immediate").unwrap();
    wait_for("the log line of the fault", || {
        server.log().iter().any(|line| line.contains("no roll can be stored")).then_some(())
    });
    server.stop();
    drop(outside);
    let ids: Vec<i64> = instance.stored().into_iter().map(|roll| roll.0).collect();
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>());
}

type Fault = fn(&Instance);
/// Faults of a database in use: a name, the fault, and the text that the server logs.
const FILE_FAULTS: [(&str, Fault, &str); 4] = [
    (
        "deleted",
        |instance| fs::remove_file(instance.database()).unwrap(),
        "was moved, deleted or replaced",
    ),
    (
        "without its log",
        |instance| fs::remove_file(instance.path().join("rolls.db-wal")).unwrap(),
        "was moved, deleted or replaced",
    ),
    (
        "replaced",
        |instance| {
            let copy = instance.path().join("copy.db");
            fs::copy(instance.database(), &copy).unwrap();
            fs::rename(copy, instance.database()).unwrap();
        },
        "was moved, deleted or replaced",
    ),
    (
        "out of sight",
        |instance| {
            let link = instance.path().join("link");
            std::os::unix::fs::symlink("rolls.db", &link).unwrap();
            // A symbolic link to itself.
            fs::rename(link, instance.database()).unwrap();
        },
        "cannot tell whether",
    ),
];

#[test]
fn a_server_stops_if_its_database_is_deleted_or_replaced() {
    for (what, fault, reason) in FILE_FAULTS {
        let instance = Instance::new("every = '5ms'");
        let mut server = instance.start();
        let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
        stream.rolls(10);
        // A second name of the same file, to read it after the fault.
        let old = instance.path().join("old.db");
        fs::hard_link(instance.database(), &old).unwrap();
        let newest = |database: &Connection| -> i64 {
            database.query_row("select max(id) from rolls", [], |row| row.get(0)).unwrap()
        };
        // The lock prevents commits between the last published roll and the fault.
        let outside = Connection::open(instance.database()).unwrap();
        wait_for("the lock", || outside.execute_batch("begin immediate").ok());
        let n_stored = newest(&outside);
        assert_eq!(stream.rolls(n_stored as usize - 10).len(), n_stored as usize - 10);
        fault(&instance);
        outside.execute_batch("rollback").unwrap();
        drop(outside);
        let status = server.wait();
        assert_eq!(status.code(), Some(1), "{what}: {:#?}", server.log());
        let line = server.log().last().unwrap().clone();
        assert!(line.contains(reason), "{what}: {line}");
        let published = stream.find_map(|frame| frame.roll());
        assert_eq!(published, None, "{what}: published a roll of a missing file");
        // Control: a roll was stored in the old file, so it could have been published.
        let n_old = newest(&Connection::open(&old).unwrap());
        assert!(n_old > n_stored, "{what}: no roll was stored after the fault");
    }
}

#[test]
fn no_rolls_are_shown_after_the_database_was_removed_or_replaced() {
    for (what, fault, reason) in FILE_FAULTS {
        // One roll an hour, so that no commit detects the fault first.
        let instance = Instance::new("every = '1h'");
        instance.fill(5_000, 1);
        let server = instance.start();
        wait_for("the first roll", || (instance.stored().len() > 5_000).then_some(()));
        let get = |path: &str| http().get(instance.url(path)).call().unwrap();
        let paths = ["/", "/rolls", "/rolls/1", "/api/rolls", "/api/rolls/1", "/api/rolls.csv"];
        for path in paths {
            assert_eq!(get(path).status(), 200, "{path}, control");
        }
        fault(&instance);
        for path in paths {
            assert_eq!(get(path).status(), 503, "{path}, {what}");
        }
        assert!(server.log().iter().any(|line| line.contains(reason)), "{:#?}", server.log());
        let mut stream = Stream::open(&instance.url("/stream/?after=1"), Ask::default()).unwrap();
        assert!(stream.all(|frame| frame.roll().is_none()), "{what}: expected no roll");
    }
}

#[test]
fn a_start_fails_and_names_the_path_if_the_folder_is_a_file() {
    let instance = Instance::new("every = '1h'");
    let file = instance.path().join("file");
    fs::write(&file, "").unwrap();
    let mut command = instance.command();
    let database = file.join("rolls.db");
    command.env("ROCKET_ROLLCAST", format!("{{database=\"{}\"}}", database.display()));
    let mut server = Server::spawn(&mut command);
    assert_eq!(server.wait().code(), Some(1));
    let line = server.log().last().unwrap().clone();
    assert!(line.contains(&*file.to_string_lossy()), "{line}");
}

#[test]
fn a_start_succeeds_after_an_earlier_one_was_killed_while_creating_the_database() {
    let instance = Instance::new("every = '5ms'");
    for leftover in ["rolls.db-new", "rolls.db-new-journal", "rolls.db-new-wal"] {
        fs::write(instance.path().join(leftover), "half a database").unwrap();
    }
    let mut server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 3).then_some(()));
    server.stop();
    let names: Vec<String> = folder_of(&instance).into_iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.contains("-new")), "a draft was left: {names:?}");
    // Kill real servers at times spread over the measured duration of a first start.
    let start = Instant::now();
    drop(Instance::new("every = '1ms'").start());
    let whole = start.elapsed();
    for n in 0..40 {
        let instance = Instance::new("every = '1ms'");
        let mut server = Server::spawn(&mut instance.command());
        let (start, moment) = (Instant::now(), whole * n / 40);
        while start.elapsed() < moment {
            park_timeout(moment.saturating_sub(start.elapsed()));
        }
        server.kill();
        instance.start().stop();
    }
}

#[test]
fn a_log_without_its_database_is_refused() {
    let instance = Instance::new("every = '5ms'");
    let mut server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 3).then_some(()));
    server.kill();
    fs::remove_file(instance.database()).unwrap();
    let log = fs::read(instance.path().join("rolls.db-wal")).unwrap();
    let error = refusal(&instance);
    assert!(error.contains("a write-ahead log without its database"), "{error}");
    let check = instance.command().arg("check").output().unwrap();
    assert_eq!(check.status.code(), Some(1), "check must refuse too");
    assert_eq!(fs::read(instance.path().join("rolls.db-wal")).unwrap(), log, "the log was changed");
}

#[tokio::test]
async fn a_roll_of_two_dice_takes_at_most_10_kb_of_write_ahead_log_and_its_seed_one_page_more() {
    let without_seed = log_bytes_per_roll(false).await;
    assert!(without_seed <= 10_000, "{without_seed} bytes of log per roll");
    let with_seed = log_bytes_per_roll(true).await;
    // A page has 4,096 bytes, and a header of 24. Every 256 rolls, the hash of a tile is one more.
    let more = with_seed.saturating_sub(without_seed);
    assert!((4_000..4_200).contains(&more), "{more} bytes of log more per seed");
}

/// Prints the median time of a commit: `cargo test --test suite write_ahead_log -- --nocapture`.
async fn log_bytes_per_roll(has_seed: bool) -> u64 {
    const N_ROLLS: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("rolls.db");
    let config = StoreConfig {
        database: database.clone(),
        keep: Keep::Forever,
        n_reserve_bytes: 0,
        secret: None,
        origin: None,
    };
    let store = Store::open(&config).await.unwrap();
    let two_dice: Vec<Die> = ["1D6", "1D20"].map(|die| die.parse().unwrap()).into();
    let two_dice = Dice::try_from(two_dice).unwrap();
    let store_roll = async |n: usize| {
        let id = RollId(n as i64 + 1);
        let mut dice = draw::results(store.seeds().draw(id), id, &two_dice);
        if !has_seed {
            // The results of somebody else do not follow from the seed, so it is not stored.
            dice.0[0].result = dice.0[0].result % 6 + 1;
        }
        let rolled_at = RolledAt::truncate(jiff::Timestamp::now());
        let started = Instant::now();
        store.apply(vec![Roll { id, rolled_at, dice }]).await.unwrap();
        started.elapsed()
    };
    store_roll(0).await;
    // An open read transaction prevents a checkpoint reset, so the log's size counts every page.
    let reader = Connection::open(&database).unwrap();
    reader.execute_batch("begin; select count(*) from rolls").unwrap();
    let n_bytes = || fs::metadata(folder.path().join("rolls.db-wal")).unwrap().len();
    let n_before = n_bytes();
    let mut times = Vec::new();
    for n in 1..=N_ROLLS {
        times.push(store_roll(n).await);
    }
    // At one roll a second, 20 of them share a save of the statistics.
    let n_roll_bytes = (n_bytes() - n_before) / N_ROLLS as u64;
    let n_before = n_bytes();
    store.finish().await.unwrap();
    let n_save_bytes = n_bytes() - n_before;
    let n_bytes_per_roll = n_roll_bytes + n_save_bytes / 20;
    times.sort_unstable();
    println!(
        "with a seed: {has_seed}; {n_bytes_per_roll} bytes of log per roll ({n_roll_bytes}, and \
         1/20 of {n_save_bytes} for the statistics), median commit {:?}",
        times[N_ROLLS / 2]
    );
    assert!(n_save_bytes > 0, "the statistics were not saved");
    n_bytes_per_roll
}
