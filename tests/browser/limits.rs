//! A page that finds no room.

use crate::browser::Browser;
use crate::common::House;
use crate::common::events::{Ask, Stream};
use crate::rows::{head, rows_up_to};

#[test]
fn a_page_that_is_turned_away_says_so_and_comes_back_by_itself_when_there_is_room() {
    let house = House::new("every = '100ms'\nmax_streams_per_address = 1\ntrusted_proxies = []");
    let server = house.start();
    let mut other = Stream::open(&house.url("/stream/"), Ask::default()).unwrap();
    other.frames(2);
    let browser = Browser::open();
    browser.goto(&house.url("/"));
    browser.read("document.body.dataset.mark = 'the same page'");
    browser.wait_for("document.querySelector('#state').dataset.state === 'busy'");

    drop(other);
    // Its own EventSource waits for the 15 to 45 s that it was asked to, and asks again.
    rows_up_to(head(&house) + 1, &browser, &house);
    browser.wait_for("document.querySelector('#state').dataset.state === 'live'");
    assert_eq!(browser.read("document.body.dataset.mark ?? null"), "the same page");
    let log = server.log();
    let n_refused = log.iter().filter(|line| line.contains("stream refused")).count();
    assert_eq!(n_refused, 1, "it asked before its time");
    browser.assert_quiet(&[]);
}
