//! Backups: consistent while the server writes, either complete or absent, and ready to restore.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, ROLLCAST, run, signal, wait_for};
use crate::pages::get;

/// Runs `rollcast backup` in the instance: exit code, standard output, standard error.
fn backup(instance: &Instance, arguments: &[&str]) -> (i32, String, String) {
    output(instance.command().arg("backup").args(arguments))
}

fn output(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// The file name of a copy until it is complete.
fn draft_of(name: &str) -> String {
    format!(".{name}.rollcast-draft")
}

/// The rolls of a copy, after checking that it is intact and complete in one file.
fn rolls_of(copy: &Path) -> Vec<(i64, String, String)> {
    let bytes = fs::read(copy).unwrap();
    assert_eq!(bytes[18..20], [1, 1], "expected a file without a write-ahead log");
    let connection = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let check: String =
        connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let sql = "select id, rolled_at, dice from rolls order by id";
    let mut statement = connection.prepare(sql).unwrap();
    let rolls = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let rolls: Vec<_> = rolls.unwrap().map(Result::unwrap).collect();
    let sql = "select sum(n_rolls) from tallies where die = '1D6'";
    let n_tallies: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(n_tallies, rolls.len() as i64, "expected tallies and rolls of one transaction");
    rolls
}

/// A roll's id as the stream writes it.
fn cursor((id, rolled_at, _): &(i64, String, String)) -> String {
    format!("{id}-{}", rolled_at.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn files(instance: &Instance) -> Vec<String> {
    let entries = fs::read_dir(instance.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_copy_made_while_the_server_writes_is_intact_and_its_restored_history_continues() {
    let instance = Instance::new("every = '1ms'");
    let mut server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 500).then_some(()));
    let (code, stdout, stderr) = backup(&instance, &["copy.db"]);
    assert_eq!((code, &*stderr), (0, ""), "{stdout}");
    let copy = instance.path().join("copy.db");
    let copied = rolls_of(&copy);
    let last = copied.last().unwrap();
    assert!(stdout.contains(&format!("rolls 1 to {}\n", last.0)), "{stdout}");
    // The server continued, and the copy equals the beginning of its history.
    wait_for("newer rolls", || (instance.stored().len() > copied.len() + 50).then_some(()));
    let stored = instance.stored();
    assert_eq!(copied[..], stored[..copied.len()]);
    let newest = cursor(stored.last().unwrap());

    wait_for("a checkpoint of newer rolls", || {
        let note = get(&instance.url("/checkpoint"), &[]).body;
        let size: usize = note.lines().nth(1)?.parse().ok()?;
        (size > copied.len()).then_some(())
    });

    // Restore: remove the database and its files, then rename the copy.
    server.kill();
    for name in ["rolls.db", "rolls.db-wal", "rolls.db-shm"] {
        let _ = fs::remove_file(instance.path().join(name));
    }
    fs::rename(&copy, instance.database()).unwrap();
    instance.configure("every = '200ms'");
    // The signed log has later rolls than the copy.
    let (code, _, stderr) = run(&mut instance.command());
    assert!(code == 1 && stderr.contains("rollcast rekey"), "{code}: {stderr}");
    instance.rekey();
    let mut server = instance.start();

    let ask = |last_event_id| Ask { last_event_id: Some(last_event_id), post: false };
    // A client that saw rolls after the copy gets a reset, even after their ids were reused.
    let mut stream = Stream::open(&instance.url("/stream/"), ask(&newest)).unwrap();
    let sync = stream.frames(2)[1].sync().unwrap();
    assert_eq!((&sync["mode"], &sync["reason"]), (&json!("reset"), &json!("unknown")), "{sync}");
    // A client that last saw a roll of the copy loses nothing.
    let mut stream = Stream::open(&instance.url("/stream/"), ask(&cursor(last))).unwrap();
    let first: i64 = stream.rolls(1)[0].0.split('-').next().unwrap().parse().unwrap();
    assert_eq!(first, last.0 + 1, "expected the id after the last one of the copy");
    server.stop();
    assert_eq!(instance.stored()[..copied.len()], copied[..]);
}

#[test]
fn a_backup_neither_delays_new_rolls_nor_restarts_because_of_them() {
    // The copy takes long enough for many new rolls.
    let instance = Instance::new("every = '1ms'");
    instance.fill(150_000, 1);
    let mut server = instance.start();
    let newest = || -> i64 {
        let sql = "select max(id) from rolls";
        instance.sqlite().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    wait_for("a new roll", || (newest() > 150_000).then_some(()));
    let mut child = instance.command().args(["backup", "copy.db"]).spawn().unwrap();
    let (start, mut moments) = (Instant::now(), vec![]);
    while child.try_wait().unwrap().is_none() {
        moments.push((start.elapsed(), newest()));
        park_timeout(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    let seconds = start.elapsed();
    let n_meanwhile = moments.last().unwrap().1 - moments[0].1;
    assert!(n_meanwhile > 20, "only {n_meanwhile} rolls in {seconds:?}: {moments:?}");
    let copied = rolls_of(&instance.path().join("copy.db"));
    assert!(copied.len() >= 150_000);
    server.stop();
    println!("{n_meanwhile} rolls in {seconds:?}");
}

#[test]
fn a_killed_backup_creates_no_file_of_its_name_and_the_next_one_succeeds() {
    let instance = Instance::new("every = '1ms'");
    instance.fill(150_000, 1);
    let mut server = instance.start();
    let (copy, draft) =
        (instance.path().join("copy.db"), instance.path().join(draft_of("copy.db")));
    // Ends a running backup with a signal and returns its exit code and standard error. Retries if
    // the backup finished before the signal.
    let end_halfway = |name: &str| {
        for _ in 0..50 {
            // Remove the draft of the previous attempt.
            let _ = fs::remove_file(&draft);
            let mut child = instance
                .command()
                .args(["backup", "copy.db"])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            wait_for("a partial copy", || {
                let written = fs::metadata(&draft).map_or(0, |file| file.len());
                (written > 1_000_000 || child.try_wait().unwrap().is_some()).then_some(())
            });
            signal(name, child.id());
            let ended = child.wait_with_output().unwrap();
            if !ended.status.success() {
                assert!(!copy.exists(), "an incomplete copy was published");
                return (ended.status.code(), String::from_utf8(ended.stderr).unwrap());
            }
            fs::remove_file(&copy).unwrap();
        }
        panic!("expected to interrupt a backup, all 50 finished before the signal");
    };
    for _ in 0..5 {
        assert_eq!(end_halfway("KILL").0, None);
        assert!(draft.exists(), "expected the draft of a killed backup");
    }
    // SIGTERM makes it remove its draft.
    let (code, stderr) = end_halfway("TERM");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("stopped before it was done"), "{stderr}");
    assert!(!draft.exists(), "left {:?}", files(&instance));

    fs::write(&draft, "what a kill left ".repeat(10_000)).unwrap();
    let (code, _, stderr) = backup(&instance, &["copy.db"]);
    assert_eq!((code, &*stderr), (0, ""));
    assert!(rolls_of(&copy).len() >= 150_000);
    assert!(!draft.exists());
    server.stop();
}

#[test]
fn a_copy_overwrites_a_file_only_with_force_and_never_the_database() {
    let instance = Instance::new("every = '1h'");
    instance.fill(100, 41);
    fs::write(instance.path().join("notes.txt"), "not a copy").unwrap();
    fs::create_dir(instance.path().join("folder")).unwrap();
    symlink("rolls.db", instance.path().join("link.db")).unwrap();
    symlink("no/such.db", instance.path().join("lost.db")).unwrap();
    fs::hard_link(instance.database(), instance.path().join("twin.db")).unwrap();
    fs::write(instance.path().join("used.db-wal"), "somebody's rolls").unwrap();
    symlink("rolls.db", instance.path().join(draft_of("symlinked.db"))).unwrap();
    fs::hard_link(instance.database(), instance.path().join(draft_of("database.db"))).unwrap();
    fs::hard_link(instance.path().join("notes.txt"), instance.path().join(draft_of("shared.db")))
        .unwrap();
    fs::create_dir(instance.path().join(draft_of("occupied.db"))).unwrap();
    // Older versions used this name for the draft of `old.db`.
    symlink("rolls.db", instance.path().join("old.db-new")).unwrap();
    let contents = || ["rolls.db", "notes.txt"].map(|n| fs::read(instance.path().join(n)).unwrap());
    let before = (files(&instance), contents());
    let table = [
        (&["notes.txt"][..], "a file"),
        (&["rolls.db"], "the database itself"),
        (&["--force", "rolls.db"], "the database itself"),
        (&["--force", "./folder/../rolls.db"], "the database itself"),
        (&["--force", "link.db"], "the database itself"),
        (&["--force", "rolls.secret"], "a file of it"),
        (&["--force", "rolls.secret.checkpoint"], "a file of it"),
        (&["--force", "twin.db"], "the database itself"),
        (&["--force", "rolls.db-wal"], "a file of it"),
        (&["--force", "rolls.db-lock"], "a file of it"),
        (&["--force", "folder"], "not a file"),
        (&["--force", "lost.db"], "a broken symbolic link"),
        (&["--force", "used.db"], "a write-ahead log"),
        (&["no/such/copy.db"], "no such folder"),
        (&["symlinked.db"], "a link or no file"),
        (&["occupied.db"], "a link or no file"),
        (&["database.db"], "the database itself"),
        (&["shared.db"], "another name too"),
        (&["--force", ".any.db.rollcast-draft"], "the name of a draft"),
        (&[], "required"),
    ];
    for (arguments, text) in table {
        let (code, stdout, stderr) = backup(&instance, arguments);
        assert_eq!(code, 2, "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(text), "{arguments:?}: expected `{text}` in {stderr}");
    }
    assert!(before == (files(&instance), contents()), "{:?}", files(&instance));

    // A copy does not change a file with a similar name or the target of a link.
    for name in ["b.db-new", "b.db", "old.db"] {
        assert_eq!(backup(&instance, &[name]).0, 0, "{name}");
        assert!(
            fs::read(instance.database()).unwrap() == before.1[0],
            "the database was written to"
        );
    }
    let [one, other] = ["b.db-new", "b.db"].map(|name| fs::read(instance.path().join(name)));
    assert!(one.unwrap() == other.unwrap(), "the copy `b.db-new` was written to");
    // A kill between the two steps of publishing leaves a second name of the copy.
    fs::hard_link(instance.path().join("b.db"), instance.path().join(draft_of("b.db"))).unwrap();
    assert_eq!(backup(&instance, &["--force", "b.db"]).0, 0);
    assert!(!instance.path().join(draft_of("b.db")).exists());

    // Without a server, `--force` overwrites a file, and a copy may go to another folder.
    let (code, stdout, _) = backup(&instance, &["--force", "notes.txt"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("rolls 41 to 100"), "{stdout}");
    let mut command = instance.command();
    let toml = instance.path().join("Rocket.toml");
    command.current_dir(instance.path().join("folder")).env("ROCKET_CONFIG", toml);
    let (code, _, stderr) = output(command.args(["backup", "copy.db"]));
    assert_eq!(code, 0, "{stderr}");
    let [one, other] =
        ["notes.txt", "folder/copy.db"].map(|name| fs::read(instance.path().join(name)));
    assert!(one.unwrap() == other.unwrap(), "two copies of one history differ");
}

#[test]
fn a_backup_fails_for_a_missing_foreign_or_damaged_database_or_during_another_backup() {
    let instance = Instance::new("every = '1h'");
    let refused = |text: &str| {
        let (code, stdout, stderr) = backup(&instance, &["copy.db"]);
        assert_eq!(code, 1, "{stdout}{stderr}");
        assert!(stderr.contains(text), "expected `{text}` in {stderr}");
        assert!(!instance.path().join("copy.db").exists());
    };
    refused("found no file");
    instance.fill(5_000, 1);
    let draft = fs::File::create(instance.path().join(draft_of("copy.db"))).unwrap();
    draft.lock().unwrap();
    refused("another rollcast is writing");
    drop(draft);

    let sound = fs::read(instance.database()).unwrap();
    let mut damaged = sound.clone();
    let middle = sound.len() / 2 / 4096 * 4096;
    damaged[middle..middle + 2_000].fill(0x5A);
    fs::write(instance.database(), &damaged).unwrap();
    refused("a damaged one");
    fs::write(instance.database(), "no history ".repeat(100)).unwrap();
    refused("something that is not SQLite");
    fs::write(instance.database(), &sound).unwrap();
    assert_eq!(backup(&instance, &["copy.db"]).0, 0);
}

/// `deploy/backup/`.
fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backup").join(name)
}

#[test]
fn the_nightly_script_keeps_the_newest_copies_and_removes_none_after_a_failure() {
    let instance = Instance::new("every = '1h'");
    instance.fill(10, 1);
    let folder = instance.path().join("copies");
    fs::create_dir(&folder).unwrap();
    let old = |day: u32| format!("rolls-2026-01-{day:02}T031700Z.db");
    for day in 1..=4 {
        fs::write(folder.join(old(day)), "old").unwrap();
    }
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    let nightly = |folder: &Path, n_kept: &str| {
        let mut command = instance.command();
        command.env("ROLLCAST", ROLLCAST).arg("backup");
        let mut script = Command::new(deployed("rollcast-backup"));
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        output(script.current_dir(instance.path()).arg(folder).arg(n_kept))
    };
    let names = || {
        let entries = fs::read_dir(&folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let before = names();
    for (folder, n_kept) in [(&*folder, "0"), (&folder, "all"), (Path::new("no/such"), "3")] {
        let (code, _, stderr) = nightly(folder, n_kept);
        assert_eq!(code, 2, "{stderr}");
    }
    assert_eq!(names(), before);

    let (code, stdout, stderr) = nightly(&folder, "3");
    assert_eq!((code, &*stderr), (0, ""), "{stdout}");
    let after = names();
    assert_eq!(after[..3], ["notes.txt".to_string(), old(3), old(4)]);
    assert_eq!(after.len(), 4, "{after:?}");
    assert_eq!(rolls_of(&folder.join(&after[3])).len(), 10);

    fs::remove_file(instance.database()).unwrap();
    let (code, _, stderr) = nightly(&folder, "1");
    assert_eq!(code, 1);
    assert!(stderr.contains("found no file"), "{stderr}");
    assert_eq!(names(), after, "copies were removed after a failed backup");
}

#[test]
fn the_periodic_script_copies_as_the_servers_user_once_it_is_enabled() {
    let instance = Instance::new("every = '1h'");
    instance.fill(10, 1);
    let bin = instance.path().join("bin");
    let folder = instance.path().join("copies");
    for folder in [&bin, &folder] {
        fs::create_dir(folder).unwrap();
    }
    symlink(ROLLCAST, bin.join("rollcast")).unwrap();
    symlink(deployed("rollcast-backup"), bin.join("rollcast-backup")).unwrap();
    // Stands in for FreeBSD's `su -m USER -c COMMAND`: it runs the command as the current user,
    // with the programs in `bin`.
    let su = "#!/bin/sh\n[ \"$1 $2 $3\" = '-m dice -c' ] || exit 9\n\
              exec sh -c \"$(printf %s \"$4\" | sed \"s#/usr/local/bin#$BIN#\")\"\n";
    fs::write(bin.join("su"), su).unwrap();
    let run = |settings: &str| {
        let defaults = instance.path().join("periodic.conf");
        fs::write(&defaults, format!("source_periodic_confs() {{\n{settings}\n}}\n")).unwrap();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let mut script = Command::new("sh");
        script.arg(deployed("410.rollcast")).env("PATH", path).env("BIN", &bin);
        output(script.env("defaults", defaults))
    };
    let executable = Command::new("chmod").arg("+x").arg(bin.join("su")).status().unwrap();
    assert!(executable.success());
    let n_copies = || fs::read_dir(&folder).unwrap().count();

    assert_eq!((run(":").0, n_copies()), (0, 0), "expected no copy unless enabled");
    let enabled = format!(
        "daily_rollcast_enable=YES daily_rollcast_user=dice daily_rollcast_folder='{}' \
         daily_rollcast_config='{}'",
        folder.display(),
        instance.path().join("Rocket.toml").display()
    );
    let (code, stdout, stderr) = run(&enabled);
    assert_eq!((code, n_copies()), (1, 1), "{stdout}{stderr}");
    assert!(stdout.contains("rolls 1 to 10"), "{stdout}");
    assert_eq!(run(&format!("{enabled} daily_rollcast_keep=none")).0, 2, "a wrong setting");
    fs::remove_file(instance.database()).unwrap();
    assert_eq!((run(&enabled).0, n_copies()), (3, 1), "expected no new copy");
}
