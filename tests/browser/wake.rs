//! A page that was suspended catches up at once, although its stream was cut without notice.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::Browser;
use crate::common::Instance;
use crate::proxy::{Answer, Proxy};
use crate::rows::{head, roll_until};
use crate::slots::{NEWEST, assert_followed_up_to, follow, slots_up_to};

/// Less than the half minute after which a page reconnects because nothing arrives.
const SOON: Duration = Duration::from_secs(20);

/// Cuts the stream of a page without notice, lets it `sleep`, and returns whether it soon shows the
/// rolls that it missed, in order.
fn catches_up(sleep: impl FnOnce(&Browser, &Instance)) -> bool {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let proxy = Proxy::new(&instance, |path| Answer::Forward(path.into()));
    browser.goto(&proxy.url("/"));
    slots_up_to(head(&instance) + 3, &browser, &instance);
    follow(&browser);
    browser.wait_for("followed.length > 0");

    let deaf = Instant::now();
    proxy.go_silent();
    sleep(&browser, &instance);
    let missed = head(&instance);
    while deaf.elapsed() < SOON {
        if browser.read(NEWEST).as_i64().unwrap() >= missed {
            slots_up_to(missed + 3, &browser, &instance);
            assert_followed_up_to(missed + 3, &browser, &instance);
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    false
}

/// Control.
#[test]
fn a_page_that_was_not_suspended_does_not_notice_a_silent_cut_soon() {
    assert!(!catches_up(|_, instance| roll_until(head(instance) + 10, instance)));
}

#[test]
fn a_page_catches_up_after_its_machine_was_suspended() {
    assert!(catches_up(|browser, instance| {
        browser.signal("STOP");
        // Seven seconds of rolls. The page takes a jump of its clock by five for a suspension.
        roll_until(head(instance) + 70, instance);
        browser.signal("CONT");
    }));
}

#[test]
fn a_page_catches_up_after_it_was_frozen_in_the_background() {
    assert!(catches_up(|browser, instance| {
        browser.devtools("Page.setWebLifecycleState", json!({ "state": "frozen" }));
        roll_until(head(instance) + 10, instance);
        browser.devtools("Page.setWebLifecycleState", json!({ "state": "active" }));
        // The command also hid the page. The visitor returns to it from another tab.
        let page = browser.tab();
        browser.open_tab();
        browser.ask(&page);
    }));
}

#[test]
fn a_page_catches_up_after_the_network_was_down() {
    assert!(catches_up(|browser, instance| {
        let network = |is_away| {
            let conditions = json!({
                "offline": is_away,
                "latency": 0,
                "downloadThroughput": -1,
                "uploadThroughput": -1,
            });
            browser.devtools("Network.emulateNetworkConditions", conditions);
        };
        network(true);
        roll_until(head(instance) + 10, instance);
        network(false);
    }));
}

#[test]
fn a_page_from_the_back_forward_cache_catches_up() {
    assert!(catches_up(|browser, instance| {
        browser.read("addEventListener('pageshow', (event) => window.kept = event.persisted)");
        browser.goto("about:blank");
        roll_until(head(instance) + 10, instance);
        browser.back();
        browser.wait_for("window.kept === true");
    }));
}
