//! A roll that is tried again is the same roll. The dice of an id follow from the secret alone, so a
//! server that is killed before a commit cannot throw again for another result.

use std::fs;

use rollcast::dice::Dice;
use rollcast::draw;
use rollcast::roll::RollId;
use rollcast::seeds::{Secret, Seeds};
use rusqlite::Connection;

use crate::common::{Instance, Server, http, wait_for};
use crate::kills::head;

const DICE: [&str; 2] = ["1D1000", "1D999"];

/// The dice that a secret gives for a roll, as stored.
fn dice_of(seeds: &Seeds, id: i64) -> String {
    let dice: Vec<_> = DICE.iter().map(|die| die.parse().unwrap()).collect();
    let dice = Dice::try_from(dice).unwrap();
    draw::results(seeds.seed(RollId(id)), RollId(id), &dice).to_string()
}

/// Locks the database until a roll was tried at least twice. Returns the lock, the newest roll, and
/// the time after the first attempt.
fn lock(instance: &Instance, server: &Server) -> (Connection, i64, jiff::Timestamp) {
    let outside = Connection::open(instance.database()).unwrap();
    wait_for("the lock", || outside.execute_batch("begin immediate").ok());
    let n_failures = || {
        let metrics = http().get(instance.url("/metrics")).call().unwrap();
        let metrics = metrics.into_body().read_to_string().unwrap();
        let line = "rollcast_append_failures_total ";
        let n = metrics.lines().find_map(|it| it.strip_prefix(line)).expect("the metric");
        n.parse::<f64>().unwrap()
    };
    let before = n_failures();
    wait_for("a failed attempt", || (n_failures() > before).then_some(()));
    let tried = jiff::Timestamp::now();
    wait_for("a second one", || (n_failures() > before + 1.0).then_some(()));
    assert!(server.log().iter().any(|line| line.contains("no roll can be stored")));
    (outside, head(instance), tried)
}

#[test]
fn a_retried_roll_keeps_its_dice_and_its_time_and_after_a_kill_its_dice() {
    let instance = Instance::new("every = '20ms'\ndice = ['1D1000', '1D999']");
    let mut server = instance.start();
    let secret = fs::read_to_string(instance.path().join("rolls.secret")).unwrap();
    let seeds = Seeds::new(Secret::parse(&secret).unwrap());
    wait_for("rolls", || (head(&instance) > 5).then_some(()));

    let (outside, newest, tried) = lock(&instance, &server);
    outside.execute_batch("rollback").unwrap();
    wait_for("the roll", || (head(&instance) > newest).then_some(()));
    let (id, rolled_at, dice) = instance.stored()[newest as usize].clone();
    assert_eq!((id, dice), (newest + 1, dice_of(&seeds, newest + 1)));
    let rolled_at: jiff::Timestamp = rolled_at.parse().unwrap();
    assert!(rolled_at < tried, "tried first before {tried}, stored with {rolled_at}");

    let (outside, newest, _) = lock(&instance, &server);
    server.kill();
    drop(outside);
    let mut server = instance.start();
    wait_for("the roll", || (head(&instance) > newest + 20).then_some(()));
    server.stop();
    let stored = instance.stored();
    for (id, _, dice) in &stored {
        assert_eq!(*dice, dice_of(&seeds, *id), "roll {id}");
    }
    // Control: another secret gives other dice.
    let other = Seeds::new(Secret::generate().unwrap());
    let n_same = stored.iter().filter(|(id, _, dice)| *dice == dice_of(&other, *id)).count();
    assert!(n_same * 2 < stored.len(), "{n_same} rolls are the same with another secret");
}
