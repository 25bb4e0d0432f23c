//! The npm package `@microsoft/fetch-event-source`. It resumes automatically. It turns a block
//! without data into an empty event.

use crate::client::{Client, assert_that_it_sees_every_roll_once, node, printed};
use crate::common::{Door, Instance, at_each_door};

at_each_door!(
    fetch_event_source_sees_every_roll_once_and_no_empty_event_across_two_kills_of_the_server
);

fn fetch_event_source_sees_every_roll_once_and_no_empty_event_across_two_kills_of_the_server(
    door: Door,
) {
    let listen = |instance: &Instance| {
        let url = instance.url("/stream/?after=0");
        Client::spawn(node(include_str!("fetch-event-source.mjs")).arg(url), printed)
    };
    assert_that_it_sees_every_roll_once(door, listen, 2);
}
