//! The npm package `launchdarkly-eventsource`: like a browser, but able to listen by POST. It
//! resumes by itself.

use crate::client::{Client, node, printed};
use crate::common::House;
use crate::oracle::{compare_all, head};

#[test]
fn launchdarkly_eventsource_sees_every_roll_once_by_post() {
    let house = House::new("every = '50ms'");
    let mut server = house.start();
    let url = house.url("/stream/?after=0");
    let mut client = Client::spawn(node(include_str!("launchdarkly.mjs")).arg(url), printed);
    client.see_roll(20);
    client.lose(&mut server, &house);
    let live_again = head(&house) + 20;
    client.see_roll(live_again);

    client.lose_at_last(&mut server, &house);
    let seen = client.see_roll(head(&house));
    compare_all(&seen.rolls, 1, &house).unwrap();
    seen.assert_modes(&["resumed"; 3]);
}
