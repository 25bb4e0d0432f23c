//! The end of a block of seeds, at a thousand rolls a second and across kills.

use rollcast::log::Leaf;
use rollcast::roll::RollId;
use rollcast::seeds::{BLOCK_LEN, Seed};

use crate::common::log_reader::{checkpoint_of, key};
use crate::common::log_server::get;
use crate::common::{Instance, run, wait_for};
use crate::kills::head;
use crate::retention::{Reader, ResumeWith};

/// The last roll of the first block.
const LAST: i64 = BLOCK_LEN;

/// The leaf of a roll, from its proof.
fn leaf(instance: &Instance, id: i64) -> (Seed, Option<Seed>) {
    let proof = get(&instance.url(&format!("/rolls/{id}/proof"))).unwrap();
    let proof: rollcast::log::Proof = proof.parse().unwrap();
    match proof.leaf.parse().unwrap() {
        Leaf::Proven { roll, seed, next } => {
            assert_eq!(roll.id, RollId(id));
            (seed, next)
        }
        leaf => panic!("expected a seed: {leaf}"),
    }
}

#[test]
fn rolls_pass_the_end_of_a_block_and_begin_the_chain_that_was_announced() {
    let instance = Instance::new("every = '1ms'");
    let first = LAST - 1_500;
    instance.fill(first - 1, first - 100);
    let reader = Reader::start(&instance, ResumeWith::LastEventId, first - 1);
    // Killed before the end of the block, and about at it.
    for size in [LAST - 700, LAST - 3] {
        let mut server = instance.start();
        wait_for("rolls", || (head(&instance) >= size).then_some(()));
        server.kill();
    }
    let mut server = instance.start();
    checkpoint_of(&instance, LAST as u64 + 600);
    wait_for("the reader", || (reader.last() > LAST + 600).then_some(()));
    let read = reader.stop();
    println!("the longest time between two rolls, kills included: {:?}", read.longest_gap());
    assert_eq!(read.judge(), (0, 0), "lost and repeated rolls");

    let (seed, announced) = leaf(&instance, first);
    let announced = announced.expect("the first roll of the log announces the next block");
    let (next_seed, next_announced) = leaf(&instance, LAST + 1);
    assert_eq!(next_seed.previous(), announced);
    assert!(next_announced.is_some(), "the next block announces the one after it");
    // The chain before leads to its own first seed, and not to the next block.
    let (last_seed, none) = leaf(&instance, LAST);
    assert_eq!(last_seed.back((LAST - first) as u64), seed);
    assert_ne!(next_seed.previous(), last_seed);
    assert_eq!((none, leaf(&instance, LAST + 2).1), (None, None));
    let key = key(&instance).to_string();
    let (code, stdout, stderr) =
        run(instance.command().args(["verify", &instance.url("/"), "--key", &key]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("rolls have no seed"), "{stdout}");
    assert!(!stdout.contains("nobody announced"), "{stdout}");
    server.stop();

    // Control: across a new secret the chain is another one than the announced.
    let n_before = head(&instance);
    let (code, _, stderr) = run(instance.command().arg("rekey"));
    assert_eq!(code, 0, "{stderr}");
    let mut server = instance.start();
    checkpoint_of(&instance, n_before as u64 + 1);
    let (_, stdout, _) = run(instance.command().args(["verify", &instance.url("/")]));
    let broken = format!("nobody announced the chain that begins with roll {}", n_before + 1);
    assert!(stdout.contains(&broken), "{stdout}");
    server.stop();
}
