//! The PyPI package `httpx-sse`: parses, and leaves it to its caller to reconnect. It makes an empty
//! event of a block without data.

use crate::client::{Client, assert_that_it_sees_every_roll_once, printed, python};
use crate::common::Instance;

#[test]
fn httpx_sse_sees_every_roll_once_and_no_empty_event_though_the_server_is_killed_twice() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/httpx_sse_client.py");
    let listen = |instance: &Instance| {
        Client::spawn(python().arg(script).arg(instance.url("/stream/?after=0")), printed)
    };
    assert_that_it_sees_every_roll_once(listen, 2);
}
