//! Hidden tabs need no connection. A tab that is shown again continues where it was.

use std::time::Duration;

use serde_json::json;

use crate::browser::{Browser, Complaint, Tab};
use crate::common::{Instance, http, wait_for};
use crate::rows::{head, roll_until};
use crate::slots::{NEWEST, slots_up_to};

/// Far longer than a page needs, even on a slow machine.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Opens `n_tabs` tabs with a live page, the first in the current tab. `prepare` is called in each
/// of them before.
fn open_live(n_tabs: usize, url: &str, browser: &Browser, prepare: fn(&Browser)) -> Vec<Tab> {
    let tabs = (0..n_tabs).map(|n| {
        let tab = if n == 0 { browser.tab() } else { browser.open_tab() };
        prepare(browser);
        browser.goto(url);
        browser.wait_for(&format!("{NEWEST} > 0"));
        tab
    });
    tabs.collect()
}

/// Waits until the server counts `n` open streams.
fn wait_for_streams(n: usize, instance: &Instance) {
    wait_for(&format!("{n} open streams"), || {
        let mut response = http().get(instance.url("/metrics")).call().unwrap();
        let metrics = response.body_mut().read_to_string().unwrap();
        metrics.lines().any(|line| line == format!("rollcast_streams_open {n}")).then_some(())
    });
}

#[test]
fn ten_tabs_use_one_stream_and_each_catches_up_when_it_is_shown() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let tabs = open_live(10, &instance.url("/"), &browser, |_| {});
    wait_for_streams(1, &instance);
    browser.open_tab();
    // The history counts new rolls, so it would open a stream itself.
    assert!(browser.goes_to_within(AT_ONCE, &instance.url("/about")), "the eleventh page");
    wait_for_streams(0, &instance);

    let shown_before = head(&instance);
    roll_until(shown_before + 5, &instance);
    for tab in &tabs {
        browser.ask(tab);
        slots_up_to(head(&instance) + 3, &browser, &instance);
    }
    wait_for_streams(1, &instance);
    browser.assert_quiet(&[]);
}

/// Control: if hidden pages kept their streams, six of them would use up the browser's connections.
#[test]
fn if_tabs_kept_their_streams_the_seventh_page_would_not_load() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    open_live(6, &instance.url("/"), &browser, |browser| {
        let never_hidden = json!({
            "source": "Object.defineProperty(Document.prototype, 'hidden', { get: () => false })"
        });
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", never_hidden);
    });
    wait_for_streams(6, &instance);
    browser.open_tab();
    assert!(!browser.goes_to_within(Duration::from_secs(5), &instance.url("/rolls")));
}

#[test]
fn a_tab_shows_only_the_new_history_if_the_database_was_replaced_while_it_was_hidden() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    instance.fill(5_000, 4_000);
    let mut server = instance.start();
    let tabs = open_live(1, &instance.url("/"), &browser, |_| {});
    slots_up_to(5_002, &browser, &instance);
    browser.open_tab();
    wait_for_streams(0, &instance);

    server.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(instance.path().join(format!("rolls.db{suffix}")));
    }
    instance.remove_secret();
    server = instance.start();
    roll_until(30, &instance);
    browser.ask(&tabs[0]);
    browser.wait_for(&format!("0 < {NEWEST} && {NEWEST} < 4_000"));
    slots_up_to(head(&instance) + 3, &browser, &instance);
    browser.assert_quiet(&[Complaint::Network]);
    drop(server);
}
