//! The npm package `event-source-polyfill` with its defaults. It reconnects automatically, and
//! resumes with the parameter `lastEventId` instead of the header.

use crate::client::{
    Client, assert_that_it_sees_every_roll_once, assert_that_it_sees_every_roll_since, node,
    printed,
};
use crate::common::{Door, Instance, at_each_door};

at_each_door!(
    event_source_polyfill_sees_every_roll_once_across_two_kills_of_the_server,
    event_source_polyfill_loses_no_roll_of_a_live_stream_across_two_kills_of_the_server,
);

fn event_source_polyfill_sees_every_roll_once_across_two_kills_of_the_server(door: Door) {
    assert_that_it_sees_every_roll_once(door, |instance| listen(instance, "/stream/?after=0"), 2);
}

fn event_source_polyfill_loses_no_roll_of_a_live_stream_across_two_kills_of_the_server(door: Door) {
    assert_that_it_sees_every_roll_since(door, "live", |instance| listen(instance, "/stream/"), 2);
}

fn listen(instance: &Instance, path: &str) -> Client {
    let script = include_str!("event-source-polyfill.mjs");
    Client::spawn(node(script).arg(instance.url(path)), printed)
}
