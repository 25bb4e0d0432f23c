//! No roll is missing or repeated between the rows of the loaded page and those of the stream.

use std::sync::Arc;

use crate::browser::Browser;
use crate::common::House;
use crate::proxy::{Answer, Proxy};
use crate::rows::{compare, head, roll_until};

/// Waits for live rows above the ten rows of the loaded page.
fn wait_for_live_rows(browser: &Browser) {
    browser.wait_for("document.querySelectorAll('#rolls > .roll').length >= 13");
}

fn rolling_house() -> House {
    let house = House::new("every = '50ms'\npage_size = 10");
    house.fill(10, 1);
    house
}

#[test]
fn the_seam_holds_in_a_hundred_page_loads_at_random_moments() {
    let house = rolling_house();
    let _server = house.start();
    let browser = Browser::open();
    for load in 1..=100 {
        browser.goto(&house.url("/"));
        wait_for_live_rows(&browser);
        if let Err(error) = compare(&browser, &house) {
            panic!("load {load}: {error}");
        }
    }
    browser.assert_quiet(&[]);
}

/// A proxy that opens a stream only when three more rolls have been made. `ask` changes the path
/// that the page requests.
fn late_streams(house: &Arc<House>, ask: fn(&str) -> &str) -> Proxy {
    let rolling = house.clone();
    Proxy::new(house, move |path| {
        if !path.starts_with("/stream") {
            return Answer::Forward(path.into());
        }
        roll_until(head(&rolling) + 3, &rolling);
        Answer::Forward(ask(path).into())
    })
}

#[test]
fn the_seam_holds_when_the_stream_opens_late_and_a_broken_seam_is_found() {
    let house = Arc::new(rolling_house());
    let _server = house.start();
    let browser = Browser::open();

    let late = late_streams(&house, |path| path);
    browser.goto(&late.url("/"));
    wait_for_live_rows(&browser);
    compare(&browser, &house).unwrap();

    // Control: without the cursor the stream starts at a later roll.
    let broken = late_streams(&house, |_| "/stream/");
    browser.goto(&broken.url("/"));
    browser.wait_for("document.querySelector('#rolls').children.length >= 13");
    let found = compare(&browser, &house).map(|rows| rows.len());
    assert!(found.is_err(), "expected a gap to be found, got {found:?} rows without one");
}
