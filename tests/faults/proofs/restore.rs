//! An older backup is put back. A server that went on from it would sign a second history.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rollcast::log::Break;
use rollcast::roll::RollId;

use crate::common::log_reader::{checkpoint_of, key, leaves, roots};
use crate::common::log_server::server_with_log;
use crate::common::{Instance, Server, run};

const SECRET: &str = "rolls.secret";
const CHECKPOINT: &str = "rolls.secret.checkpoint";

fn read(instance: &Instance, name: &str) -> String {
    let path = instance.path().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Puts a copy of the database in its place, while no server runs.
fn put_back(instance: &Instance, copy: &str) {
    fs::copy(instance.path().join(copy), instance.database()).unwrap();
    for log in ["rolls.db-wal", "rolls.db-shm"] {
        let _ = fs::remove_file(instance.path().join(log));
    }
}

/// The last line of a start that is refused.
fn refusal(instance: &Instance) -> String {
    let files = [SECRET, CHECKPOINT].map(|name| fs::read(instance.path().join(name)).ok());
    let mut server = Server::spawn(&mut instance.command());
    assert_eq!(server.wait().code(), Some(1), "{:#?}", server.log());
    let after = [SECRET, CHECKPOINT].map(|name| fs::read(instance.path().join(name)).ok());
    assert!(files == after, "a refused start changed a file");
    server.log().last().unwrap().clone()
}

fn command(instance: &Instance, arguments: &[&str]) -> (i32, String, String) {
    run(instance.command().args(arguments))
}

/// Makes one roll and signs it. Returns how many rolls there are.
fn start_and_stop(instance: &Instance) -> u64 {
    let n_before = instance.stored().len() as u64;
    let mut server = instance.start();
    let size = checkpoint_of(instance, n_before + 1).size;
    server.stop();
    size
}

#[test]
fn an_older_backup_is_refused_until_the_newer_database_is_back_or_the_log_has_a_new_key() {
    let (instance, mut server, old_key) = server_with_log(300);
    let n_old = checkpoint_of(&instance, 300).size;
    assert_eq!(command(&instance, &["backup", "older.db"]).0, 0);
    // A running server keeps its secret.
    let (code, _, stderr) = command(&instance, &["rekey"]);
    assert!(code == 1 && stderr.contains("in use"), "{code}: {stderr}");
    server.stop();
    start_and_stop(&instance);
    let n_new = start_and_stop(&instance);
    assert_eq!(n_new, n_old + 2);
    assert_eq!(command(&instance, &["backup", "newer.db"]).0, 0);

    put_back(&instance, "older.db");
    let message = refusal(&instance);
    for part in [
        &format!("{n_new} rolls were signed, the database has {n_old};"),
        "put the newer database back",
        "begin a new chain with `rollcast rekey`",
    ] {
        assert!(message.contains(part), "expected `{part}` in {message}");
    }
    let (code, _, stderr) = command(&instance, &["check"]);
    assert!(code == 1 && stderr.contains("put the newer database back"), "{code}: {stderr}");
    // The first remedy.
    put_back(&instance, "newer.db");
    assert_eq!(command(&instance, &["check"]).0, 0);
    let n_newest = start_and_stop(&instance);
    assert_eq!(n_newest, n_new + 1);

    // The second one.
    put_back(&instance, "older.db");
    refusal(&instance);
    let (secret, checkpoint) = (read(&instance, SECRET), read(&instance, CHECKPOINT));
    let (code, stdout, stderr) = command(&instance, &["rekey"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let old = format!("{SECRET}.until-{n_old}");
    assert!(stdout.contains(&old), "{stdout}");
    assert_eq!(read(&instance, &old), secret);
    assert_eq!(read(&instance, &format!("{old}.checkpoint")), checkpoint);
    assert_ne!(read(&instance, SECRET), secret);
    for name in [SECRET, &old] {
        let mode = fs::metadata(instance.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mut server = instance.start();
    let size = checkpoint_of(&instance, n_old + 1).size;
    let new_key = key(&instance).to_string();
    assert_ne!(new_key, old_key);
    assert!(stdout.contains(&new_key), "{stdout}");
    let (_, held) = roots(&leaves(&instance, size));
    assert_eq!(held.breaks, [Break(RollId(n_old as i64 + 1))]);
    assert_eq!((held.n_proven, held.n_unproven), (size, 0));
    let verify = |key: &str| command(&instance, &["verify", &instance.url("/"), "--key", key]);
    let (code, stdout, stderr) = verify(&new_key);
    assert_eq!(code, 0, "{stderr}");
    let broken = format!("nobody announced the chain that begins with roll {}", n_old + 1);
    assert!(stdout.contains(&broken), "{stdout}");
    let (code, _, stderr) = verify(&old_key);
    assert_eq!(code, 1, "the old key still verifies: {stderr}");
    server.stop();
    start_and_stop(&instance);
    assert_eq!(command(&instance, &["check"]).0, 0);
}

#[test]
fn a_new_secret_that_was_interrupted_is_completed_by_the_same_command() {
    let (instance, mut server, _) = server_with_log(10);
    server.stop();
    let n_rolls = instance.stored().len() as u64;
    let secret = instance.path().join(SECRET);
    // A kill after the old secret has its other name: its checkpoint stays.
    let checkpoint = read(&instance, CHECKPOINT);
    let old = format!("{SECRET}.until-{n_rolls}");
    fs::rename(&secret, instance.path().join(&old)).unwrap();
    assert!(refusal(&instance).contains("does not exist"));
    assert_eq!(command(&instance, &["rekey"]).0, 0);
    assert_eq!(read(&instance, &format!("{old}-2.checkpoint")), checkpoint);
    assert!(!instance.path().join(CHECKPOINT).exists());
    // A kill before there is a new secret.
    fs::remove_file(&secret).unwrap();
    assert!(refusal(&instance).contains("rollcast rekey"));
    assert_eq!(command(&instance, &["rekey"]).0, 0);
    // A second new secret without a roll in between: all are kept.
    let second = read(&instance, SECRET);
    let (code, stdout, stderr) = command(&instance, &["rekey"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(read(&instance, &format!("{old}-3")), second, "{stdout}");
    let mut server = instance.start();
    let size = checkpoint_of(&instance, n_rolls + 1).size;
    let (_, held) = roots(&leaves(&instance, size));
    assert_eq!(held.breaks, [Break(RollId(n_rolls as i64 + 1))]);
    server.stop();
}

#[test]
fn a_secret_without_its_checkpoint_is_reported_unless_it_is_new() {
    let missing = "the newest checkpoint is missing";
    let reports = |instance: &Instance| {
        let mut server = instance.start();
        server.stop();
        server.log().iter().any(|line| line.contains(missing))
    };
    // The first start, the next one before any roll, and one with a new secret.
    let instance = Instance::new("every = '1h'");
    assert!(!reports(&instance) && !reports(&instance), "control");
    let (instance, mut server, _) = server_with_log(10);
    server.stop();
    assert_eq!(command(&instance, &["rekey"]).0, 0);
    assert!(!reports(&instance), "control");
    // The disk is lost, and only the secret is put back.
    for name in ["rolls.db", "rolls.db-lock", CHECKPOINT] {
        let _ = fs::remove_file(instance.path().join(name));
    }
    assert!(reports(&instance), "a second log with one secret");
}
