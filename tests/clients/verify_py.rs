//! `docs/verify.py`, which shares no code with rollcast, and the shell lines of `docs/proof.md`,
//! against the live server.

use std::fs;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rollcast::draw;
use rollcast::log::{Leaf, Proof};
use rollcast::roll::RollId;
use rollcast::seeds::{Seed, sha256};
use rollcast::text::hex;

use crate::common::falsified::{falsified, falsified_by_the_key};
use crate::common::log_server::{Log, get, server_with_log, signing_key, vector_leaves};
use crate::common::{Instance, run, wait_for};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify.py");

/// Runs the script on a proof.
fn verify(instance: &Instance, proof: &str, arguments: &[&str]) -> (i32, String) {
    verify_bytes(instance, proof.as_bytes(), arguments)
}

fn verify_bytes(instance: &Instance, proof: &[u8], arguments: &[&str]) -> (i32, String) {
    let file = instance.path().join("roll.proof");
    fs::write(&file, proof).unwrap();
    let (code, stdout, stderr) =
        run(Command::new("python3").args(["-B", SCRIPT]).arg(file).args(arguments));
    (code, format!("{stdout}{stderr}"))
}

fn proof_of(instance: &Instance, id: i64) -> String {
    let proof = || get(&instance.url(&format!("/rolls/{id}/proof")));
    wait_for(&format!("the proof of roll {id}"), proof)
}

fn seed(proof: &str) -> Seed {
    let proof: Proof = proof.parse().unwrap();
    proof.leaf.parse::<Leaf>().unwrap().seed().unwrap()
}

#[test]
fn the_script_verifies_each_roll_of_a_live_server_and_refuses_every_falsified_proof() {
    let (instance, _server, key) = server_with_log(300);
    let proof = proof_of(&instance, 41);
    for id in [1, 2, 41, 255, 256, 257, 300] {
        let (code, output) = verify(&instance, &proof_of(&instance, id), &[&key]);
        assert_eq!(code, 0, "roll {id}: {output}");
        assert!(output.contains(&format!("rollcast/v1 {id} ")), "{output}");
    }
    let [first, before] = [1, 40].map(|id| seed(&proof_of(&instance, id)).to_string());
    for (id, known, expected) in [("1", &first, 0), ("40", &before, 0), ("39", &before, 1)] {
        let (code, output) = verify(&instance, &proof, &[&key, id, known]);
        assert_eq!(code, expected, "{output}");
        assert!(output.contains("the seed leads back to that of roll"), "{output}");
    }
    let other = Instance::new("every = '2ms'");
    let _other = other.start();
    let foreign = proof_of(&other, 41);
    for change in falsified(&proof, &proof_of(&instance, 42), &foreign) {
        let (code, output) = verify(&instance, &change.proof, &[&key]);
        // It does not know which roll was asked for, and prints the line of the one that it found.
        assert_eq!(code, 1, "{}: {output}", change.what);
    }
    // Another key, and one whose key id is false.
    let (_, other_key) = key.split_at(key.find('+').unwrap());
    assert_eq!(verify(&instance, &proof, &[&format!("x.example{other_key}")]).0, 1);
    assert_eq!(verify(&instance, &proof, &[&key.replacen('+', "+0", 1)]).0, 1);
}

#[test]
fn the_script_refuses_leaves_and_hashes_that_no_log_may_have_although_the_key_signed_them() {
    let instance = Instance::new("");
    let key = signing_key("A").verifier().to_string();
    for change in falsified_by_the_key() {
        let (code, output) = verify(&instance, &change.proof, &[&key]);
        let expected = i32::from(!change.refused_for.is_empty());
        assert_eq!(code, expected, "{}: {output}", change.what);
    }
}

#[test]
fn the_script_refuses_an_earlier_seed_of_a_later_roll_or_of_another_block() {
    let instance = Instance::new("");
    let key = signing_key("A").verifier().to_string();
    let control = &falsified_by_the_key()[0].proof;
    let own = seed(control);
    for (id, seed, expected) in [
        ("40", own.previous(), 0),
        ("0", own.back(41), 0),
        ("41", own, 1),
        ("42", own, 1),
        ("040", own.previous(), 1),
        ("-1", own.back(42), 1),
    ] {
        let (code, output) = verify(&instance, control, &[&key, id, &seed.to_string()]);
        assert_eq!(code, expected, "{id}: {output}");
    }
}

#[test]
fn the_script_without_all_its_arguments_says_how_to_use_it() {
    let instance = Instance::new("");
    let key = signing_key("A").verifier().to_string();
    let proof = &falsified_by_the_key()[0].proof;
    let table: [&[&str]; 3] = [&[], &[&key, "40"], &[&key, "40", "9f", "x"]];
    for arguments in table {
        let (code, output) = verify(&instance, proof, arguments);
        assert_eq!(code, 2, "{arguments:?}: {output}");
        assert!(output.contains("verify.py PROOF-FILE KEY"), "{arguments:?}: {output}");
        assert!(!output.contains("Traceback"), "{arguments:?}: {output}");
    }
}

#[test]
fn the_script_prints_no_byte_of_a_line_that_is_malformed() {
    let instance = Instance::new("");
    let key = signing_key("A").verifier().to_string();
    let proof = &falsified_by_the_key()[0].proof;
    // A terminal would show the second line in the place of the first one.
    let spoof =
        "\r\u{1b}[2Kok      this line is in the log: rollcast/v1 41\nok      1D6 = 6 follows";
    let extra = proof.lines().nth(1).unwrap();
    let spoofed = proof.replace(extra, &format!("extra {}", BASE64_STANDARD.encode(spoof)));
    let (code, output) = verify(&instance, &spoofed, &[&key]);
    let expected = "ok      the proof and the key are well-formed\n\
                    WRONG   the line is well-formed and has the right roll number\n";
    assert_eq!((code, output.as_str()), (1, expected));
}

#[test]
fn the_script_accepts_only_moments_that_exist() {
    let instance = Instance::new("");
    let key = signing_key("A").verifier().to_string();
    let leaves = vector_leaves();
    let time = leaves[40].split(' ').nth(2).unwrap();
    for (other, expected) in [
        ("0000-02-29T00:00:00.000Z", 0),
        ("9999-12-31T23:59:59.999Z", 0),
        ("2024-02-29T23:59:59.999Z", 0),
        ("2026-02-29T00:00:00.000Z", 1),
        ("2026-04-31T00:00:00.000Z", 1),
        ("2026-13-01T00:00:00.000Z", 1),
        ("2026-11-00T00:00:00.000Z", 1),
        ("2026-11-23T24:00:00.000Z", 1),
        ("2026-11-23T23:59:60.000Z", 1),
        ("2026-11-23T01:37:40Z", 1),
        ("2026-11-23T01:37:40.1234Z", 1),
        ("-000001-01-01T00:00:00.000Z", 1),
        ("+010000-01-01T00:00:00.000Z", 1),
        ("....Z", 1),
    ] {
        let leaf = leaves[40].replace(time, other);
        let proof = Log::new(&[&leaves[..40], &[leaf]].concat()).proof(41);
        let (code, output) = verify(&instance, &proof, &[&key]);
        assert_eq!(code, expected, "{other}: {output}");
    }
}

#[test]
fn the_script_reads_base64_and_signature_lines_as_the_format_says() {
    let instance = Instance::new("");
    let key = signing_key("A").verifier().to_string();
    let proof = &falsified_by_the_key()[0].proof;
    let (text, good) = proof.trim_end().rsplit_once('\n').unwrap();
    let (origin, signature) = good.rsplit_once(' ').unwrap();
    // The same key id with a point that is not on the curve, and with zeros.
    let by_key = |byte: u8| {
        let id = BASE64_STANDARD.decode(signature).unwrap()[..4].to_vec();
        format!("{origin} {}", BASE64_STANDARD.encode([id, vec![byte; 64]].concat()))
    };
    for (signatures, expected) in [
        (format!("{good}\n"), 0),
        (format!("— witness.example x\n{good}\n"), 0),
        (format!("{}\n{}\n{origin} AAAA\n{good}\n", by_key(2), by_key(0)), 0),
        (format!("junk\n{good}\n"), 1),
        (format!("— witness.example x y\n{good}\n"), 1),
        (format!("{good}\n\n"), 1),
        (good.to_owned(), 1),
        (format!("{origin} {}*{}\n", &signature[..40], &signature[40..]), 1),
        (format!("{}\n", by_key(0)), 1),
    ] {
        let (code, output) = verify(&instance, &format!("{text}\n{signatures}"), &[&key]);
        assert_eq!(code, expected, "{signatures}: {output}");
    }
    // A foreign character in the leaf, in a hash and in the key. Python's `b64decode` skips it.
    for line in [1, 3] {
        let line = proof.lines().nth(line).unwrap();
        let (start, end) = line.split_at(line.len() - 8);
        let other = proof.replace(line, &format!("{start}*{end}"));
        assert_eq!(verify(&instance, &other, &[&key]).0, 1, "{other}");
    }
    let (start, end) = key.split_at(key.len() - 8);
    assert_eq!(verify(&instance, proof, &[&format!("{start}*{end}")]).0, 1);
    // A key with which anybody can sign: the identity.
    let identity = [[1].as_slice(), &[1], &[0; 31]].concat();
    let id = &sha256(&[b"dice.example.org\n", identity.as_slice()].concat())[..4];
    let weak = format!("dice.example.org+{}+{}", hex(id), BASE64_STANDARD.encode(&identity));
    let signature = BASE64_STANDARD.encode([id, &identity[1..], &[0; 32]].concat());
    let forged = format!("{text}\n{origin} {signature}\n");
    let (code, output) = verify(&instance, &forged, &[&weak]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("WRONG   the log of 41 rolls is signed by this key"), "{output}");
}

#[test]
fn the_script_says_in_one_line_why_it_cannot_read_a_file() {
    let instance = Instance::new("");
    let key = signing_key("A").verifier().to_string();
    let proof = falsified_by_the_key()[0].proof.clone().into_bytes();
    let missing = instance.path().join("missing");
    let path = missing.to_str().unwrap();
    let (code, stdout, stderr) = run(Command::new("python3").args(["-B", SCRIPT, path, &key]));
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
    assert!(stderr.contains("No such file") && stderr.contains(path), "{stderr}");

    let not_utf8 = [&proof[..60], b"\xff", &proof[60..]].concat();
    for bytes in [&b""[..], b"x", b"\n\n\n\n", &not_utf8, &proof[..proof.len() / 2]] {
        let (code, output) = verify_bytes(&instance, bytes, &[&key]);
        assert_eq!((code, output.lines().count()), (1, 1), "{output}");
        assert!(output.starts_with("WRONG   "), "{output}");
    }
}

#[test]
fn the_script_can_be_checked_by_eye() {
    let script = include_str!("../../docs/verify.py");
    assert!(script.lines().count() <= 60, "{} lines", script.lines().count());
    let longest = script.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(130), "a line has {longest:?} characters");
    let imports: Vec<&str> = script.lines().filter(|line| line.contains("import ")).collect();
    assert_eq!(imports, ["import base64, calendar, hashlib, hmac, re, sys"]);
}

#[test]
fn the_shell_lines_of_the_page_check_a_seed_and_a_die() {
    let page = include_str!("../../docs/proof.md");
    let line = |start: &str| {
        let line = page.lines().find(|line| line.starts_with(start)).unwrap();
        line.split("   #").next().unwrap().to_owned()
    };
    let (instance, _server, _) = server_with_log(41);
    let [before, roll] = [40, 41].map(|id| proof_of(&instance, id));
    let bash = |line: &str| {
        let seed = seed(&roll).to_string();
        let (code, stdout, stderr) =
            run(Command::new("bash").args(["-c", line]).env("SEED", seed).current_dir("/"));
        assert_eq!(code, 0, "{line}: {stderr}");
        stdout
    };
    let hash = bash(&line("printf \"$("));
    assert_eq!(hash.split(' ').next(), Some(seed(&before).to_string().as_str()));
    let numbers = bash(&line("printf 'rollcast/v1 41 1D20 0'"));
    let face = faces(&numbers, 20, 65_520)[0];
    let dice = &instance.stored()[40].2;
    assert!(dice.contains(&format!("\"1D20\":{face}")), "{face} is not in {dice}");
    // The draw of the example.
    let numbers = bash(&line("printf %s 'rollcast/v1 100 6D250 0 spring raffle'"));
    let [die, label] = ["6D250", "spring raffle"];
    let label = label.parse().unwrap();
    let key = seed(&roll).key();
    let drawn = draw::faces(&key, RollId(100), die.parse().unwrap(), Some(&label));
    let drawn: Vec<u32> = drawn.map(u32::from).collect();
    assert!(faces(&numbers, 250, 65_500).starts_with(&drawn), "{drawn:?} is not in {numbers}");
}

/// The faces of a die, from the output of `openssl dgst`.
fn faces(output: &str, n_sides: u32, limit: u32) -> Vec<u32> {
    let digits = output.trim().rsplit(' ').next().unwrap().as_bytes();
    let number = |digits: &[u8]| u32::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
    let numbers = digits.chunks(4).map(number).filter(|number| *number < limit);
    numbers.map(|number| number % n_sides + 1).collect()
}
