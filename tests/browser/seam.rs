//! The seam between the rows that a page came with and those that the stream brings.

use std::sync::Arc;

use crate::browser::Browser;
use crate::common::House;
use crate::proxy::{Answer, Proxy};
use crate::rows::{compare, head, roll_until};

/// Waits until live rows stand above those of the page, which are ten.
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

/// A proxy that opens a stream only when three more rolls have been made, and asks for it by
/// the path that `ask` makes of the page's own.
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
fn the_seam_holds_when_the_stream_opens_late_and_the_test_sees_a_seam_that_does_not() {
    let house = Arc::new(rolling_house());
    let _server = house.start();
    let browser = Browser::open();

    let late = late_streams(&house, |path| path);
    browser.goto(&late.url("/"));
    wait_for_live_rows(&browser);
    compare(&browser, &house).unwrap();

    // The control: without its cursor the stream starts where it likes.
    let broken = late_streams(&house, |_| "/stream/");
    browser.goto(&broken.url("/"));
    browser.wait_for("document.querySelector('#rolls').children.length >= 13");
    let found = compare(&browser, &house).map(|rows| rows.len());
    assert!(found.is_err(), "expected a gap to be found, got {found:?} rows without one");
}
