//! Proof files of a roll, each with one thing changed. Every verifier must refuse all of them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rollcast::log::{Checkpoint, Hash, Leaf};
use rollcast::seeds::{Seed, hmac_sha256, sha256};

use super::log_server::{Log, signing_key, vector_leaves};

/// The proof of roll 41 with one change.
pub struct Falsified {
    pub what: &'static str,
    pub proof: String,
    /// A part of the error of `rollcast verify`.
    pub refused_for: &'static str,
}

/// The falsified proofs of roll 41. `neighbour` is the proof of roll 42 of the same log, and
/// `foreign` is the proof of roll 41 of another log.
pub fn falsified(proof: &str, neighbour: &str, foreign: &str) -> Vec<Falsified> {
    let (parts, note) = proof.split_once("\n\n").unwrap();
    let lines: Vec<&str> = parts.lines().collect();
    let with_line = |n: usize, line: &str| {
        let mut lines = lines.clone();
        lines[n] = line;
        format!("{}\n\n{note}", lines.join("\n"))
    };
    let leaf = String::from_utf8(decoded(lines[1].strip_prefix("extra ").unwrap())).unwrap();
    let with_leaf = |leaf: &str| with_line(1, &format!("extra {}", BASE64_STANDARD.encode(leaf)));
    let words: Vec<&str> = leaf.split(' ').collect();
    // The first of two dice shows another face.
    let (face, rest) = words[3].split_once(',').unwrap();
    let other = if face.ends_with(":1") { 2 } else { 1 };
    let dice = format!("{}:{other},{rest}", face.split(':').next().unwrap());
    let hash = flipped(lines[4]);
    let (_, foreign_note) = foreign.split_once("\n\n").unwrap();
    let (origin, _) = note.split_once('\n').unwrap();
    let change = |what, proof, refused_for| Falsified { what, proof, refused_for };
    let size = note.lines().nth(1).unwrap();
    let root = note.lines().nth(2).unwrap();
    let signature = note.lines().last().unwrap().rsplit(' ').next().unwrap();
    let other_dice = leaf.replace(words[3], &dice);
    vec![
        change("a die", with_leaf(&other_dice), "from its seed, got"),
        change(
            "the time",
            with_leaf(&leaf.replacen(words[2], &later(words[2]), 1)),
            "another root",
        ),
        change("the seed", with_leaf(&leaf.replace(words[4], "-")), "another root"),
        change("a space in the leaf", with_leaf(&leaf.replacen(' ', "  ", 1)), "expected a line"),
        change(
            "the leaf of another roll",
            with_line(1, neighbour.lines().nth(1).unwrap()),
            "roll 42, expected roll 41",
        ),
        change("the index", with_line(2, "index 41"), "roll 41, expected roll 42"),
        change("a bit of a hash", with_line(4, &hash), "another root"),
        change(
            "a hash too few",
            proof.replacen(&format!("{}\n", lines[4]), "", 1),
            "wrong number of hashes",
        ),
        change(
            "a hash too many",
            proof.replacen(lines[4], &format!("{0}\n{0}", lines[4]), 1),
            "wrong number of hashes",
        ),
        change("the root", proof.replace(root, &flipped(root)), "no valid signature"),
        change(
            "the size",
            proof.replace(&format!("\n{size}\n"), &format!("\n{size}0\n")),
            "no valid signature",
        ),
        change(
            "a bit of the signature",
            proof.replace(signature, &flipped(signature)),
            "no valid signature",
        ),
        change(
            "the origin",
            proof.replacen(&format!("\n\n{origin}\n"), "\n\nx.example\n", 1),
            "the checkpoint is from the log `x.example`",
        ),
        change(
            "the checkpoint of another log",
            format!("{parts}\n\n{foreign_note}"),
            "the checkpoint",
        ),
        change("the first line", with_line(0, "c2sp.org/tlog-proof@v2"), "expected a proof file"),
        change("cut off", proof[..proof.len() - 5].into(), "the checkpoint is malformed"),
    ]
}

/// Proofs of roll 41 that the key of the secret A signed, with a leaf or a hash that no log may have.
/// The first one is the control: it is true. Of the others, the dice follow from the seed wherever
/// a careless verifier finds any.
pub fn falsified_by_the_key() -> Vec<Falsified> {
    let leaves = vector_leaves();
    let seed = leaves[40].parse::<Leaf>().unwrap().seed().unwrap();
    let with_dice = |id: &str, dice: &str| {
        let leaf = format!("rollcast/v1 {id} 2026-11-23T01:38:21.126Z {{{dice}}} {seed}");
        Log::new(&[&leaves[..40], &[leaf]].concat()).proof(41)
    };
    let with = |id: &str, dice: &[(&str, &str)]| {
        let result = |(n, s): &(&str, &str)| format!("\"{n}D{s}\":{}", thrown(seed, id, n, s));
        with_dice(id, &dice.iter().map(result).collect::<Vec<_>>().join(","))
    };
    let control = with("41", &[("1", "6"), ("100", "2"), ("1", "1000")]);
    let one_die = thrown(seed, "41", "1", "6");
    let sides: Vec<String> = (2..19).map(|n_sides| n_sides.to_string()).collect();
    let many: Vec<(&str, &str)> = sides.iter().map(|n_sides| ("1", n_sides.as_str())).collect();
    let change = |what, proof, refused_for| Falsified { what, proof, refused_for };
    let (leaf, file) = ("expected a line", "expected a proof file");
    vec![
        change("nothing", control.clone(), ""),
        change("16 dice", with("41", &many[..16]), ""),
        change("17 dice", with("41", &many), leaf),
        change("a zero before the id", with("041", &[("1", "6")]), leaf),
        change("a zero before the number of dice", with("41", &[("01", "6")]), leaf),
        change("a zero before the sides", with("41", &[("1", "06")]), leaf),
        change("a zero before a result", with_dice("41", &format!("\"1D6\":0{one_die}")), leaf),
        change("no die", with("41", &[("0", "6")]), leaf),
        change("no dice at all", with_dice("41", ""), leaf),
        change("101 dice in one", with("41", &[("101", "6")]), leaf),
        change("a die with one side", with("41", &[("1", "1")]), leaf),
        change("a die with 1,001 sides", with("41", &[("1", "1001")]), leaf),
        change("the same die twice", with("41", &[("1", "6"), ("1", "6")]), leaf),
        // A careless verifier never ends, or needs all memory.
        change("more sides than numbers", with_dice("41", "\"1D70000\":1"), leaf),
        change("a billion dice", with_dice("41", "\"999999999D6\":1"), leaf),
        change("a zero before the index", control.replace("\nindex 40\n", "\nindex 040\n"), file),
        change("a hash of 33 bytes", with_last_hash(&control, 33), file),
        change("a hash of 31 bytes", with_last_hash(&control, 31), file),
        change("a signed hash too many", with_another_hash(&control), "wrong number of hashes"),
    ]
}

/// What a die shows by the texts of a leaf, of which some have no place there.
fn thrown(seed: Seed, id: &str, n_dice: &str, n_sides: &str) -> u32 {
    let (n, sides): (usize, u32) = (n_dice.parse().unwrap(), n_sides.parse().unwrap());
    let mut faces = Vec::new();
    for i in 0.. {
        if faces.len() >= n {
            break;
        }
        let message = format!("rollcast/v1 {id} {n_dice}D{n_sides} {i}");
        let block = hmac_sha256(&seed.0, message.as_bytes());
        let numbers = block.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1]));
        let fair = numbers.filter(|number| *number < 65_536 - 65_536 % sides);
        faces.extend(fair.map(|number| number % sides + 1));
    }
    faces[..n].iter().sum()
}

/// The proof of roll 41 of 41, whose last hash has another length. The key signed the root.
fn with_last_hash(proof: &str, len: usize) -> String {
    let (lines, leaf) = lines_and_leaf_hash(proof);
    // Both hashes are of trees to the left.
    let [.., before, _] = lines[..] else { panic!("expected two hashes") };
    let hash = vec![7; len];
    let root = node(&hash, &node(&decoded(before), &leaf));
    let last = BASE64_STANDARD.encode(hash);
    let lines = [&lines[..lines.len() - 1], &[last.as_str()]].concat();
    format!("{}\n\n{}", lines.join("\n"), signed(root))
}

/// The same with one more hash.
fn with_another_hash(proof: &str) -> String {
    let (lines, leaf) = lines_and_leaf_hash(proof);
    let [.., before, last] = lines[..] else { panic!("expected two hashes") };
    let hash = [7; 32];
    let root = node(&hash, &node(&decoded(last), &node(&decoded(before), &leaf)));
    let another = BASE64_STANDARD.encode(hash);
    format!("{}\n{another}\n\n{}", lines.join("\n"), signed(root))
}

fn lines_and_leaf_hash(proof: &str) -> (Vec<&str>, [u8; 32]) {
    let lines: Vec<&str> = proof.split_once("\n\n").unwrap().0.lines().collect();
    let leaf = decoded(lines[1].strip_prefix("extra ").unwrap());
    assert_eq!(lines.len(), 5);
    (lines, sha256(&[&[0], &leaf[..]].concat()))
}

fn node(left: &[u8], right: &[u8]) -> [u8; 32] {
    sha256(&[&[1], left, right].concat())
}

fn signed(root: [u8; 32]) -> String {
    Checkpoint { size: 41, root: Hash(root) }.sign(&signing_key("A"))
}

/// The same base64 with one bit changed in the middle.
fn flipped(base64: &str) -> String {
    let mut bytes = decoded(base64);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    BASE64_STANDARD.encode(bytes)
}

fn decoded(base64: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(base64).unwrap()
}

/// Another time in the same form.
pub fn later(rolled_at: &str) -> String {
    let digit = if rolled_at.ends_with("0Z") { "1Z" } else { "0Z" };
    format!("{}{digit}", &rolled_at[..rolled_at.len() - 2])
}
