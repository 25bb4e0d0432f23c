//! `rollcast verify`: a real server, proofs and histories in files, and logs with one falsified
//! part.

use std::fs;
use std::time::{Duration, Instant};

use rollcast::log::{Leaf, SigningKey, entry};
use rollcast::seeds::{Seed, sha256};
use rollcast::text::hex;

use crate::common::falsified::{falsified, falsified_by_the_key, later};
use crate::common::log_server::{
    Falsify, Log, LogServer, falsifying_proxy, get, honest, server_with_log, signing_key,
    vector_leaves,
};
use crate::common::replies::{Replies, reply};
use crate::common::{Instance, run, wait_for};

fn verify(instance: &Instance, arguments: &[&str]) -> (i32, String, String) {
    run(instance.command().arg("verify").args(arguments))
}

fn vkey(key: &SigningKey) -> String {
    key.verifier().to_string()
}

/// Applies `change` to the answers of one path.
fn at(path: &'static str, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Falsify {
    Box::new(move |requested, body| {
        if requested.split(".p/").next() == Some(path) {
            change(body);
        }
    })
}

/// Replaces the first occurrence of a text in the answers of one path.
fn replace(path: &'static str, from: String, to: String) -> Falsify {
    at(path, move |body| {
        let place = body.windows(from.len()).position(|window| window == from.as_bytes());
        let place = place.unwrap_or_else(|| panic!("`{from}` is not in {path}"));
        body.splice(place..place + from.len(), to.bytes());
    })
}

#[test]
fn the_history_of_a_server_is_verified_and_every_falsified_answer_is_refused() {
    let (instance, _server, key) = server_with_log(600);
    let stored = instance.stored();
    let (url, n_rolls) = (instance.url("/"), stored.len());
    let (code, stdout, stderr) = verify(&instance, &[&url, "--key", &key]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let expected = format!(
        "rolls 1 to {n_rolls}: all are in the signed log; the dice of {n_rolls} follow from their \
         seeds"
    );
    assert!(stdout.contains(&expected), "{stdout}");
    let root = get(&instance.url("/checkpoint")).unwrap().lines().nth(2).unwrap().to_owned();
    assert!(stdout.contains(&root) && stdout.contains(&key), "{stdout}");
    // Without a key, the command prints the key that it uses, and that this proves less.
    let (code, stdout, stderr) = verify(&instance, &[&url]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stderr.contains(&key) && stderr.contains("a server can name any key"), "{stderr}");

    let entries = "/tile/entries/000";
    let other = Instance::new("every = '1h'");
    let _other = other.start();
    let foreign = wait_for("a checkpoint", || get(&other.url("/checkpoint")));
    let note = get(&instance.url("/checkpoint")).unwrap();
    let origin = note.lines().next().unwrap().to_owned();
    let signature = note.trim_end().rsplit(' ').next().unwrap().to_owned();
    let changed = |text: &str, at: usize| {
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    };
    // The first of two dice of the second roll.
    let dice = &stored[1].2;
    let face = dice[dice.find(':').unwrap() + 1..].split(',').next().unwrap();
    let other_dice =
        dice.replacen(&format!(":{face},"), if face == "1" { ":2," } else { ":1," }, 1);
    let time = &stored[1].1;
    let other_time = later(time);
    let checkpoint = "/checkpoint";
    let swap = at(entries, |body| {
        let len = |at: usize| 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        let first = len(0);
        let second = len(first);
        body[..first + second].rotate_left(first);
    });
    let drop_last = at("/tile/entries/002", |body| {
        body.truncate(body.len() - 100);
    });
    let falsified: Vec<(&str, Falsify, &str)> = vec![
        ("nothing", honest(), ""),
        ("a die", replace(entries, dice.clone(), other_dice), "roll 2: expected 1D"),
        ("a time", replace(entries, time.clone(), other_time), "another root than the signed one"),
        ("swapped leaves", swap, "line 1 is roll 2, expected roll 1"),
        (
            "a spelling",
            replace(entries, dice.clone(), dice.replacen(':', ": ", 1)),
            "not 256 leaves",
        ),
        ("a cut bundle", drop_last, "that are not"),
        (
            "a version",
            replace(entries, "/v1 2 ".into(), "/v2 2 ".into()),
            "line 2: expected a line of a roll",
        ),
        ("the root", replace(checkpoint, root.clone(), changed(&root, 9)), "no valid signature"),
        (
            "the size",
            replace(checkpoint, format!("\n{n_rolls}\n"), "\n600\n".into()),
            "no valid signature",
        ),
        (
            "the signature",
            replace(checkpoint, signature.clone(), changed(&signature, 40)),
            "no valid signature",
        ),
        (
            "the origin",
            replace(checkpoint, origin.clone(), "x.example".into()),
            "the checkpoint is from the log `x.example`",
        ),
        (
            "another log's checkpoint",
            at(checkpoint, move |body| *body = foreign.clone().into()),
            "the checkpoint is from the log `rollcast/",
        ),
        ("no checkpoint", at(checkpoint, Vec::clear), "the checkpoint is malformed"),
        (
            "a huge checkpoint",
            at(checkpoint, |body| body.resize(1 << 20, b'x')),
            "more than 65536 bytes",
        ),
        ("a huge bundle", at(entries, |body| body.resize(1 << 20, 0)), "more than"),
        ("a control character", replace(entries, "/v1 2 ".into(), "/v1\x1b2 ".into()), "\\u{1b}"),
        (
            "the oldest roll",
            replace("/api/proof", "\"oldest\":1".into(), "\"oldest\":2".into()),
            "an oldest roll 2 within a tile",
        ),
        (
            "no roll kept",
            replace("/api/proof", "\"oldest\":1".into(), "\"oldest\":1025".into()),
            "keeps no roll",
        ),
        ("pruned rolls", replace("/api/proof", "\"oldest\":1".into(), "\"oldest\":257".into()), ""),
    ];
    for (what, falsify, refused_for) in falsified {
        let proxy = falsifying_proxy(instance.url(""), falsify);
        let (code, stdout, stderr) = verify(&instance, &[&proxy.url("/"), "--key", &key]);
        let expected = if refused_for.is_empty() { 0 } else { 1 };
        assert_eq!(code, expected, "{what}: {stdout}{stderr}");
        assert!(stderr.contains(refused_for), "{what}: expected `{refused_for}` in {stderr}");
        assert!(!stderr.contains('\x1b'), "{what}");
        if what == "pruned rolls" {
            assert!(stdout.contains("rolls 1 to 256 are pruned"), "{stdout}");
        }
    }
}

#[test]
fn a_roll_of_a_server_or_in_a_file_is_verified_and_every_falsified_proof_is_refused() {
    let (instance, _server, key) = server_with_log(60);
    let proof = |id: i64| get(&instance.url(&format!("/rolls/{id}/proof"))).unwrap();
    let stored = &instance.stored()[40];
    let url = instance.url("/rolls/41");
    let (code, stdout, stderr) = verify(&instance, &[&url, "--key", &key]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    for part in [&stored.1, &stored.2, "leads back to that of roll 1, made at "] {
        assert!(stdout.contains(part), "expected `{part}` in {stdout}");
    }
    assert_eq!(verify(&instance, &[&instance.url("/"), "--roll", "41", "--key", &key]).0, 0);

    let path = instance.path().join("roll.proof");
    let file = path.to_str().unwrap();
    fs::write(&path, proof(41)).unwrap();
    let (code, stdout, _) = verify(&instance, &[file, "--key", &key]);
    assert_eq!(code, 0);
    assert!(stdout.contains("not checked"), "{stdout}");
    // Earlier seeds that were public before the roll.
    let seed = |id: i64| leaf(&proof(id)).seed().unwrap();
    let anchor = hex(&sha256(&seed(1).0));
    for (known, expected) in [
        (format!("40:{}", seed(40)), 0),
        (format!("1:{}", seed(1)), 0),
        (format!("0:{anchor}"), 0),
        (format!("40:{}", seed(39)), 1),
        // These are not earlier: the seed of roll 41 leads back to itself.
        (format!("41:{}", seed(41)), 2),
        (format!("42:{}", seed(42)), 2),
    ] {
        let (code, _, stderr) = verify(&instance, &[file, "--key", &key, "--seed", &known]);
        assert_eq!(code, expected, "{known}: {stderr}");
        assert_eq!(stderr.contains("does not lead back to the known one"), code == 1, "{stderr}");
        assert_eq!(stderr.contains("--seed needs a roll before roll 41"), code == 2, "{stderr}");
    }
    let (code, _, stderr) = verify(&instance, &[file, "--key", &key, "--roll", "42"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("the proof is of roll 41, expected roll 42"), "{stderr}");
    // A server that answers with another roll.
    let another = proof(40).into_bytes();
    let falsify = at("/rolls/41/proof", move |body| body.clone_from(&another));
    let proxy = falsifying_proxy(instance.url(""), falsify);
    let (code, _, stderr) = verify(&instance, &[&proxy.url("/rolls/41"), "--key", &key]);
    assert_eq!(code, 1);
    assert!(stderr.contains("the proof is of roll 40, expected roll 41"), "{stderr}");

    let other = Instance::new("every = '2ms'");
    let _other = other.start();
    let foreign = wait_for("roll 41", || get(&other.url("/rolls/41/proof")));
    for change in falsified(&proof(41), &proof(42), &foreign) {
        fs::write(&path, &change.proof).unwrap();
        let (code, _, stderr) = verify(&instance, &[file, "--key", &key]);
        assert_eq!(code, 1, "{}: {stderr}", change.what);
        assert!(stderr.contains(change.refused_for), "{}: {stderr}", change.what);
    }
}

#[test]
fn a_proof_that_its_own_key_falsified_is_refused() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    let file = instance.path().join("roll.proof");
    for change in falsified_by_the_key() {
        fs::write(&file, &change.proof).unwrap();
        let (code, stdout, stderr) = verify(&instance, &["roll.proof", "--key", &key]);
        let expected = i32::from(!change.refused_for.is_empty());
        assert_eq!(code, expected, "{}: {stdout}{stderr}", change.what);
        assert!(stderr.contains(change.refused_for), "{}: {stderr}", change.what);
    }
}

/// A line of a roll with a seed of the operator's choice, and the announced anchor if any.
fn chosen(id: i64, seed: Seed, next: Option<Seed>) -> String {
    let die = "1D6".parse().unwrap();
    let face = rollcast::draw::result(&seed.key(), rollcast::roll::RollId(id), die, None).result;
    let next = next.map(|next| format!(" {next}")).unwrap_or_default();
    format!("rollcast/v1 {id} 2026-11-24T00:00:00.000Z {{\"1D6\":{face}}} {seed}{next}")
}

#[test]
fn a_roll_of_a_server_is_verified_only_if_its_seed_leads_back_to_an_earlier_one() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    let server = LogServer::new(Log::new(&vector_leaves()));
    let check = |id: i64, expected: &str| {
        let url = server.url(&format!("/rolls/{id}"));
        let (code, stdout, stderr) = verify(&instance, &[&url, "--key", &key]);
        let is_verified = expected.starts_with("leads back");
        assert_eq!(code, i32::from(!is_verified), "{id}: {stdout}{stderr}");
        let output = if is_verified { stdout } else { stderr };
        assert!(output.contains(expected), "{id}: expected `{expected}` in {output}");
    };
    let no_earlier = "not proven: the server keeps no earlier roll of its chain";
    let broken = "not proven: nobody announced the chain that begins with roll 301";
    let roll_1 = "leads back to that of roll 1, made at 2026-11-23T01:37:41.122Z by the operator's";
    check(300, roll_1);
    check(1, "not proven: roll 1 is the first one with a seed\n");
    // After a new secret in the middle of a block, and over a roll without a seed.
    check(301, broken);
    check(302, "leads back to that of roll 301, ");
    check(311, "leads back to that of roll 301, ");
    check(520, "leads back to that of roll 301, ");
    check(310, "not proven: roll 310 is in the log, but it has no seed");
    server.change(|log| log.oldest = 257);
    check(300, "leads back to that of roll 257, ");
    check(257, no_earlier);
    check(301, broken);
    // The operator chooses the seed of roll 41, from which later ones lead back to it.
    let leaves = vector_leaves();
    let seed = |id: i64| Seed([9; 32]).back((50 - id) as u64);
    let chosen_from_41 = |next: Option<Seed>| {
        let rest = (42..=50).map(|id| chosen(id, seed(id), None));
        let mut all = leaves[..40].to_vec();
        all.push(chosen(41, seed(41), next));
        all.extend(rest);
        all
    };
    server.change(|log| (log.leaves, log.oldest) = (chosen_from_41(None), 1));
    let refused = |before: i64| {
        let start =
            format!("refused: the seed of roll 41 does not lead back to that of roll {before}");
        format!("{start}: expected ")
    };
    check(40, "leads back to that of roll 1, ");
    for id in [41, 42, 50] {
        check(id, &refused(40));
    }
    // Rolls without a seed hide nothing.
    let without = |leaves: &mut Vec<String>, ids: std::ops::RangeInclusive<usize>| {
        ids.for_each(|id| leaves[id - 1] = format!("rollcast/v1 {id} - - -"));
    };
    server.change(|log| without(&mut log.leaves, 40..=40));
    check(41, &refused(39));
    server.change(|log| without(&mut log.leaves, 30..=40));
    check(50, &refused(29));
    server.change(|log| without(&mut log.leaves, 10..=40));
    check(50, "not proven: the 17 rolls before roll 41 have no seed");
    server.change(|log| without(&mut log.leaves, 1..=40));
    check(50, "not proven: the 17 rolls before roll 41 have no seed");
    // The same is a break if it is announced, and then nothing is hidden.
    server.change(|log| log.leaves = chosen_from_41(Some(Seed([8; 32]))));
    check(41, "not proven: nobody announced the chain that begins with roll 41");
    check(50, "leads back to that of roll 41, ");
    // A first roll that announces nothing.
    let mut unannounced = leaves[..41].to_vec();
    unannounced[0] = unannounced[0].rsplit_once(' ').unwrap().0.to_owned();
    server.change(|log| log.leaves = unannounced);
    check(41, "refused: roll 1 begins a chain but announces no anchor");
    check(1, "refused: roll 1 begins a chain but announces no anchor");
    server.change(|log| log.leaves[0] = "rollcast/v1 1 - - -".into());
    check(41, "refused: roll 2 begins a chain but announces no anchor");
    // The server does not show the earlier rolls.
    server.change(|log| {
        log.leaves.clone_from(&leaves);
        log.gone_once = Some("/rolls/1/proof");
    });
    check(41, "cannot compare with an earlier roll");
}

#[test]
fn proofs_of_two_logs_that_one_key_signed_are_a_fork() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    let honest = vector_leaves();
    let mut forked = honest.clone();
    forked[199] = "rollcast/v1 200 - - -".into();
    // The server answers with the proof of `path` from the other log.
    let check = |leaves: &[String], path: &'static str, other: &[String]| {
        let (server, other) = (LogServer::new(Log::new(leaves)), Log::new(other));
        let id = path.split('/').nth(2).unwrap().parse().unwrap();
        let proof = other.proof(id);
        server.change(|log| {
            log.falsify = at(path, move |body| *body = proof.clone().into_bytes());
        });
        let (code, stdout, stderr) = verify(&instance, &[&server.url("/rolls/41"), "--key", &key]);
        (code, stdout, stderr, [Log::new(leaves).checkpoint(), other.checkpoint()])
    };
    for (leaves, path, other) in [
        // Both have one size, or the larger one has other hashes.
        (&honest[..300], "/rolls/1/proof", &forked[..300]),
        (&forked[..300], "/rolls/41/proof", &honest[..290]),
        (&forked[..300], "/rolls/1/proof", &honest[..256]),
    ] {
        let (code, stdout, stderr, notes) = check(leaves, path, other);
        assert_eq!(code, 1, "{path}: {stdout}{stderr}");
        assert!(stderr.contains("fork: the checkpoints of "), "{path}: {stderr}");
        for note in notes {
            assert!(stderr.contains(&note), "{path}: expected {note} in {stderr}");
        }
        assert!(!stdout.contains("leads back"), "{stdout}");
    }
    // The log grows while its proofs are read, or an answer is from a cache.
    for path in ["/rolls/41/proof", "/rolls/1/proof"] {
        for size in [41, 255, 256, 257] {
            let (code, stdout, stderr, _) = check(&honest[..300], path, &honest[..size]);
            assert_eq!(code, 0, "{size}: {stdout}{stderr}");
            assert!(stdout.contains("leads back to that of roll 1, "), "{stdout}");
        }
    }
    // Hashes that the server has not signed convict nobody.
    let server = LogServer::new(Log::new(&honest[..300]));
    let proof = Log::new(&honest[..290]).proof(1).into_bytes();
    server.change(|log| {
        log.falsify = Box::new(move |path, body| match path {
            "/rolls/1/proof" => body.clone_from(&proof),
            "/tile/0/001.p/44" => body[40] ^= 1,
            _ => {}
        });
    });
    let (code, _, stderr) = verify(&instance, &[&server.url("/rolls/41"), "--key", &key]);
    assert_eq!(code, 1);
    let expected = "other hashes than those of the 300 rolls that it signed";
    assert!(stderr.contains(expected) && !stderr.contains("fork"), "{stderr}");
}

fn leaf(proof: &str) -> Leaf {
    let proof: rollcast::log::Proof = proof.parse().unwrap();
    proof.leaf.parse().unwrap()
}

#[test]
fn a_falsified_log_that_its_own_key_signed_is_refused() {
    let instance = Instance::new("");
    let leaves = vector_leaves();
    let key = vkey(&signing_key("A"));
    let check = |leaves: &[String], expected: &str| {
        let server = LogServer::new(Log::new(leaves));
        let (code, stdout, stderr) = verify(&instance, &[&server.url("/"), "--key", &key]);
        assert_eq!(code, i32::from(!expected.is_empty()), "{expected}: {stdout}{stderr}");
        assert!(stderr.contains(expected), "expected `{expected}` in {stderr}");
        stdout
    };
    let with = |line: usize, leaf: String| {
        let mut leaves = leaves.clone();
        leaves[line - 1] = leaf;
        leaves
    };
    let whole = check(&leaves, "");
    for part in [
        "the dice of 519 follow from their seeds",
        "1 roll has no seed",
        "nobody announced the chain that begins with roll 301",
    ] {
        assert!(whole.contains(part), "expected `{part}` in {whole}");
    }
    let words = |line: usize| leaves[line - 1].split(' ').collect::<Vec<_>>();
    let seed_of = |line: usize| words(line)[4];
    let other_die = leaves[208].replacen("873", "874", 1);
    check(&with(209, other_die), "roll 209: expected 1D1000 = 873 from its seed, got 874");
    // Dice that follow from a seed of another chain.
    let mut foreign = leaves[309 + 1].clone();
    foreign = foreign.replace("v1 311 ", "v1 209 ");
    check(&with(209, foreign), "roll 209: expected 1D1000 = ");
    let unannounced = words(1)[..5].join(" ");
    check(&with(1, unannounced), "roll 1 begins a chain but announces no anchor");
    check(&with(209, "rollcast/v1 210 - - -".into()), "line 209 is roll 210, expected roll 209");
    check(&with(209, leaves[208].to_uppercase()), "line 209: expected a line of a roll");
    // A chain of another secret that announces no anchor.
    let broken = words(301)[..5].join(" ");
    let message = format!(
        "the seed of roll 301 does not lead back to that of roll 300: expected {}",
        seed_of(300)
    );
    check(&with(301, broken), &message);
    check(&[leaves.clone(), vec![leaves[519].clone()]].concat(), "line 521 is roll 520");
}

#[test]
fn a_pruned_history_is_verified_from_its_first_tile_on() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    let log = || Log { oldest: 257, ..Log::new(&vector_leaves()) };
    let server = LogServer::new(log());
    let (code, stdout, stderr) = verify(&instance, &[&server.url("/"), "--key", &key]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    for part in [
        "rolls 257 to 520: all are in the signed log; the dice of 263 follow",
        "rolls 1 to 256 are pruned",
    ] {
        assert!(stdout.contains(part), "expected `{part}` in {stdout}");
    }
    let requested: Vec<String> =
        server.server().requests().into_iter().map(|request| request.path).collect();
    let expected = [
        "/checkpoint",
        "/api/proof",
        "/tile/1/000.p/2",
        "/tile/entries/001",
        "/tile/entries/002.p/8",
    ];
    assert_eq!(requested, expected);
    // One bit of a pruned tile's hash.
    server.change(|log| log.falsify = at("/tile/1/000", |body| body[5] ^= 1));
    let (code, _, stderr) = verify(&instance, &[&server.url("/"), "--key", &key]);
    assert_eq!(code, 1);
    assert!(stderr.contains("another root than the signed one"), "{stderr}");
    server.change(|log| log.falsify = at("/tile/1/000", Vec::clear));
    let (code, _, stderr) = verify(&instance, &[&server.url("/"), "--key", &key]);
    assert_eq!(code, 1);
    assert!(stderr.contains("got 0 bytes instead of 64"), "{stderr}");
    // The rolls are pruned while they are read.
    let server = LogServer::new(log());
    server.change(|log| {
        log.falsify = replace("/api/proof", "257".into(), "1".into());
    });
    let (code, _, stderr) = verify(&instance, &[&server.url("/"), "--key", &key]);
    assert_eq!(code, 1);
    assert!(stderr.contains("starting again") && stderr.contains("got 410"), "{stderr}");
    let save = ["--save", "x.history"];
    server.change(|log| log.falsify = honest());
    let url = server.url("/");
    let (code, _, stderr) = verify(&instance, &[&[&url, "--key", &key][..], &save].concat());
    assert_eq!(code, 1);
    assert!(stderr.contains("rolls 1 to 256 are pruned"), "{stderr}");
    assert!(!instance.path().join("x.history").exists());
}

#[test]
fn a_history_is_saved_and_verified_again_from_its_file() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    let server = LogServer::new(Log::new(&vector_leaves()));
    let url = server.url("/");
    let (code, _, stderr) = verify(&instance, &[&url, "--key", &key, "--save", "x.history"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let path = instance.path().join("x.history");
    let history = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = history.lines().take(520).collect();
    assert_eq!(lines, vector_leaves());
    let check = |history: &[u8], expected: &str| {
        fs::write(&path, history).unwrap();
        let (code, stdout, stderr) = verify(&instance, &["x.history", "--key", &key]);
        assert_eq!(code, i32::from(!expected.is_empty()), "{expected}: {stdout}{stderr}");
        assert!(stderr.contains(expected), "expected `{expected}` in {stderr}");
        stdout
    };
    let stdout = check(history.as_bytes(), "");
    assert!(stdout.contains("rolls 1 to 520"), "{stdout}");
    let without_last = history.replacen(&format!("{}\n", lines[519]), "", 1);
    check(without_last.as_bytes(), "the checkpoint covers 520 rolls, but there are 519");
    check(history.replacen("v1 7 ", "v1 8 ", 1).as_bytes(), "line 7 is roll 8, expected roll 7");
    check(&history.as_bytes()[..2_000], "is cut off");
    check(&[history.as_bytes(), b"x"].concat(), "the checkpoint is malformed");
    check(history.replacen("T0", "T1", 1).as_bytes(), "another root than the signed one");
    let mut bytes = history.clone().into_bytes();
    bytes[30] = 0xff;
    check(&bytes, "line 1: expected a line of a roll");
    let endless = [b"rollcast/v1 1 ".to_vec(), vec![b'x'; 5_000]].concat();
    check(&endless, "line 1 is cut off");
    check(b"two\nlines\n", "expected a proof file, `c2sp.org/tlog-proof@v1 …`, got `two lines`");
    let endless = [b"c2sp.org/tlog-proof@v1\n".to_vec(), vec![b'x'; 100_000]].concat();
    check(&endless, "expected a proof or a checkpoint of at most 65536 bytes");
    check(b"something else", "expected a proof file");
    // An existing file is not replaced, and no draft remains.
    let arguments = [&url, "--key", &key, "--save", "x.history"];
    let (code, _, stderr) = verify(&instance, &arguments);
    assert_eq!(code, 2);
    assert!(stderr.contains("found a file") && !stderr.contains("--force"), "{stderr}");
    assert_eq!(fs::read(&path).unwrap(), b"something else");
}

#[test]
fn a_history_is_not_saved_if_rolls_are_pruned_meanwhile() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    // A hostile server says so once, and then goes on with all rolls.
    let gone = || Log { gone_once: Some("/tile/entries/001"), ..Log::new(&vector_leaves()) };
    let server = LogServer::new(gone());
    let url = server.url("/");
    let (code, _, stderr) = verify(&instance, &[&url, "--key", &key, "--save", "x.history"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("cannot save the whole history"), "{stderr}");
    assert!(stderr.contains("got 410"), "{stderr}");
    assert!(!instance.path().join("x.history").exists());
    // Without a file, reading starts again.
    server.change(|log| *log = gone());
    let (code, _, stderr) = verify(&instance, &[&url, "--key", &key]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("starting again"), "{stderr}");
}

#[test]
fn verify_retries_during_a_short_outage_but_not_at_a_wrong_address() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    let log = Log::new(&vector_leaves());
    let (checkpoint, bundle) = (log.checkpoint(), entry("x"));
    let json = serde_json::json!({ "key": key, "oldest": 1 }).to_string();
    let server = Replies::start([
        reply("200 OK", "text/plain", checkpoint),
        reply("502 Bad Gateway", "text/html", "<html>"),
        reply("200 OK", "application/json", json),
        reply("200 OK", "application/octet-stream", bundle),
    ]);
    let (code, _, stderr) = verify(&instance, &[&server.url("/"), "--key", &key]);
    assert_eq!(code, 1);
    assert!(stderr.contains("got 502 Bad Gateway, text/html; trying again"), "{stderr}");
    assert!(stderr.contains("expected a bundle of leaves"), "{stderr}");
    let paths: Vec<_> = server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(paths, ["/checkpoint", "/api/proof", "/api/proof", "/tile/entries/000"]);
    // Nothing listens at this address.
    let (code, _, stderr) = verify(&instance, &[&instance.url("/"), "--key", &key]);
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot reach") && !stderr.contains("trying again"), "{stderr}");
}

#[test]
fn the_timeout_also_ends_a_response_that_never_ends() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    let server = LogServer::new(Log::new(&vector_leaves()));
    server.change(|log| log.drips = Some("/tile/"));
    let started = Instant::now();
    let url = server.url("/");
    let (code, _, stderr) = verify(&instance, &[&url, "--key", &key, "--timeout", "2s"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("the log was not read within 2 s"), "{stderr}");
    // A response body alone once had 30 s.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn arguments_that_cannot_be_used_are_usage_errors() {
    let instance = Instance::new("");
    let key = vkey(&signing_key("A"));
    fs::write(instance.path().join("rolls.db"), "SQLite format 3\0…").unwrap();
    fs::write(instance.path().join("x.history"), "rollcast/v1 1 - - -\n").unwrap();
    let seed = format!("1:{}", "9f".repeat(32));
    let key = key.as_str();
    let no_file = "expected a URL such as `https://dice.example.org/` or a file, got `";
    let [nothing, address] =
        ["nothing", "127.0.0.1:5977"].map(|given| format!("{no_file}{given}`"));
    let table: [(&[&str], &str); 13] = [
        (&["nothing", "--key", key], &nothing),
        (&["127.0.0.1:5977"], &address),
        (&["127.0.0.1:5977", "--save", "y"], no_file),
        (&[".", "--key", key], "cannot read `.`"),
        (&["rolls.db", "--key", key], "is a database; run `rollcast check`"),
        (&["x.history"], "a file needs --key"),
        (&["x.history", "--key", key, "--roll", "1"], "--roll and --seed are for a proof"),
        (&["x.history", "--key", "x+y+z"], "expected a key such as"),
        (&["x.history", "--key", key, "--save", "y"], "--save needs the URL"),
        (&["http://127.0.0.1:1/", "--seed", &seed], "--seed needs one roll"),
        (
            &["http://127.0.0.1:1/rolls/1", "--seed", &seed],
            "--seed needs a roll before roll 1, got that of roll 1",
        ),
        (&["http://127.0.0.1:1/rolls/x"], "expected a roll id"),
        (&["http://127.0.0.1:1/", "--timeout", "0s"], "expected a time of 1s to 365d"),
    ];
    for (arguments, expected) in table {
        let (code, _, stderr) = verify(&instance, arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
}
