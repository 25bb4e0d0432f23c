//! The connection state on the page, and the pause button.

use serde_json::Value;

use crate::browser::{Browser, Complaint, ENTER, SPACE, TAB};
use crate::common::Instance;
use crate::rows::head;
use crate::slots::{NEWEST, STATE, slots, slots_up_to};

/// Waits for a state by its name and the text that people read.
fn wait_for_state(name: &str, text: &str, browser: &Browser) {
    // Both in one expression, because the state keeps changing.
    let says = format!("document.querySelector('#state').textContent.startsWith('{text}')");
    browser.wait_for(&format!("{STATE} === '{name}' && {says}"));
}

/// Waits until the page says that at least `n_rolls` rolls wait behind the pause.
fn wait_for_waiting(n_rolls: i64, browser: &Browser) {
    let n_waiting =
        r"Number(/ · ([\d,]+) new/.exec(document.body.textContent)?.[1].replaceAll(',', ''))";
    browser.wait_for(&format!("{n_waiting} >= {n_rolls}"));
}

/// Presses Tab until the focus is on the pause button.
fn tab_to_pause(browser: &Browser) {
    for _ in 0..20 {
        browser.press(TAB);
        if browser.read("document.activeElement.id") == "pause" {
            return;
        }
    }
    panic!("expected the pause button within twenty presses of Tab");
}

#[test]
fn the_state_says_live_then_no_new_rolls_then_live_then_reconnecting_then_live() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    wait_for_state("live", "Live", &browser);

    // The connection stays open, but no rolls arrive.
    server.signal("STOP");
    wait_for_state("stalled", "No new rolls", &browser);
    server.signal("CONT");
    wait_for_state("live", "Live", &browser);
    slots_up_to(head(&instance) + 1, &browser, &instance);

    server.kill();
    wait_for_state("reconnecting", "Reconnecting", &browser);
    let _server = instance.start();
    wait_for_state("live", "Live", &browser);
    slots_up_to(head(&instance) + 1, &browser, &instance);
    browser.assert_quiet(&[Complaint::Network]);
}

#[test]
fn a_paused_page_shows_nothing_new_and_catches_up_when_resumed() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    slots_up_to(5, &browser, &instance);

    tab_to_pause(&browser);
    for key in [SPACE, ENTER] {
        browser.press(key);
        wait_for_state("paused", "Paused", &browser);
        let pressed = "document.querySelector('#pause').getAttribute('aria-pressed')";
        assert_eq!(browser.read(pressed), "true");
        let held = slots(&browser, &instance);

        wait_for_waiting(20, &browser);
        assert_eq!(slots(&browser, &instance), held, "expected a paused page to stay unchanged");
        browser.press(key);
        wait_for_state("live", "Live", &browser);
        assert_eq!(browser.read(pressed), "false");
        assert_eq!(browser.text("#pause"), "Pause");
        slots_up_to(held[0] + 20, &browser, &instance);
    }
    browser.assert_quiet(&[]);
}

#[test]
fn a_page_that_is_paused_just_after_its_newest_link_had_the_focus_shows_one_newest_roll() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    slots_up_to(5, &browser, &instance);
    // The roll at the focus stays, while the slots go on.
    let kept = browser.read(&format!("(document.querySelector('.newest a').focus(), {NEWEST})"));
    let later = kept.as_i64().unwrap() + 10;
    browser.wait_for(&format!(
        "[...document.querySelectorAll('.slot a')].some((a) => a.href.endsWith('/{later}'))"
    ));
    assert_eq!(browser.read(NEWEST), kept);
    let pause = "document.querySelector('#pause')";
    browser.read(&format!("({pause}.focus(), {pause}.click(), true)"));
    wait_for_state("paused", "Paused", &browser);
    slots(&browser, &instance);
}

#[test]
fn a_paused_page_stays_unchanged_during_a_restart_and_catches_up_when_resumed() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    slots_up_to(5, &browser, &instance);
    browser.click("#pause");
    wait_for_state("paused", "Paused", &browser);
    let held = slots(&browser, &instance);

    server.kill();
    server = instance.start();
    let newest = head(&instance) + 10;
    wait_for_waiting(newest - held[0], &browser);
    assert_eq!(slots(&browser, &instance), held, "expected a paused page to stay unchanged");
    browser.click("#pause");
    slots_up_to(newest, &browser, &instance);
    browser.assert_quiet(&[Complaint::Network]);
    drop(server);
}

#[test]
fn the_keyboard_reaches_the_skip_link_the_navigation_the_newest_roll_and_the_buttons() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1h'");
    instance.fill(20, 1);
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    browser.wait_for("!document.querySelector('#pause').hidden");
    let focused = || browser.read("document.activeElement.textContent.trim()");
    let mut seen = Vec::new();
    while seen.last() != Some(&Value::from("Pause")) && seen.len() < 20 {
        browser.press(TAB);
        seen.push(focused());
    }
    assert_eq!(seen[..3], ["Skip to the content", "rollcast", "Live"], "{seen:?}");
    let newest = seen[seen.len() - 2].as_str().unwrap();
    assert!(newest.starts_with("Roll 2"), "expected the newest roll before the button: {seen:?}");
    browser.press(TAB);
    assert_eq!(focused(), "Big screen");
    // Then the slots, each named by its roll.
    browser.press(TAB);
    assert!(focused().as_str().unwrap().starts_with("Roll "), "{}", focused());

    browser.goto(&instance.url("/"));
    browser.press(TAB);
    browser.press(ENTER);
    browser.wait_for("document.activeElement.id === 'main'");
    tab_to_pause(&browser);
}
