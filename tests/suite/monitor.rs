//! `rollcast monitor`: a real server, and logs that are rewritten.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::log_server::{
    Log, LogServer, get, honest, server_with_log, vector_leaves, vectors,
};
use crate::common::{Instance, run, signal, wait_for};

const STATE: &str = "log.monitor";

/// Runs the monitor once.
fn once(instance: &Instance, url: &str, options: &[&str]) -> (i32, String, String) {
    let arguments = ["monitor", url, "--state", STATE, "--once"];
    run(instance.command().args(arguments).args(options))
}

/// A monitor that runs until it is stopped.
fn start(instance: &Instance, url: &str, options: &[&str]) -> Child {
    let arguments = ["monitor", url, "--state", STATE, "--every", "100ms"];
    let mut command = instance.command();
    command.args(arguments).args(options).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The exit code and standard error of a monitor that has ended by itself.
fn end(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The size in the state's checkpoint; `None` without a state.
fn known(instance: &Instance) -> Option<usize> {
    let state = fs::read_to_string(instance.path().join(STATE)).ok()?;
    state.split("\n\n").nth(1)?.lines().nth(1)?.parse().ok()
}

fn wait_until_known(instance: &Instance, size: usize) {
    wait_for(&format!("{size} rolls in the state"), || {
        known(instance).is_some_and(|known| known >= size).then_some(())
    });
}

/// The names of the checkpoints that were saved beside the state.
fn kept(instance: &Instance) -> Vec<String> {
    let names = fs::read_dir(instance.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let prefix = format!("{STATE}.");
    // The list of checkpoints that are not verified yet is no evidence by itself.
    let is_kept =
        |name: &String| name.starts_with(&prefix) && *name != format!("{prefix}unverified");
    let mut kept: Vec<String> = names.filter(is_kept).collect();
    kept.sort();
    kept
}

/// Asserts that the old and the new checkpoint are saved, and that the error names their files.
fn assert_both_are_kept(instance: &Instance, notes: [&str; 2], stderr: &str) {
    let kept = kept(instance);
    assert_eq!(kept.len(), 2, "{stderr}");
    let texts: Vec<String> =
        kept.iter().map(|name| fs::read_to_string(instance.path().join(name)).unwrap()).collect();
    for note in notes {
        assert!(texts.iter().any(|text| text == note), "{note} is not in {kept:?}");
    }
    assert!(kept.iter().all(|name| stderr.contains(name.as_str())), "{kept:?}: {stderr}");
}

/// A server with these leaves, which the monitor has verified, and its checkpoint.
fn followed(instance: &Instance, leaves: &[String]) -> (LogServer, String) {
    let log = Log::new(leaves);
    let note = log.checkpoint();
    let server = LogServer::new(log);
    let (code, stdout, stderr) = once(instance, &server.url("/"), &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let begun = format!("rolls 1 to {}; the state is in `", leaves.len());
    assert!(stdout.contains(&begun) && stdout.contains(STATE), "{stdout}");
    assert_eq!(known(instance), Some(leaves.len()));
    (server, note)
}

/// The leaves of the test vectors, but roll `id` is another one, without a seed.
fn forked(id: usize) -> Vec<String> {
    let mut leaves = vector_leaves();
    leaves[id - 1] = format!("rollcast/v1 {id} - - -");
    leaves
}

fn origin(key: &str) -> &str {
    key.split('+').next().unwrap()
}

#[test]
fn a_real_log_is_followed_across_a_restart_of_the_server_and_of_the_monitor() {
    let (instance, mut server, key) = server_with_log(300);
    let url = instance.url("/");
    let n_first = instance.stored().len();
    let monitor = start(&instance, &url, &["--key", &key]);
    wait_until_known(&instance, n_first);
    // The monitor retries during the outage.
    server.stop();
    instance.configure("every = '10ms'");
    server = instance.start();
    wait_until_known(&instance, n_first + 100);
    signal("TERM", monitor.id());
    let (code, stderr) = end(monitor);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(kept(&instance), [""; 0]);
    // The key is known from the state.
    let before = known(&instance).unwrap();
    let monitor = start(&instance, &url, &[]);
    wait_until_known(&instance, before + 50);
    signal("INT", monitor.id());
    let (code, stderr) = end(monitor);
    assert_eq!((code, stderr.as_str()), (0, ""));
    // A new secret is an alarm, until somebody removes the state file.
    server.stop();
    instance.rekey();
    let _server = instance.start();
    let new = wait_for("a new checkpoint", || {
        get(&instance.url("/checkpoint")).filter(|note| !note.starts_with(origin(&key)))
    });
    let (code, _, stderr) = once(&instance, &url, &[]);
    assert_eq!(code, 1, "{stderr}");
    let alarm = format!(
        "break: another key signs the log (expected `{}`, got `{}`); if the operator announced \
         it, remove the state file `",
        origin(&key),
        new.lines().next().unwrap()
    );
    assert!(stderr.contains(&alarm), "expected `{alarm}` in {stderr}");
    fs::remove_file(instance.path().join(STATE)).unwrap();
    assert_eq!(once(&instance, &url, &[]).0, 0);
}

#[test]
fn new_rolls_continue_the_log_and_an_unchanged_one_stays_known() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    // Before the break at roll 301; within and at the end of tiles.
    let (server, _) = followed(&instance, &leaves[..1]);
    for size in [2, 255, 256, 257, 300] {
        server.change(|log| log.leaves = leaves[..size].to_vec());
        for n in 0..2 {
            let (code, stdout, stderr) = once(&instance, &server.url("/"), &[]);
            assert_eq!((code, stderr.as_str()), (0, ""), "{size}");
            assert_eq!(stdout.contains("continue the log"), n == 0, "{size}: {stdout}");
            assert_eq!(known(&instance), Some(size));
        }
    }
    // The monitor reads only from the tile of the first new leaf on.
    let paths: Vec<_> = server.server().requests().into_iter().map(|it| it.path).collect();
    let grown = paths.iter().rposition(|path| path == "/tile/entries/001.p/44").unwrap();
    assert_eq!(paths[grown - 2..grown], ["/checkpoint", "/tile/1/000.p/1"]);
    // A monitor that starts later verifies the whole history, also across a break.
    let other = Instance::new("");
    let (_server, _) = followed(&other, &leaves);
}

#[test]
fn new_rolls_without_a_seed_are_counted() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let (server, _) = followed(&instance, &leaves[..280]);
    let mut grown = leaves[..285].to_vec();
    for id in 283..=285 {
        grown[id - 1] = format!("rollcast/v1 {id} - - -");
    }
    server.change(|log| log.leaves = grown);
    let (code, stdout, stderr) = once(&instance, &server.url("/"), &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let expected = "rolls 281 to 285 continue the log; 3 of them have no seed";
    assert!(stdout.contains(expected), "{stdout}");
}

#[test]
fn a_fork_is_an_alarm_that_keeps_both_checkpoints() {
    let leaves = vector_leaves();
    // The known size, the id of the changed roll, and the size of the other tree.
    for (size, id, other_size) in [(300, 295, 300), (298, 295, 300), (256, 3, 520), (280, 1, 281)] {
        let instance = Instance::new("");
        let (server, note) = followed(&instance, &leaves[..size]);
        server.change(|log| log.leaves = forked(id)[..other_size].to_vec());
        let mut other = String::new();
        server.change(|log| other = log.checkpoint());
        for _ in 0..2 {
            let (code, _, stderr) = once(&instance, &server.url("/"), &[]);
            assert_eq!(code, 1, "{size} {id} {other_size}: {stderr}");
            assert!(stderr.contains("fork: the checkpoints of"), "{stderr}");
            assert_both_are_kept(&instance, [&note, &other], &stderr);
            assert_eq!(known(&instance), Some(size), "the state stays");
        }
    }
}

#[test]
fn a_shorter_fork_is_noticed_at_once_by_a_monitor_that_read_the_leaves() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let (server, _) = followed(&instance, &leaves[..280]);
    let monitor = start(&instance, &server.url("/"), &[]);
    server.change(|log| log.leaves = leaves[..300].to_vec());
    wait_until_known(&instance, 300);
    server.change(|log| log.leaves = forked(295)[..297].to_vec());
    let (code, stderr) = end(monitor);
    assert_eq!(code, 1);
    let fork = "fork: the checkpoints of 300 and of 297 rolls are both signed and contradict";
    assert!(stderr.contains(fork), "{stderr}");
    assert!(!stderr.contains("older checkpoint"), "{stderr}");
}

/// A server that answers with this checkpoint, and whose other answers are empty.
fn withhold(server: &LogServer, note: &str) {
    let note = note.as_bytes().to_vec();
    server.change(|log| {
        log.falsify = Box::new(move |path, body| match path {
            "/checkpoint" => body.clone_from(&note),
            "/api/proof" => {}
            _ => body.clear(),
        });
    });
}

#[test]
fn a_signed_fork_is_not_forgotten_although_its_leaves_are_withheld() {
    let leaves = vector_leaves();
    let honest_note = Log::new(&leaves[..300]).checkpoint();
    // The fork has the size of the honest checkpoint, or is known to be one once the log has grown.
    for (known_size, fork_size) in [(None, 300), (Some(280), 300), (Some(280), 297)] {
        let instance = Instance::new("");
        let server = LogServer::new(Log::new(&leaves[..known_size.unwrap_or(300)]));
        if known_size.is_some() {
            assert_eq!(once(&instance, &server.url("/"), &[]).0, 0);
        }
        server.change(|log| log.leaves = leaves[..300].to_vec());
        let fork = Log::new(&forked(295)[..fork_size]).checkpoint();
        withhold(&server, &fork);
        let (code, _, stderr) = once(&instance, &server.url("/"), &[]);
        assert_eq!(code, 1);
        assert!(!stderr.contains("fork: "), "{known_size:?}: {stderr}");
        server.change(|log| log.falsify = honest());
        for _ in 0..2 {
            let (code, _, stderr) = once(&instance, &server.url("/"), &[]);
            assert_eq!(code, 1, "{known_size:?}: {stderr}");
            assert!(stderr.contains("fork: the checkpoints of "), "{stderr}");
            assert_both_are_kept(&instance, [&fork, &honest_note], &stderr);
        }
    }
    // A checkpoint of the same log is forgotten once it is verified.
    let instance = Instance::new("");
    let (server, _) = followed(&instance, &leaves[..280]);
    server.change(|log| log.leaves = leaves[..300].to_vec());
    withhold(&server, &Log::new(&leaves[..290]).checkpoint());
    assert_eq!(once(&instance, &server.url("/"), &[]).0, 1);
    let unverified = instance.path().join(format!("{STATE}.unverified"));
    assert!(unverified.exists());
    server.change(|log| log.falsify = honest());
    assert_eq!(once(&instance, &server.url("/"), &[]).0, 0);
    assert!(!unverified.exists() && known(&instance) == Some(300));
}

#[test]
fn an_older_fork_is_noticed_by_the_hashes_of_the_known_log() {
    let leaves = vector_leaves();
    for (size, id) in [(280, 270), (200, 100), (1, 1)] {
        let instance = Instance::new("");
        let (server, note) = followed(&instance, &leaves[..300]);
        let fork = Log::new(&forked(id)[..size]).checkpoint();
        let shown = fork.clone().into_bytes();
        server.change(|log| {
            log.falsify = Box::new(move |path, body| {
                if path == "/checkpoint" {
                    body.clone_from(&shown);
                }
            });
        });
        let (code, stderr) = end(start(&instance, &server.url("/"), &[]));
        assert_eq!(code, 1, "{stderr}");
        let expected = format!("fork: the checkpoints of 300 and of {size} rolls");
        assert!(stderr.contains(&expected), "{stderr}");
        assert_both_are_kept(&instance, [&note, &fork], &stderr);
    }
}

#[test]
fn hashes_are_never_pruned_and_the_checkpoint_of_pruned_leaves_is_kept() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let (server, note) = followed(&instance, &leaves[..280]);
    server.change(|log| {
        log.leaves = leaves[..300].to_vec();
        log.gone_once = Some("/tile/1/000.p/1");
    });
    let (code, _, stderr) = once(&instance, &server.url("/"), &[]);
    assert_eq!(code, 1);
    let expected = "claims that it deleted hashes of the tree, which are kept for ever";
    assert!(stderr.contains(expected) && !stderr.contains("pruned by now"), "{stderr}");
    assert_eq!(kept(&instance), [""; 0]);
    server.change(|log| log.gone_once = Some("/tile/entries/001.p/44"));
    let mut grown = String::new();
    server.change(|log| grown = log.checkpoint());
    let (code, _, stderr) = once(&instance, &server.url("/"), &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("rolls after 280 are pruned by now"), "{stderr}");
    assert_both_are_kept(&instance, [&note, &grown], &stderr);
}

#[test]
fn a_first_run_that_refuses_the_log_keeps_its_checkpoint() {
    let instance = Instance::new("");
    let mut leaves = vector_leaves()[..50].to_vec();
    leaves.swap(40, 41);
    let log = Log::new(&leaves);
    let note = log.checkpoint();
    let (code, _, stderr) = once(&instance, &LogServer::new(log).url("/"), &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("refused: line 41 is roll 42"), "{stderr}");
    let [name] = &kept(&instance)[..] else { panic!("expected one checkpoint: {stderr}") };
    assert_eq!(fs::read_to_string(instance.path().join(name)).unwrap(), note);
    assert!(stderr.contains(name.as_str()) && known(&instance).is_none(), "{stderr}");
}

#[test]
fn a_log_that_stays_shorter_is_a_rollback_and_an_old_checkpoint_from_a_cache_is_not() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let (server, note) = followed(&instance, &leaves[..300]);
    // Every other checkpoint is from a cache.
    let old = Log::new(&leaves[..280]).checkpoint();
    let (cached, n_requests) = (old.clone(), std::sync::atomic::AtomicUsize::new(0));
    server.change(|log| {
        log.falsify = Box::new(move |path, body| {
            // The monitor also asks for hashes, to compare the older checkpoint.
            if path != "/checkpoint" {
                return;
            }
            let n = n_requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if n % 2 == 1 {
                *body = cached.clone().into_bytes();
            }
        });
    });
    let n_before = server.server().requests().len();
    let monitor = start(&instance, &server.url("/"), &[]);
    server.server().wait_for_requests(n_before + 20);
    signal("TERM", monitor.id());
    let (code, stderr) = end(monitor);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("an older checkpoint, of 280 rolls"), "{stderr}");

    server.change(|log| {
        log.falsify = honest();
        log.leaves = leaves[..280].to_vec();
    });
    let (code, stderr) = end(start(&instance, &server.url("/"), &[]));
    assert_eq!(code, 1);
    assert!(stderr.contains("rollback: the log had 300 rolls and has 280"), "{stderr}");
    assert_both_are_kept(&instance, [&note, &old], &stderr);
}

#[test]
fn a_break_another_key_and_false_rolls_are_alarms() {
    let leaves = vector_leaves();
    let old = &leaves[..290];
    let alarm = |what: &str, change: Box<dyn FnOnce(&mut Log)>, expected: &str| {
        let instance = Instance::new("");
        let (server, note) = followed(&instance, old);
        let mut other = String::new();
        server.change(change);
        server.change(|log| other = log.checkpoint());
        let (code, _, stderr) = once(&instance, &server.url("/"), &[]);
        assert_eq!(code, 1, "{what}: {stderr}");
        assert!(stderr.contains(expected), "{what}: expected `{expected}` in {stderr}");
        assert_both_are_kept(&instance, [&note, &other], &stderr);
        assert_eq!(known(&instance), Some(old.len()), "{what}");
    };
    let grown = leaves.clone();
    alarm(
        "a break",
        Box::new(move |log| log.leaves = grown),
        "break: nobody announced the chain that begins with roll 301",
    );
    let grown = leaves[..300].to_vec();
    alarm(
        "another key",
        Box::new(move |log| {
            log.leaves = grown;
            log.secret = "B";
        }),
        "break: another key signs the log (the checkpoint has no valid signature by this key); if",
    );
    alarm(
        "another key that signs the same tree",
        Box::new(|log| log.secret = "B"),
        "break: another key signs the log (the checkpoint has no valid signature by this key); if",
    );
    let mut grown = leaves[..300].to_vec();
    let other_die = grown[294].split(':').next_back().unwrap().split('}').next().unwrap();
    let face = if other_die == "1" { ":2}" } else { ":1}" };
    grown[294] = grown[294].replacen(&format!(":{other_die}}}"), face, 1);
    alarm("a die", Box::new(move |log| log.leaves = grown), "roll 295: expected 1D6 = ");
    let mut grown = leaves[..300].to_vec();
    grown.swap(293, 294);
    alarm("swapped", Box::new(move |log| log.leaves = grown), "line 294 is roll 295");
}

#[test]
fn leaves_that_the_server_has_not_signed_are_an_outage() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let (server, _) = followed(&instance, &leaves[..280]);
    // The leaves do not have the signed root, so somebody without the key may have changed them.
    let changed_at = leaves[299].len() - 20;
    server.change(|log| {
        log.leaves = leaves[..300].to_vec();
        log.falsify = Box::new(move |path, body| {
            if path.starts_with("/tile/entries/001") {
                let at = body.len() - changed_at;
                body[at] ^= 1;
            }
        });
    });
    let (code, _, stderr) = once(&instance, &server.url("/"), &[]);
    assert_eq!(code, 1);
    let expected = "the server sent other leaves than it signed: line 300: expected a line of";
    assert!(stderr.contains(expected), "{stderr}");
    let monitor = start(&instance, &server.url("/"), &[]);
    let n_before = server.server().requests().len();
    server.server().wait_for_requests(n_before + 4);
    server.change(|log| log.falsify = honest());
    wait_until_known(&instance, 300);
    signal("TERM", monitor.id());
    let (code, stderr) = end(monitor);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains(expected) && stderr.contains("trying again"), "{stderr}");
    assert_eq!(kept(&instance), [""; 0]);
    // Nor does the first run blame the log.
    let other = Instance::new("");
    server.change(|log| {
        log.falsify = Box::new(|path, body| {
            if path.starts_with("/tile/entries/000") {
                body[2] ^= 1;
            }
        });
    });
    let (code, _, stderr) = once(&other, &server.url("/"), &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("the server sent other leaves than it signed: line 1: "), "{stderr}");
    assert!(!stderr.contains("refused"), "{stderr}");
}

#[test]
fn a_log_without_new_rolls_is_stale_after_the_given_time() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let (server, _) = followed(&instance, &leaves[..280]);
    let (code, stderr) = end(start(&instance, &server.url("/"), &["--stale", "1s"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("stale: there was no new checkpoint for 1 s"), "{stderr}");
    // The log is also stale if the server does not answer at all.
    server.change(|log| log.is_up = false);
    let (code, stderr) = end(start(&instance, &server.url("/"), &["--stale", "1s"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("trying again") && stderr.contains("stale: "), "{stderr}");
    assert_eq!(kept(&instance), [""; 0]);
}

#[test]
fn a_log_whose_tiles_never_end_is_stale_too() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let (server, _) = followed(&instance, &leaves[..280]);
    server.change(|log| (log.leaves, log.drips) = (leaves[..300].to_vec(), Some("/tile/")));
    let started = Instant::now();
    let (code, stderr) = end(start(&instance, &server.url("/"), &["--stale", "1s"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("stale: there was no new checkpoint for 1 s"), "{stderr}");
    // The last round may take 5 s. A response body alone once had 30 s.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_monitor_that_cannot_continue_says_why() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let (server, _) = followed(&instance, &leaves[..280]);
    let url = server.url("/");
    // By now the tile of roll 280 is pruned.
    server.change(|log| (log.leaves, log.oldest) = (leaves[..520].to_vec(), 513));
    let (code, _, stderr) = once(&instance, &url, &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("rolls after 280 are pruned by now"), "{stderr}");
    // Without a state, the monitor exits at once if the address is wrong.
    let (code, _, stderr) =
        run(instance.command().args(["monitor", &instance.url("/"), "--state", "x"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot reach"), "{stderr}");
    let other_key = vectors()["keys"]["B"]["vkey"].as_str().unwrap().to_owned();
    fs::write(instance.path().join("broken"), "rollcast monitor v1\n").unwrap();
    for (options, expected) in [
        (vec!["--state", STATE, "--key", &other_key], "the state is of the log"),
        (vec!["--state", "broken"], "expected the state of a monitor"),
        (vec!["--state", "no/such/folder"], "no such folder"),
        (vec!["--once", "--stale", "1s"], "cannot be used with"),
        (vec!["--every", "1ms"], "expected a time of 100ms to 1h"),
    ] {
        let (code, _, stderr) = run(instance.command().args(["monitor", &url]).args(&options));
        assert_eq!(code, 2, "{options:?}: {stderr}");
        assert!(stderr.contains(expected), "{options:?}: {stderr}");
    }
}
