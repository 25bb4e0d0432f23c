//! A fleet without faults.

use std::time::Duration;

use crate::client_oracle::Stored;
use crate::clients::Clients;
use crate::common::wait_for;
use crate::engine::STREAM;
use crate::entries::Author;
use crate::fleet::Fleet;
use crate::nodes::{EVERY, Node};
use crate::oracle::{Replica, differences, gaps, judge};
use crate::report::times;

#[test]
fn three_nodes_have_the_same_rolls_statistics_and_checkpoints_and_the_dice_of_the_seeds() {
    let mut fleet = Fleet::start(3, 3);
    let clients = Clients::start(&fleet, times(3, 30));
    let n_rolls = times(40, 2_000) as i64;
    for node in &fleet.nodes {
        // The time limit is that of a few rolls.
        while node.head() < n_rolls {
            node.wait_for_more(10);
        }
        assert_eq!(node.get("/readyz").0, 200);
        assert_eq!(node.metric("rollcast_fleet_following"), Some(1.0));
        assert_eq!(node.metric("rollcast_fleet_returned_total"), Some(0.0));
        // Control: the warning about other dice and another interval.
        assert_eq!(node.n_logged("another node of the fleet"), 0, "{:#?}", node.log());
    }
    // Each roll was won by one proposal, and after the first rolls nobody competes.
    let proposals = |outcome: &str| -> f64 {
        let name = format!("rollcast_fleet_proposals_total{{outcome=\"{outcome}\"}}");
        fleet.nodes.iter().map(|node| node.metric(&name).unwrap()).sum()
    };
    let [won, lost, unknown] = ["won", "lost", "unknown"].map(proposals);
    println!("proposals: {won} won, {lost} lost, {unknown} unknown");
    assert!(won + unknown >= n_rolls as f64, "{won} won, {unknown} unknown");
    assert!(lost + unknown < won / 2.0, "{won} won, {lost} lost, {unknown} unknown");
    // One key, and both servers' histories follow from it.
    let keys: Vec<String> = fleet.nodes.iter().map(|node| node.get("/api/proof").1).collect();
    let key = serde_json::from_str::<serde_json::Value>(&keys[0]).unwrap()["key"].clone();
    let key = key.as_str().unwrap();
    for node in &fleet.nodes[..2] {
        let verify = |key: &str| fleet.nodes[2].run(&["verify", &node.url("/"), "--key", key]);
        let (code, stdout, stderr) = verify(key);
        assert_eq!(code, 0, "{stdout}{stderr}");
        // Control: another key.
        let other = Fleet::key_of_a_new_secret();
        assert_eq!(verify(&other).0, 1, "a history of another key was verified");
    }
    let verdict = judge(&mut fleet, clients);
    verdict.assert_sound();
    let gaps = gaps(&verdict.rolls);
    let at = |percent: usize| gaps[gaps.len() * percent / 100];
    println!(
        "gaps of rolled_at: {:?} least, {:?} p1, {:?} median, {:?} p99, {:?} most",
        gaps[0],
        at(1),
        at(50),
        at(99),
        gaps[gaps.len() - 1]
    );
    assert!(at(50) < 5 * EVERY, "the median gap is {:?}", at(50));
    assert!(at(50) >= EVERY - Duration::from_millis(5), "the median gap is {:?}", at(50));

    // Control: a row that differs by a millisecond.
    let replica = Replica::read(&fleet.nodes[0].instance);
    let mut changed = replica.clone();
    changed.rolls[7].1.replace_range(20..23, "000");
    changed.rolls[8].1.replace_range(20..23, "001");
    assert_eq!(differences(&[replica, changed]).len(), 1);
    assert!(Stored::read(&fleet.nodes[2].instance).len() >= n_rolls as usize);
}

#[test]
fn a_proposal_by_hand_with_the_right_place_is_followed_and_its_author_makes_no_roll_twice() {
    let fleet = Fleet::start_silent(2);
    let author = Author::new(&fleet.secret);
    let mut nats = fleet.engine.nats();
    for _ in 0..5 {
        let entry = author.next(&fleet.engine);
        let last = entry.id as u64 - 1;
        assert_eq!(nats.append_after(STREAM, last, &entry.text()).unwrap(), last + 1);
        // The log refuses a second roll for a place.
        let error = nats.append_after(STREAM, last, &entry.text()).unwrap_err().to_string();
        assert!(error.contains("10071") || error.contains("wrong last sequence"), "{error}");
        for node in &fleet.nodes {
            node.wait_for_roll(entry.id);
            let stored = node.instance.stored().pop().unwrap();
            assert_eq!(stored, (entry.id, entry.rolled_at.clone(), entry.dice.clone()));
        }
    }
    for node in &fleet.nodes {
        assert_eq!(node.state(), "following", "{:#?}", node.log());
    }
}

#[test]
fn each_node_prunes_for_itself() {
    let mut fleet = Fleet::start_silent(2);
    fleet.nodes[1].stop();
    let mut settings = fleet.nodes[1].settings.clone();
    settings.rollcast = "keep = 10".into();
    fleet.nodes[1].configure(settings);
    fleet.nodes[1].start();
    fleet.nodes[1].wait_until_it_follows();
    // Whole tiles of 256 are pruned.
    let (author, mut nats) = (Author::new(&fleet.secret), fleet.engine.nats());
    let mut last = author.next(&fleet.engine).text();
    for _ in 1..=300 {
        nats.append(STREAM, &last).unwrap();
        last = author.after(&last).text();
    }
    fleet.nodes.iter().for_each(|node| node.wait_for_roll(300));
    wait_for("a prune", || (fleet.nodes[1].instance.stored()[0].0 > 1).then_some(()));
    fleet.nodes.iter().for_each(Node::wait_until_it_follows);
    fleet.stop_all();
    let [all, newest] = [0, 1].map(|n: usize| Replica::read(&fleet.nodes[n].instance).rolls);
    assert_eq!((all[0].0, newest[0].0), (1, 257));
    assert!(all.ends_with(&newest), "{newest:?} is not the end of {all:?}");
}

#[test]
fn other_dice_and_another_interval_on_one_node_are_taken_by_all_with_a_warning_and_the_page_of_the_fleet_shows_its_state()
 {
    let mut fleet = Fleet::start(1, 2);
    fleet.nodes[1].stop();
    let mut settings = fleet.nodes[1].settings.clone();
    settings.rollcast = "dice = ['2D6']".into();
    settings.every = "300ms".into();
    fleet.nodes[1].configure(settings);
    fleet.nodes[1].start();
    fleet.nodes[1].wait_until_it_follows();
    fleet.nodes[0].kill();
    // Node 1 takes over, and rolls its own dice.
    wait_for("a roll with other dice", || {
        let (.., dice) = fleet.nodes[1].instance.stored().pop()?;
        dice.starts_with("{\"2D6\":").then_some(())
    });
    fleet.nodes[0].start();
    fleet.nodes[0].wait_until_it_follows();
    fleet.nodes[0].wait_for_roll(fleet.head());
    let differences = ["another node of the fleet rolls 2D6", "fleet rolls every 300ms"];
    for difference in differences {
        wait_for(difference, || (fleet.nodes[0].n_logged(difference) > 0).then_some(()));
    }
    fleet.nodes[0].wait_for_more(5);
    for difference in differences {
        assert_eq!(fleet.nodes[0].n_logged(difference), 1, "warned once");
    }
    let status = fleet.nodes[0].status();
    for key in ["state", "reason", "head", "log_last", "behind"] {
        assert!(status.get(key).is_some(), "no `{key}` in {status}");
    }
    let (code, page) = fleet.nodes[0].get("/fleet");
    assert!(code == 200 && page.contains("<html"), "{page}");
}
