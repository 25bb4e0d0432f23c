//! The npm package `@microsoft/fetch-event-source`: resumes by itself. It makes an empty event of a
//! block without data.

use crate::client::{Client, assert_that_it_sees_every_roll_once, node, printed};
use crate::common::Instance;

#[test]
fn fetch_event_source_sees_every_roll_once_and_no_empty_event_though_the_server_is_killed_twice() {
    let listen = |instance: &Instance| {
        let url = instance.url("/stream/?after=0");
        Client::spawn(node(include_str!("fetch-event-source.mjs")).arg(url), printed)
    };
    assert_that_it_sees_every_roll_once(listen, 2);
}
