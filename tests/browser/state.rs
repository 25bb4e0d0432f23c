//! The connection state on the page, and the pause button.

use crate::browser::{Browser, Complaint, ENTER, SPACE, TAB};
use crate::common::Instance;
use crate::rows::{head, rows, rows_up_to};

fn wait_for_state(name: &str, browser: &Browser) {
    // Both in one expression, because the state keeps changing.
    let state = "document.querySelector('#state')";
    let says = format!("{state}.textContent.toLowerCase().includes('{name}')");
    browser.wait_for(&format!("{state}.dataset.state === '{name}' && {says}"));
}

/// Waits until the page says that at least `n_rolls` rolls wait behind the pause.
fn wait_for_waiting(n_rolls: i64, browser: &Browser) {
    let n_waiting = r"Number(/\((\d+) new\)/.exec(document.body.textContent)?.[1])";
    browser.wait_for(&format!("{n_waiting} >= {n_rolls}"));
}

/// Presses Tab until the focus is on the pause button.
fn tab_to_pause(browser: &Browser) {
    for _ in 0..10 {
        browser.press(TAB);
        if browser.read("document.activeElement.id") == "pause" {
            return;
        }
    }
    panic!("expected the pause button within ten presses of Tab");
}

#[test]
fn the_state_says_live_then_stalled_then_live_then_reconnecting_then_live() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    wait_for_state("live", &browser);

    // The connection stays open, but no rolls arrive.
    server.signal("STOP");
    wait_for_state("stalled", &browser);
    server.signal("CONT");
    wait_for_state("live", &browser);
    rows_up_to(head(&instance) + 1, &browser, &instance);

    server.kill();
    wait_for_state("reconnecting", &browser);
    let _server = instance.start();
    wait_for_state("live", &browser);
    rows_up_to(head(&instance) + 1, &browser, &instance);
    browser.assert_quiet(&[Complaint::Network]);
}

#[test]
fn a_paused_page_shows_nothing_new_and_catches_up_when_resumed() {
    let browser = Browser::open();
    // More rows than are rolled during the test, on a slow machine too.
    let instance = Instance::new("every = '50ms'\npage_size = 500");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    rows_up_to(5, &browser, &instance);

    tab_to_pause(&browser);
    for key in [SPACE, ENTER] {
        browser.press(key);
        wait_for_state("paused", &browser);
        let pressed = "document.querySelector('#pause').getAttribute('aria-pressed')";
        assert_eq!(browser.read(pressed), "true");
        let held = rows(&browser, &instance);

        wait_for_waiting(20, &browser);
        assert_eq!(rows(&browser, &instance), held, "expected a paused page to stay unchanged");
        let newest = held[0].id + 20;

        browser.press(key);
        wait_for_state("live", &browser);
        assert_eq!(browser.read(pressed), "false");
        assert_eq!(browser.text("#pause"), "Pause");
        let shown = rows_up_to(newest, &browser, &instance);
        let kept = shown.last() == held.last();
        assert!(kept, "expected the rows to continue where they were paused, got {shown:?}");
    }
    browser.assert_quiet(&[]);
}

#[test]
fn a_paused_page_stays_unchanged_during_a_restart_and_catches_up_when_resumed() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    rows_up_to(5, &browser, &instance);
    browser.click("#pause");
    wait_for_state("paused", &browser);
    let held = rows(&browser, &instance);

    server.kill();
    server = instance.start();
    let newest = head(&instance) + 10;
    wait_for_waiting(newest - held[0].id, &browser);
    assert_eq!(rows(&browser, &instance), held, "expected a paused page to stay unchanged");
    browser.click("#pause");
    rows_up_to(newest, &browser, &instance);
    browser.assert_quiet(&[Complaint::Network]);
    drop(server);
}

#[test]
fn the_keyboard_reaches_the_skip_link_the_navigation_and_the_pause_button() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    browser.wait_for("!document.querySelector('#pause').hidden");
    let focused: Vec<_> = (0..6)
        .map(|_| {
            browser.press(TAB);
            browser.read("document.activeElement.textContent.trim()")
        })
        .collect();
    assert_eq!(
        focused,
        ["Skip to the content", "rollcast", "Live", "History", "Statistics", "Pause"]
    );

    browser.goto(&instance.url("/"));
    browser.press(TAB);
    browser.press(ENTER);
    browser.wait_for("document.activeElement.id === 'main'");
    tab_to_pause(&browser);
}
