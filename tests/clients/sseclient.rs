//! The PyPI package `sseclient-py`. It parses the stream; its caller reconnects.

use crate::client::{Client, assert_that_it_sees_every_roll_once, printed, python};
use crate::common::{Door, Instance, at_each_door};
use crate::oracle::{Seen, compare, head};

at_each_door!(sseclient_py_sees_every_roll_once_across_kills_of_the_server);

fn sseclient_py_sees_every_roll_once_across_kills_of_the_server(door: Door) {
    let listen = |instance: &Instance| listen(instance, "/stream/?after=0", &[]);
    assert_that_it_sees_every_roll_once(door, listen, 2);
}

#[test]
fn a_client_that_forgets_its_last_event_id_is_seen_to_have_a_gap() {
    let (instance, seen, back) = reconnect_without_id("/stream/", &["live", "live"]);
    let first = Seen::first_after(&seen.syncs[0]);
    let last = seen.rolls[back - 1].id;
    let found = compare(&seen.rolls, first, &instance);
    let gap = format!("expected roll {}, saw roll {}", last + 1, seen.rolls[back].id);
    assert_eq!(found, Err(gap));
    compare(&seen.rolls[..back], first, &instance).expect("no gap before the server was killed");
}

#[test]
fn a_client_that_forgets_its_last_event_id_is_seen_to_repeat_rolls() {
    let (instance, seen, back) = reconnect_without_id("/stream/?after=0", &["resumed"; 2]);
    let last = seen.rolls[back - 1].id;
    let found = compare(&seen.rolls, 1, &instance);
    assert_eq!(found, Err(format!("expected roll {}, saw roll 1", last + 1)));
    compare(&seen.rolls[..back], 1, &instance).expect("no repeat before the server was killed");
}

/// Runs a client that reconnects without an id. Returns the instance, what the client received, and
/// the index of the first roll after the reconnect.
fn reconnect_without_id(path: &str, modes: &[&str]) -> (Instance, Seen, usize) {
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    let mut client = listen(&instance, path, &["--forget"]);
    client.see("20 rolls", |seen| seen.rolls.len() >= 20);
    client.restart_server(&mut server, &instance);
    let live_again = head(&instance) + 20;
    let seen = client.see_roll(live_again);
    seen.assert_modes(modes);
    let jump = seen.rolls.windows(2).position(|pair| pair[1].id != pair[0].id + 1);
    let back = jump.expect("rolls were missed or repeated") + 1;
    (instance, seen, back)
}

fn listen(instance: &Instance, path: &str, options: &[&str]) -> Client {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/sseclient_py.py");
    Client::spawn(python().arg(script).arg(instance.url(path)).args(options), printed)
}
