//! The npm package `launchdarkly-eventsource`. It works like a browser's `EventSource`, but can
//! also use POST. It resumes automatically.

use crate::client::{Client, assert_that_it_sees_every_roll_once, node, printed};
use crate::common::{Door, Instance, at_each_door};

at_each_door!(launchdarkly_eventsource_sees_every_roll_once_by_post);

fn launchdarkly_eventsource_sees_every_roll_once_by_post(door: Door) {
    let listen = |instance: &Instance| {
        let url = instance.url("/stream/?after=0");
        Client::spawn(node(include_str!("launchdarkly.mjs")).arg(url), printed)
    };
    assert_that_it_sees_every_roll_once(door, listen, 2);
}
