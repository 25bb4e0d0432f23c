//! The PyPI package `httpx-sse`. It parses the stream; its caller reconnects. It turns a block
//! without data into an empty event.

use crate::client::{Client, assert_that_it_sees_every_roll_once, printed, python};
use crate::common::{Door, Instance, at_each_door};

at_each_door!(httpx_sse_sees_every_roll_once_and_no_empty_event_across_two_kills_of_the_server);

fn httpx_sse_sees_every_roll_once_and_no_empty_event_across_two_kills_of_the_server(door: Door) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/httpx_sse_client.py");
    let listen = |instance: &Instance| {
        Client::spawn(python().arg(script).arg(instance.url("/stream/?after=0")), printed)
    };
    assert_that_it_sees_every_roll_once(door, listen, 2);
}
