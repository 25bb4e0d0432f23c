//! No roll is missing or repeated between the rolls of the loaded page and those of the stream.

use std::sync::Arc;

use crate::browser::Browser;
use crate::common::Instance;
use crate::proxy::{Answer, Proxy};
use crate::rows::{head, roll_until};
use crate::slots::{NEWEST, compare};

/// Waits for three rolls after those of the loaded page.
fn wait_for_live_rolls(browser: &Browser) {
    let loaded = "Number(document.getElementById('rolls').dataset.cursor.split('-')[0])";
    browser.wait_for(&format!("{NEWEST} >= {loaded} + 3"));
}

fn rolling_instance() -> Instance {
    let instance = Instance::new("every = '50ms'");
    instance.fill(10, 1);
    instance
}

#[test]
fn the_seam_holds_in_a_hundred_page_loads_at_random_moments() {
    let browser = Browser::open();
    let instance = rolling_instance();
    let _server = instance.start();
    for load in 1..=100 {
        browser.goto(&instance.url("/"));
        wait_for_live_rolls(&browser);
        if let Err(error) = compare(&browser, &instance) {
            panic!("load {load}: {error}");
        }
    }
    browser.assert_quiet(&[]);
}

/// A proxy that opens a stream only when three more rolls have been made. `ask` changes the path
/// that the page requests.
fn late_streams(instance: &Arc<Instance>, ask: fn(&str) -> &str) -> Proxy {
    let rolling = instance.clone();
    Proxy::new(instance, move |path| {
        if !path.starts_with("/stream") {
            return Answer::Forward(path.into());
        }
        roll_until(head(&rolling) + 3, &rolling);
        Answer::Forward(ask(path).into())
    })
}

#[test]
fn the_seam_holds_when_the_stream_opens_late_and_a_broken_seam_is_found() {
    let browser = Browser::open();
    let instance = Arc::new(rolling_instance());
    let _server = instance.start();

    let late = late_streams(&instance, |path| path);
    browser.goto(&late.url("/"));
    wait_for_live_rolls(&browser);
    compare(&browser, &instance).unwrap();

    // Control: without the cursor the stream starts at a later roll.
    let broken = late_streams(&instance, |_| "/stream/");
    browser.goto(&broken.url("/"));
    wait_for_live_rolls(&browser);
    let found = compare(&browser, &instance);
    assert!(found.is_err(), "expected a gap to be found, got {found:?} without one");
}
