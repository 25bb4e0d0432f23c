//! The npm package `@microsoft/fetch-event-source`. It resumes automatically. It turns a block
//! without data into an empty event.

use crate::client::{Client, assert_that_it_sees_every_roll_once, node, printed};
use crate::common::Instance;

#[test]
fn fetch_event_source_sees_every_roll_once_and_no_empty_event_across_two_kills_of_the_server() {
    let listen = |instance: &Instance| {
        let url = instance.url("/stream/?after=0");
        Client::spawn(node(include_str!("fetch-event-source.mjs")).arg(url), printed)
    };
    assert_that_it_sees_every_roll_once(listen, 2);
}
