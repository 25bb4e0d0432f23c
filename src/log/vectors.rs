//! The test vectors of `rollcast/v1`, `docs/proof-vectors.json`. Each is also tried with one bit
//! changed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::thread;

use serde_json::Value;

use super::*;
use crate::dice::{Dice, Die};
use crate::draw::{self, Label};
use crate::roll::{Roll, RollId, RolledAt};
use crate::seeds::{Block, BlockSeeds, Secret, Seed, sha256};
use crate::text::hex;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../docs/proof-vectors.json")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn parsed<T: std::str::FromStr>(value: &Value) -> T {
    text(value).parse().unwrap_or_else(|_| panic!("cannot read {value}"))
}

fn secret(vectors: &Value, name: &str) -> Secret {
    Secret::parse(&format!("{}\n", text(&vectors["secrets"][name]))).expect("a secret")
}

fn hashes(value: &Value) -> Vec<Hash> {
    list(value).iter().map(parsed).collect()
}

/// The same hash with its lowest bit changed.
fn changed(Hash(mut bytes): Hash) -> Hash {
    bytes[31] ^= 1;
    Hash(bytes)
}

/// A tree in memory: all its levels of complete subtrees.
struct Tree(Vec<Vec<Hash>>);

impl Tree {
    fn new(leaves: Vec<Hash>) -> Tree {
        let mut levels = vec![leaves];
        while levels[levels.len() - 1].len() > 1 {
            let pairs = levels[levels.len() - 1].chunks_exact(2);
            levels.push(pairs.map(|pair| node_hash(pair[0], pair[1])).collect());
        }
        Tree(levels)
    }

    fn of_lines(lines: &[String]) -> Tree {
        Tree::new(lines.iter().map(|line| leaf_hash(line)).collect())
    }

    fn size(&self) -> u64 {
        self.0[0].len() as u64
    }

    /// The bytes of a tile of hashes.
    fn tile(&self, tile: Tile) -> Vec<u8> {
        let TileKind::Hashes(level) = tile.kind else { panic!("a tile of entries") };
        let start = (tile.n * TILE_LEN) as usize;
        let hashes = &self.0[(8 * level) as usize][start..start + tile.width as usize];
        hashes.iter().flat_map(|hash| hash.0).collect()
    }
}

impl Nodes for Tree {
    type Error = Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[level as usize][index as usize])
    }
}

fn lines(log: &Value) -> Vec<String> {
    list(&log["lines"]).iter().map(|line| text(line).to_owned()).collect()
}

#[test]
fn keys_follow_from_the_secret() {
    let vectors = vectors();
    for name in ["A", "B", "C"] {
        let (secret, expected) = (secret(&vectors, name), &vectors["keys"][name]);
        let key = SigningKey::new(&secret, Some(text(&vectors["origin"])));
        assert_eq!(key.verifier().to_string(), text(&expected["vkey"]));
        assert_eq!(parsed::<VerifierKey>(&expected["vkey"]), *key.verifier());
        let by_default = SigningKey::new(&secret, None);
        assert_eq!(by_default.verifier().origin(), text(&expected["default_origin"]));
        let other = text(&expected["vkey"]).replace("dice.", "dicf.");
        assert!(other.parse::<VerifierKey>().is_err(), "the key id belongs to the origin");
    }
}

#[test]
fn seeds_and_anchors_follow_from_the_secret_and_the_id() {
    let vectors = vectors();
    let mut blocks: HashMap<(String, Block), BlockSeeds> = HashMap::new();
    let mut block_of = |secret_name: &str, block: Block| -> BlockSeeds {
        let key = (secret_name.to_owned(), block);
        let compute = || BlockSeeds::compute(&secret(&vectors, secret_name), block);
        let seeds = blocks.remove(&key).unwrap_or_else(compute);
        blocks.insert(key, seeds.clone());
        seeds
    };
    let mut n_other = 0;
    for vector in list(&vectors["seeds"]) {
        let id = RollId(number(&vector["id"]) as i64);
        let mut seeds = block_of(text(&vector["secret"]), Block::of(id));
        assert_eq!(seeds.seed(id), parsed(&vector["seed"]), "roll {id}");
        let other = if id == Block::of(id).last() { id.previous() } else { id.next() };
        n_other += usize::from(seeds.seed(other) != parsed(&vector["seed"]));
    }
    assert_eq!(n_other, list(&vectors["seeds"]).len(), "neighbours have other seeds");
    for vector in list(&vectors["anchors"]) {
        let first = RollId(number(&vector["block"]) as i64 * crate::seeds::BLOCK_LEN + 1);
        let mut seeds = block_of(text(&vector["secret"]), Block::of(first));
        assert_eq!(seeds.anchor(), parsed(&vector["anchor"]));
        assert_eq!(seeds.seed(first).previous(), seeds.anchor());
    }
}

#[test]
fn dice_follow_from_the_seed() {
    let vectors = vectors();
    for vector in list(&vectors["dice"]) {
        let (seed, id) = (parsed::<Seed>(&vector["seed"]), RollId(number(&vector["id"]) as i64));
        let die: Die = parsed(&vector["die"]);
        let label = Some(text(&vector["label"])).filter(|label| !label.is_empty());
        let label: Option<Label> = label.map(|label| label.parse().expect("a label"));
        let seen = draw::result(&seed.key(), id, die, label.as_ref()).result;
        assert_eq!(u64::from(seen), number(&vector["result"]), "{vector}");
    }
    // One bit of the seed, the id, the die or the label changes the faces of 100 dice.
    let (die, other): (Die, Die) =
        ("100D2".parse().expect("a die"), "99D2".parse().expect("a die"));
    let (seed, id) = (Seed([7; 32]), RollId(41));
    let label = |text: &str| Some(text.parse::<Label>().expect("a label"));
    let faces = |seed: Seed, id, die, label: Option<Label>| -> Vec<u16> {
        draw::faces(&seed.key(), id, die, label.as_ref()).take(99).collect()
    };
    let all = [
        faces(seed, id, die, None),
        faces(Seed(changed(Hash(seed.0)).0), id, die, None),
        faces(seed, RollId(40), die, None),
        faces(seed, id, other, None),
        faces(seed, id, die, label("a")),
        faces(seed, id, die, label("b")),
    ];
    for (index, faces) in all.iter().enumerate() {
        assert!(!all[..index].contains(faces), "{index}");
    }
}

#[test]
fn a_label_has_1_to_100_bytes_without_control_characters() {
    for label in ["", "a\n", "\u{7f}", &"ä".repeat(51)] {
        assert!(label.parse::<Label>().is_err(), "{label:?}");
    }
    for label in [" ", "+", &"ä".repeat(50)] {
        assert_eq!(label.parse::<Label>().expect("a label").to_string(), label);
    }
}

#[test]
fn leaves_are_read_and_written_byte_for_byte_and_no_other_spelling_is_read() {
    let vectors = vectors();
    for line in lines(&vectors["log"]) {
        assert_eq!(line.parse::<Leaf>().expect("a leaf").to_string(), line);
        for other in [format!("{line} "), format!("{line}\n"), line.replace("v1", "v2")] {
            assert!(other.parse::<Leaf>().is_err(), "{other}");
        }
        assert!(line.replacen("v1 ", "v1 0", 1).parse::<Leaf>().is_err(), "a leading zero");
        // The same die and the same time, but another text.
        for (from, to) in [("D", "d"), ("Z ", "+00:00 "), ("Z ", "0Z ")] {
            assert!(line.contains(from), "{line}");
            assert!(line.replacen(from, to, 1).parse::<Leaf>().is_err(), "{line}: {to}");
        }
    }
    for (id, hash) in vectors["log"]["leaf_hashes"].as_object().expect("hashes") {
        let line = text(&vectors["log"]["lines"][id.parse::<usize>().expect("an id") - 1]);
        assert_eq!(hex(&leaf_hash(line).0), text(hash));
    }
}

#[test]
fn checkpoints_and_tiles_of_the_log_are_as_given() {
    let vectors = vectors();
    let log = &vectors["log"];
    let tree = Tree::of_lines(&lines(log));
    for vector in list(&log["checkpoints"]) {
        let size = number(&vector["size"]);
        let secret = secret(&vectors, text(&vector["key"]));
        let key = SigningKey::new(&secret, Some(text(&vectors["origin"])));
        let Ok(root) = root(&tree, size);
        let checkpoint = Checkpoint { size, root };
        let note = text(&vector["text"]);
        assert_eq!(checkpoint.sign(&key), note);
        assert_eq!(Checkpoint::open(note, key.verifier()), Ok(checkpoint));
        let other = Checkpoint { size, root: changed(root) };
        assert_ne!(other.sign(&key), note);
    }
    let cosigned = &log["cosigned"];
    let key: VerifierKey = parsed(&vectors["keys"][text(&cosigned["key"])]["vkey"]);
    let seen = Checkpoint::open(text(&cosigned["text"]), &key).expect("a checkpoint");
    assert_eq!(seen.size, number(&cosigned["size"]));
    compare_tiles(&log["tiles_sha256"], &tree, |id| lines(log)[id - 1].clone());
}

/// Compares tiles with their SHA-256. `line` gives the leaf of an id.
fn compare_tiles(expected: &Value, tree: &Tree, line: impl Fn(usize) -> String) {
    for (path, sha) in expected.as_object().expect("tiles") {
        let tile: Tile = path.parse().expect("a path");
        assert_eq!(tile.to_string(), *path);
        assert!(tile.min_size().is_some_and(|size| size <= tree.size()));
        let bytes = match tile.kind {
            TileKind::Hashes(_) => tree.tile(tile),
            TileKind::Entries => {
                let first = (tile.n * TILE_LEN) as usize + 1;
                let lines = (first..first + tile.width as usize).map(&line);
                lines.flat_map(|line| entry(&line)).collect()
            }
        };
        assert_eq!(hex(&sha256(&bytes)), text(sha), "{path}");
    }
}

#[test]
fn proofs_of_the_log_are_as_given_and_a_changed_one_is_refused() {
    let vectors = vectors();
    let tree = Tree::of_lines(&lines(&vectors["log"]));
    compare_proofs(&vectors["log"], &tree);
    for vector in list(&vectors["log"]["proof_files"]) {
        let (id, size) = (number(&vector["id"]), number(&vector["size"]));
        let file = text(&vector["text"]);
        let proof: Proof = file.parse().expect("a proof");
        assert_eq!(proof.to_string(), file);
        let Ok(hashes) = inclusion_proof(&tree, id - 1, size);
        assert_eq!((proof.index, &proof.hashes), (id - 1, &hashes));
        let key = if size <= 300 { "A" } else { "B" };
        let key = parsed(&vectors["keys"][key]["vkey"]);
        let leaf = verify_roll(&proof, &key, None).expect("a proven roll");
        assert_eq!(leaf.to_string(), text(&vectors["log"]["lines"][id as usize - 1]));
    }
}

fn compare_proofs(vectors: &Value, tree: &Tree) {
    for vector in list(&vectors["inclusion"]) {
        let (index, size) = (number(&vector["id"]) - 1, number(&vector["size"]));
        let Ok(proof) = inclusion_proof(tree, index, size);
        assert_eq!(proof, hashes(&vector["proof"]));
        let (Ok(leaf), Ok(root)) = (tree.node(0, index), root(tree, size));
        assert_eq!(root_of_inclusion(leaf, index, size, &proof), Some(root));
        for place in 0..proof.len() {
            let mut other = proof.clone();
            other[place] = changed(other[place]);
            assert_ne!(root_of_inclusion(leaf, index, size, &other), Some(root));
        }
        let longer = [proof.clone(), vec![leaf]].concat();
        assert_eq!(root_of_inclusion(leaf, index, size, &longer), None);
        assert_ne!(root_of_inclusion(changed(leaf), index, size, &proof), Some(root));
        assert_ne!(root_of_inclusion(leaf, size, size, &proof), Some(root));
        if !proof.is_empty() {
            assert_eq!(root_of_inclusion(leaf, index, size, &proof[1..]), None);
        }
    }
    for vector in list(&vectors["consistency"]) {
        let (old, new) = (number(&vector["old"]), number(&vector["new"]));
        let Ok(proof) = consistency_proof(tree, old, new);
        assert_eq!(proof, hashes(&vector["proof"]), "{old} to {new}");
        let (Ok(old_root), Ok(new_root)) = (root(tree, old), root(tree, new));
        let holds = |old_root, new_root, proof: &[Hash]| {
            is_consistent((old, old_root), (new, new_root), proof)
        };
        assert!(holds(old_root, new_root, &proof), "{old} to {new}");
        assert!(!holds(changed(old_root), new_root, &proof));
        assert!(!holds(old_root, changed(new_root), &proof));
        assert!(!holds(old_root, new_root, &[proof.clone(), vec![old_root]].concat()));
        for place in 0..proof.len() {
            let mut other = proof.clone();
            other[place] = changed(other[place]);
            assert!(!holds(old_root, new_root, &other));
        }
    }
}

#[test]
fn every_proof_of_small_trees_holds_and_no_other_does() {
    let leaves: Vec<Hash> = (0..40u32).map(|i| leaf_hash(&i.to_string())).collect();
    let tree = Tree::new(leaves.clone());
    let mut frontier = Frontier::default();
    for (size, leaf) in (1..=40u64).zip(&leaves) {
        frontier.push(*leaf);
        let Ok(root_here) = root(&tree, size);
        assert_eq!(frontier.root(), root_here);
        assert_eq!(Frontier::read(&tree, size), Ok(frontier.clone()));
        for index in 0..size {
            let Ok(proof) = inclusion_proof(&tree, index, size);
            for (other, leaf) in (0..).zip(&leaves) {
                let seen = root_of_inclusion(*leaf, other, size, &proof) == Some(root_here);
                assert_eq!(seen, other == index, "leaf {other} by the proof of {index} in {size}");
            }
        }
        for old in 1..=size {
            let (Ok(old_root), Ok(proof)) = (root(&tree, old), consistency_proof(&tree, old, size));
            assert_eq!(roots(&tree, old, size), Ok((old_root, root_here)));
            for other in 1..=40 {
                let seen = is_consistent((old, old_root), (other, root_here), &proof);
                // A proof names only hashes: for some other sizes it reads the same way.
                assert!(seen || other != size, "{old} to {size}");
            }
        }
    }
}

#[test]
fn a_block_ends_where_its_last_seed_is_and_the_next_one_was_announced() {
    let vectors = vectors();
    let vector = &vectors["boundary"];
    let secret = secret(&vectors, "A");
    let first = Block::of(RollId(1));
    let [seeds, next_seeds] =
        [first, first.next()].map(|block| BlockSeeds::compute(&secret, block));
    let next_anchor = next_seeds.anchor();
    let last_anchor = BlockSeeds::compute(&secret, first.next().next()).anchor();
    let dice = vec!["1D6".parse().expect("a die"), "1D20".parse().expect("a die")];
    let dice: Dice = dice.try_into().expect("dice");
    let start_ms = number(&vector["start_ms"]) as i64;
    let line = |id: i64, seeds: &mut [BlockSeeds; 2]| {
        let id = RollId(id);
        let of_first = Block::of(id) == first;
        let seed = seeds[usize::from(!of_first)].seed(id);
        let millis = start_ms + 1000 * id.0;
        let time = jiff::Timestamp::from_millisecond(millis).expect("a time");
        let next = if of_first { next_anchor } else { last_anchor };
        let next = (id == Block::of(id).first()).then_some(next);
        let dice = draw::results(seed, id, &dice);
        let roll = Roll { id, rolled_at: RolledAt::truncate(time), dice };
        Leaf::Proven { roll, seed, next }.to_string()
    };
    let mut seeds = [seeds, next_seeds];
    for (id, expected) in vector["some_lines"].as_object().expect("lines") {
        assert_eq!(line(id.parse().expect("an id"), &mut seeds), text(expected));
    }
    let n_rolls = number(&vector["size"]) as i64;
    let mut chains = Chains::default();
    for id in [1..=2, crate::seeds::BLOCK_LEN - 100..=n_rolls].into_iter().flatten() {
        let leaf: Leaf = line(id, &mut seeds).parse().expect("a leaf");
        let Leaf::Proven { roll, seed, next } = leaf else { panic!("roll {id} has no seed") };
        assert_eq!(chains.follow(roll.id, seed, next), Ok(None), "roll {id}");
    }
    // One thread for each half.
    let hashes = |ids: RangeInclusive<i64>| {
        let mut seeds = seeds.clone();
        ids.map(|id| leaf_hash(&line(id, &mut seeds))).collect::<Vec<Hash>>()
    };
    let leaves = thread::scope(|scope| {
        let first_half = scope.spawn(|| hashes(1..=n_rolls / 2));
        let second_half = hashes(n_rolls / 2 + 1..=n_rolls);
        [first_half.join().expect("hashes"), second_half].concat()
    });
    let tree = Tree::new(leaves);
    let key: VerifierKey = parsed(&vectors["keys"]["A"]["vkey"]);
    let checkpoint = Checkpoint::open(text(&vector["checkpoint"]["text"]), &key);
    let Ok(root_of_all) = root(&tree, n_rolls as u64);
    let expected = Checkpoint { size: n_rolls as u64, root: root_of_all };
    assert_eq!(checkpoint, Ok(expected));
    for (size, expected) in vector["roots"].as_object().expect("roots") {
        let Ok(root) = root(&tree, size.parse().expect("a size"));
        assert_eq!(root.to_string(), text(expected));
    }
    compare_proofs(vector, &tree);
    compare_tiles(&vector["tiles_sha256"], &tree, |_| unreachable!("no entries"));
}

#[test]
fn a_history_from_before_the_log_has_leaves_without_seeds() {
    let vectors = vectors();
    let vector = &vectors["upgraded"];
    let mut seeds = BlockSeeds::compute(&secret(&vectors, "C"), Block::of(RollId(1)));
    let next = BlockSeeds::compute(&secret(&vectors, "C"), Block::of(RollId(1)).next()).anchor();
    let dice = vec!["1D6".parse().expect("a die"), "1D20".parse().expect("a die")];
    let dice = dice.try_into().expect("dice");
    let first = number(&vector["first"]) as i64;
    let mut verifier = HistoryVerifier::default();
    let mut seen = HashMap::new();
    for id in 1..=300 {
        let millis = number(&vector["start_ms"]) as i64 + 1000 * id;
        let time = jiff::Timestamp::from_millisecond(millis).expect("a time");
        let (rolled_at, id) = (RolledAt::truncate(time), RollId(id));
        let leaf = match id.0 {
            ..=20 => Leaf::Missing(id),
            _ if id.0 < first => {
                let faces = (id.0 * 7919 % 6 + 1, id.0 * 7919 % 20 + 1);
                let dice = format!(r#"{{"1D6":{},"1D20":{}}}"#, faces.0, faces.1);
                Leaf::Unproven(Roll { id, rolled_at, dice: dice.parse().expect("results") })
            }
            _ => {
                let seed = seeds.seed(id);
                let roll = Roll { id, rolled_at, dice: draw::results(seed, id, &dice) };
                Leaf::Proven { roll, seed, next: (id.0 == first).then_some(next) }
            }
        };
        verifier.push(&leaf.to_string()).expect("a leaf");
        seen.insert(id.0.to_string(), leaf.to_string());
    }
    for (id, expected) in vector["some_lines"].as_object().expect("lines") {
        assert_eq!(seen[id], text(expected));
    }
    assert_eq!(verifier.tree().root().to_string(), text(&vector["root"]));
    let key: VerifierKey = parsed(&vectors["keys"]["C"]["vkey"]);
    let checkpoint = Checkpoint::open(text(&vector["checkpoint"]["text"]), &key);
    verifier.compare(&checkpoint.expect("a checkpoint")).expect("the signed tree");
    let Summary { n_proven, n_unproven, breaks } = verifier.summary();
    assert_eq!((*n_proven, *n_unproven, breaks.len()), (10, 290, 0));
}

#[test]
fn the_log_is_verified_with_its_break_and_its_roll_without_a_seed() {
    let vectors = vectors();
    let log = &vectors["log"];
    let mut verifier = HistoryVerifier::default();
    for line in lines(log) {
        verifier.push(&line).expect("a leaf");
    }
    let breaks: Vec<u64> = list(&log["breaks"]).iter().map(number).collect();
    let seen: Vec<u64> = verifier.summary().breaks.iter().map(|Break(id)| id.0 as u64).collect();
    assert_eq!(seen, breaks);
    assert_eq!(verifier.summary().n_unproven, list(&log["unproven"]).len() as u64);
}

#[test]
fn a_falsified_history_is_refused() {
    let vectors = vectors();
    let tampered = &vectors["tampered"];
    let n_base = number(&tampered["n_base"]) as usize;
    let base = &lines(&vectors["log"])[..n_base];
    let key: VerifierKey = parsed(&vectors["keys"]["A"]["vkey"]);
    for history in list(&tampered["histories"]) {
        let key = history.get("vkey").map_or_else(|| key.clone(), parsed);
        let seen = verify(&edited(base, &history["edits"]), text(&history["checkpoint"]), &key);
        let seen = seen.err().map(|refusal| kind(&refusal));
        let expected = history["refused_for"].as_str();
        // Any check may refuse a changed line first. If the line was not signed again, the check of
        // the root refuses it at the latest.
        assert_eq!(seen.is_some(), expected.is_some(), "{}: {seen:?}", history["name"]);
        if history["resigned"] == true {
            assert_eq!(seen, expected, "{}", history["name"]);
        }
    }
    let with_break = &tampered["break"];
    let mut seeds = BlockSeeds::compute(&secret(&vectors, "B"), Block::of(RollId(1)));
    let next = BlockSeeds::compute(&secret(&vectors, "B"), Block::of(RollId(1)).next()).anchor();
    let first = number(&with_break["at"]) as i64;
    let lines: Vec<String> = base
        .iter()
        .map(|line| line.parse::<Leaf>().expect("a leaf"))
        .map(|leaf| match leaf {
            Leaf::Proven { roll: Roll { id, rolled_at, dice }, .. } if id.0 >= first => {
                let seed = seeds.seed(id);
                let dice: Vec<Die> = dice.0.iter().map(|result| result.die).collect();
                let dice = draw::results(seed, id, &dice.try_into().expect("dice"));
                let next = (id.0 == first).then_some(next);
                Leaf::Proven { roll: Roll { id, rolled_at, dice }, seed, next }
            }
            leaf => leaf,
        })
        .map(|leaf| leaf.to_string())
        .collect();
    let summary = verify(&lines, text(&with_break["checkpoint"]), &key).expect("a history");
    assert_eq!(summary.breaks, [Break(RollId(first))]);
}

#[test]
fn a_falsified_proof_is_refused() {
    let vectors = vectors();
    let key: VerifierKey = parsed(&vectors["keys"]["A"]["vkey"]);
    for vector in list(&vectors["tampered"]["proofs"]) {
        let proof: Proof = parsed(&vector["text"]);
        let known = vector.get("earlier").map(|earlier| {
            (RollId(number(&earlier["id"]) as i64), parsed::<Seed>(&earlier["seed"]))
        });
        let id = RollId(number(&vector["id"]) as i64);
        let seen = verify_roll(&proof, &key, known);
        // The reader asked for a certain roll.
        let seen = match seen {
            Ok(leaf) if leaf.id() != id => Some("id"),
            Ok(_) => None,
            Err(refusal) => Some(kind(&refusal)),
        };
        let expected = vector["refused_for"].as_str();
        assert_eq!(seen.is_some(), expected.is_some(), "{}: {seen:?}", vector["name"]);
    }
}

#[test]
fn the_seed_of_a_roll_is_not_an_earlier_one() {
    let vectors = vectors();
    let proof = &list(&vectors["log"]["proof_files"])[0];
    let key = if number(&proof["size"]) <= 300 { "A" } else { "B" };
    let key: VerifierKey = parsed(&vectors["keys"][key]["vkey"]);
    let proof: Proof = parsed(&proof["text"]);
    let leaf = verify_roll(&proof, &key, None).expect("a proven roll");
    let (id, seed) = (leaf.id(), leaf.seed().expect("a seed"));
    let with_known = |id, seed| verify_roll(&proof, &key, Some((id, seed)));
    assert_eq!(with_known(id.previous(), seed.previous()), Ok(leaf.clone()));
    assert_eq!(with_known(id, seed), Err(Refusal::Known { id, known: id }));
}

#[test]
fn a_checkpoint_that_contradicts_the_known_one_is_a_fork() {
    use Followed::{Grown, Older};
    let vectors = vectors();
    let n_base = number(&vectors["tampered"]["n_base"]) as usize;
    let base = &lines(&vectors["log"])[..n_base];
    let key: VerifierKey = parsed(&vectors["keys"]["A"]["vkey"]);
    let mut seen = Vec::new();
    for vector in list(&vectors["follow"]) {
        let open = |note: &Value| Checkpoint::open(text(note), &key).expect("a checkpoint");
        let (known, new) = (open(&vector["known"]), open(&vector["checkpoint"]));
        // The leaves of the larger tree: the new ones, or those that were known.
        let new_lines = edited(base, &vector["edits"]);
        let larger = if new.size < known.size { base } else { &new_lines[..] };
        let Ok(root) = root(&Tree::of_lines(larger), known.size.min(new.size));
        let followed = follow(known, new, root);
        assert_eq!(followed.is_ok(), vector["accepted"] == true, "{}", vector["name"]);
        if new.size > known.size {
            // The same by the new leaves, from the tile on in which the first of them is.
            let n_before = (known.size / TILE_LEN * TILE_LEN) as usize;
            let grow = |new_lines: &[String]| {
                let mut before = Frontier::default();
                new_lines[..n_before].iter().for_each(|line| before.push(leaf_hash(line)));
                let mut old = HistoryVerifier::default();
                base[..known.size as usize]
                    .iter()
                    .try_for_each(|line| old.push(line))
                    .expect("leaves");
                let mut growth = Growth::new(known, *old.chains(), before);
                new_lines[n_before..].iter().for_each(|line| growth.push(line));
                growth.finish(new).map(|_| Grown)
            };
            assert_eq!(grow(&new_lines), followed.map_err(Contradiction::from));
            let mut other = new_lines.clone();
            other[(new.size - 1) as usize] = other[0].replace("v1 1 ", "v1 300 ");
            let not_signed =
                |seen| matches!(seen, Contradiction::Leaves(LeavesError::NotSigned(_)));
            assert!(grow(&other).is_err_and(not_signed), "other leaves");
        }
        seen.push(followed.ok());
    }
    assert_eq!(seen, [Some(Grown), Some(Older), None, None, None]);
}

#[test]
fn a_log_is_blamed_only_for_leaves_with_the_signed_root() {
    let mut leaves = lines(&vectors()["log"])[..41].to_vec();
    let verify = |leaves: &[String]| {
        let mut verifier = HistoryVerifier::default();
        let pushed: Vec<_> = leaves.iter().filter_map(|leaf| verifier.push(leaf).err()).collect();
        (verifier, pushed)
    };
    let signed = |verifier: &HistoryVerifier| {
        let tree = verifier.tree();
        Checkpoint { size: tree.size(), root: tree.root() }
    };
    let (honest, _) = verify(&leaves);
    assert_eq!(honest.finish(&signed(&honest)), Ok(()));
    // Another die.
    leaves[8] = leaves[9].replacen("v1 10 ", "v1 9 ", 1);
    let (changed, pushed) = verify(&leaves);
    assert!(matches!(pushed[0], Refusal::Dice { id: RollId(9), .. }), "{pushed:?}");
    let first = pushed[0].clone();
    assert_eq!(changed.finish(&signed(&changed)), Err(LeavesError::Refused(first.clone())));
    assert_eq!(changed.finish(&signed(&honest)), Err(LeavesError::NotSigned(first)));
    // Only the root tells these leaves from the signed ones.
    let mut other = signed(&honest);
    other.root = changed.tree().root();
    let seen = honest.finish(&other);
    assert!(matches!(seen, Err(LeavesError::NotSigned(Refusal::Root { .. }))), "{seen:?}");
}

#[test]
fn chains_are_followed_further_from_their_text_and_after_pruned_rolls() {
    let vectors = vectors();
    let leaves = lines(&vectors["log"]);
    let tree = |n: usize| {
        let mut tree = Frontier::default();
        leaves[..n].iter().for_each(|line| tree.push(leaf_hash(line)));
        tree
    };
    let verify = |mut verifier: HistoryVerifier, leaves: &[String]| {
        leaves.iter().try_for_each(|line| verifier.push(line)).map(|()| verifier)
    };
    let whole = verify(HistoryVerifier::default(), &leaves).expect("a history");
    for n in [0, 1, 256, 300, 310, 519] {
        let part = verify(HistoryVerifier::default(), &leaves[..n]).expect("a history");
        let chains: Chains = part.chains().to_string().parse().expect("the same chains");
        assert_eq!(chains, *part.chains());
        let rest = verify(HistoryVerifier::resume(tree(n), chains), &leaves[n..]);
        let rest = rest.expect("the rest");
        assert_eq!((rest.chains(), rest.tree()), (whole.chains(), whole.tree()), "{n}");
        let pruned = verify(HistoryVerifier::after_pruned(tree(n)), &leaves[n..]);
        let pruned = pruned.expect("what is kept");
        assert_eq!(pruned.tree(), whole.tree(), "{n}");
        // Nobody knows what pruned rolls announced.
        let expected = [0, 300].contains(&n).then_some(RollId(n as i64 + 1));
        assert_eq!(pruned.chains().unknown(), expected, "{n}");
        let breaks = if n < 300 { vec![Break(RollId(301))] } else { vec![] };
        assert_eq!(pruned.summary().breaks, breaks, "{n}");
        // A seed that is left out changes nothing, unless it begins a chain.
        if n > 0 && n + 1 < leaves.len() {
            let resumed = HistoryVerifier::resume(tree(n + 1), chains);
            assert!(verify(resumed, &leaves[n + 1..]).is_ok() == (n != 300), "{n}");
        }
    }
    for text in ["", "none ", "0 - -", "41", "41 x -", &format!("41 {} - -", Seed([7; 32]))] {
        assert!(text.parse::<Chains>().is_err(), "{text}");
    }
}

/// Verifies a history. The checkpoint may belong to another one.
fn verify(lines: &[String], note: &str, key: &VerifierKey) -> Result<Summary, Refusal> {
    let checkpoint = Checkpoint::open(note, key)?;
    let mut verifier = HistoryVerifier::default();
    for line in lines {
        verifier.push(line)?;
    }
    verifier.compare(&checkpoint)?;
    Ok(verifier.summary().clone())
}

/// The name of a refusal in the test vectors.
fn kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Form { .. } => "format",
        Refusal::Id { .. } => "id",
        Refusal::Dice { .. } => "dice",
        Refusal::Seed(_) | Refusal::Known { .. } => "seed",
        Refusal::Note(NoteError::Origin { .. }) => "origin",
        Refusal::Note(_) => "signature",
        Refusal::Size { .. } => "size",
        Refusal::Root { .. } | Refusal::Length { .. } => "root",
    }
}

/// Applies the edits of a vector. Lines count from 1.
fn edited(base: &[String], edits: &Value) -> Vec<String> {
    let mut lines = base.to_vec();
    let at = |edit: &Value, key: &str| number(&edit[key]) as usize - 1;
    for edit in list(edits) {
        match text(&edit["do"]) {
            "replace" => lines[at(edit, "line")] = text(&edit["with"]).into(),
            "delete" => drop(lines.remove(at(edit, "line"))),
            "insert" => lines.insert(at(edit, "line"), text(&edit["with"]).into()),
            "swap" => lines.swap(at(edit, "line"), at(edit, "and")),
            "copy" => lines[at(edit, "to")] = lines[at(edit, "line")].clone(),
            "keep" => lines.truncate(number(&edit["n"]) as usize),
            other => panic!("unknown edit {other}"),
        }
    }
    lines
}
