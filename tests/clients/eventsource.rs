//! The npm package `eventsource`, a browser's `EventSource` for Node. It resumes automatically.

use crate::client::{
    Client, assert_that_it_sees_every_roll_once, node, printed, wait_until_rolled,
};
use crate::common::{Door, Instance, at_each_door, wait_for};
use crate::oracle::{Seen, stored};

at_each_door!(
    eventsource_sees_every_roll_once_across_kills_of_the_server,
    the_listener_of_the_article_gets_one_entry_per_die,
);

fn eventsource_sees_every_roll_once_across_kills_of_the_server(door: Door) {
    let listen = |instance: &Instance| {
        let url = instance.url("/stream/?after=0");
        Client::spawn(node(include_str!("eventsource.mjs")).arg(url), printed)
    };
    assert_that_it_sees_every_roll_once(door, listen, 2);
}

fn the_listener_of_the_article_gets_one_entry_per_die(door: Door) {
    let instance = door.instance("every = '50ms'");
    let _server = instance.start();
    wait_until_rolled(&instance, 3);
    let no_rolls = |_: &[String]| Seen::default();
    let script = include_str!("article.mjs");
    let mut client = Client::spawn(node(script).arg(instance.url("/stream/")), no_rolls);
    let n_entries = 40; // of 20 rolls
    wait_for("40 entries", || {
        assert!(client.is_running(), "the listener ended: {:#?}", client.output());
        (client.output().len() >= n_entries).then_some(())
    });

    let entries = client.output()[..n_entries].to_vec();
    let entries_stored: Vec<String> = stored(&instance)
        .iter()
        .flat_map(|roll| {
            // Compare with the order of the dice in the text, which a map would lose.
            let dice = roll.dice.trim_matches(['{', '}']);
            dice.split(',').map(|die| die.replace('"', "").replace(':', " ")).collect::<Vec<_>>()
        })
        .collect();
    assert!(
        entries_stored.windows(n_entries).step_by(2).any(|stored| stored == entries),
        "expected a run of {entries_stored:?}, saw {entries:?}"
    );
}
