//! Two servers never use one database file, and a look at it locks nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;

use crate::common::{Instance, Server, wait_for};

/// A name of the same file in a folder of its own.
fn hard_link(instance: &Instance) -> PathBuf {
    let folder = instance.path().join("elsewhere");
    fs::create_dir_all(&folder).unwrap();
    let link = folder.join("rolls.db");
    fs::hard_link(instance.database(), &link).unwrap();
    link
}

/// Starts another server on the database at `path`, which must fail. Returns its last log line.
fn refusal(instance: &Instance, path: &Path) -> String {
    let mut command = instance.command();
    command.env("ROCKET_PORT", "0");
    command.env("ROCKET_ROLLCAST", format!("{{database=\"{}\"}}", path.display()));
    let mut server = Server::spawn(&mut command);
    assert_eq!(server.wait().code(), Some(1), "{:#?}", server.log());
    server.log().last().unwrap().clone()
}

#[test]
fn a_second_server_is_kept_out_under_every_name_of_the_file() {
    let instance = Instance::new("every = '20ms'");
    let mut first = instance.start();
    let link = hard_link(&instance);
    let error = refusal(&instance, &link);
    let link_text = link.display().to_string();
    assert!(error.contains(&link_text) && error.contains("in use by another rollcast"), "{error}");
    assert!(error.contains("under another name"), "{error}");
    let mut beside = fs::read_dir(link.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(beside.all(|name| !name.ends_with("-wal")), "SQLite opened the file");

    fs::remove_file(instance.path().join("rolls.db-lock")).unwrap();
    let error = refusal(&instance, &instance.database());
    assert!(error.contains("in use by another rollcast"), "{error}");

    // The first one goes on, and its successor is not kept out.
    let n_rolls = instance.stored().len();
    wait_for("more rolls", || (instance.stored().len() > n_rolls).then_some(()));
    first.stop();
    instance.start().stop();
}

#[test]
fn the_lock_leaves_the_locks_of_sqlite_as_they_are() {
    let instance = Instance::new("every = '20ms'");
    let mut server = instance.start();
    let n_rolls = instance.stored().len();
    wait_for("more rolls", || (instance.stored().len() > n_rolls).then_some(()));
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch("begin immediate; select count(*) from rolls; rollback").unwrap();
    // Leaving WAL mode needs the whole file. Every connection of the server holds a shared lock on
    // it, which is gone if the server closes another handle of the file.
    let mode = outside.query_row("pragma journal_mode = delete", [], |row| row.get::<_, String>(0));
    let error = mode.expect_err("the server has the file open").to_string();
    assert!(error.contains("locked"), "{error}");
    server.stop();
    let mode = outside.query_row("pragma journal_mode = delete", [], |row| row.get::<_, String>(0));
    assert_eq!(mode.unwrap(), "delete", "control: no server");
}

#[test]
fn check_sees_a_server_under_every_name_and_takes_no_lock() {
    let instance = Instance::new("every = '1h'");
    let mut server = instance.start();
    let link = hard_link(&instance);
    let lock = instance.path().join("rolls.db-lock");
    // Opening a pipe that nobody writes to would block.
    fs::remove_file(&lock).unwrap();
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let check = |path: &Path| {
        let mut command = instance.command();
        command.env("ROCKET_ROLLCAST", format!("{{database=\"{}\"}}", path.display()));
        let mut check = command.arg("check").stdout(Stdio::piped()).spawn().unwrap();
        let ended = wait_for("the check", || check.try_wait().unwrap());
        let text = std::io::read_to_string(check.stdout.take().unwrap()).unwrap();
        (ended.code(), text.contains("a server is running on it"))
    };
    assert_eq!(check(&instance.database()), (Some(0), true));
    assert_eq!(check(&link), (Some(0), true));
    server.stop();
    assert_eq!(check(&instance.database()), (Some(0), false));
}
