//! Tabs of one browser share a stream. One of them, the leader, holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::{Browser, Complaint, Tab};
use crate::common::{Instance, http, wait_for};
use crate::proxy::{Answer, Proxy};
use crate::rows::{NEWEST, head, roll_until, rows, rows_up_to};

/// Far longer than a page needs, even on a slow machine.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Less than the half minute after which a tab reconnects because nothing arrives.
const SOON: Duration = Duration::from_secs(30);

/// Rolls of the first die that a page of statistics shows.
const N_ROLLS: &str = "Number(document.querySelector('.n-rolls').textContent.replaceAll(',', ''))";

/// Opens a tab with a page in it.
fn open(url: &str, browser: &Browser) -> Tab {
    let tab = browser.open_tab();
    browser.goto(url);
    tab
}

/// Opens `n_tabs` tabs with a live page, the first in the current tab.
fn open_live(n_tabs: usize, url: &str, browser: &Browser) -> Vec<Tab> {
    browser.goto(url);
    let mut tabs = vec![browser.tab()];
    tabs.extend((1..n_tabs).map(|_| open(url, browser)));
    tabs
}

/// Waits until the server counts `n` open streams.
fn wait_for_streams(n: usize, instance: &Instance) {
    wait_for(&format!("{n} open streams"), || {
        let mut response = http().get(instance.url("/metrics")).call().unwrap();
        let metrics = response.body_mut().read_to_string().unwrap();
        metrics.lines().any(|line| line == format!("rollcast_streams_open {n}")).then_some(())
    });
}

/// Expects that every tab receives new rolls and has shown every roll once and in order.
fn assert_all_receive(tabs: &[Tab], browser: &Browser, instance: &Instance) {
    let newest = head(instance) + 3;
    for tab in tabs {
        browser.ask(tab);
        rows_up_to(newest, browser, instance);
    }
}

fn assert_soon(since: Instant) {
    let took = since.elapsed();
    assert!(took < SOON, "expected this within {SOON:?}, it took {took:?}");
}

#[test]
fn ten_tabs_show_every_roll_through_one_stream_and_an_eleventh_page_loads_at_once() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let tabs = open_live(10, &instance.url("/"), &browser);
    assert_all_receive(&tabs, &browser, &instance);
    wait_for_streams(1, &instance);

    // The statistics listen to the same stream.
    browser.open_tab();
    assert!(browser.goes_to_within(AT_ONCE, &instance.url("/stats")), "the eleventh page");
    let (loaded, n_loaded) = (Instant::now(), browser.read(N_ROLLS));
    browser.wait_for(&format!("{N_ROLLS} > {n_loaded}"));
    assert_soon(loaded);
    wait_for_streams(1, &instance);
    assert_all_receive(&tabs, &browser, &instance);
    browser.assert_quiet(&[]);
}

/// Control, and the behaviour where a browser offers no locks: a page from another machine without
/// TLS.
#[test]
fn without_locks_each_tab_has_a_stream_and_the_seventh_page_does_not_load() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let without_locks = || {
        let script = json!({ "source": "delete Navigator.prototype.locks" });
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", script);
    };
    without_locks();
    browser.goto(&instance.url("/"));
    let mut tabs = vec![browser.tab()];
    for _ in 1..6 {
        tabs.push(browser.open_tab());
        without_locks();
        browser.goto(&instance.url("/"));
    }
    assert_all_receive(&tabs, &browser, &instance);
    wait_for_streams(6, &instance);
    browser.open_tab();
    assert!(!browser.goes_to_within(Duration::from_secs(5), &instance.url("/stats")));
}

#[test]
fn tabs_continue_without_gap_or_repeat_when_their_leader_closes_crashes_or_hangs() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let hangs = Arc::new(AtomicBool::new(true));
    let hanging = hangs.clone();
    let proxy = Proxy::new(&instance, move |path| match path {
        "/hang" => {
            while hanging.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            Answer::Page(String::new())
        }
        path => Answer::Forward(path.into()),
    });
    let mut tabs = open_live(5, &proxy.url("/"), &browser);
    assert_all_receive(&tabs, &browser, &instance);
    wait_for_streams(1, &instance);

    // The first tab is the leader.
    for end in [Browser::close_tab, Browser::crash_tab] {
        let gone = Instant::now();
        browser.ask(&tabs.remove(0));
        end(&browser);
        assert_all_receive(&tabs, &browser, &instance);
        assert_soon(gone);
        wait_for_streams(1, &instance);
    }

    // Each tab is paused on its own.
    browser.ask(&tabs[2]);
    browser.click("#pause");
    let held = rows(&browser, &instance);
    // The next leader is frozen in the background: no script of its page runs.
    browser.ask(&tabs[0]);
    let hang = "document.addEventListener('visibilitychange', () => {
        const request = new XMLHttpRequest();
        request.open('GET', '/hang', false);
        request.send();
    }, { once: true })";
    browser.read(hang);
    let hung = Instant::now();
    assert_all_receive(&tabs[1..2], &browser, &instance);
    assert_soon(hung);
    browser.ask(&tabs[2]);
    assert_eq!(rows(&browser, &instance), held, "expected a paused page to stay as it is");
    browser.click("#pause");
    assert_all_receive(&tabs[1..], &browser, &instance);

    hangs.store(false, Ordering::SeqCst);
    assert_all_receive(&tabs, &browser, &instance);
    wait_for_streams(1, &instance);
}

#[test]
fn tabs_continue_when_messages_of_their_leader_are_lost_and_when_its_stream_is_cut() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let proxy = Proxy::new(&instance, |path| Answer::Forward(path.into()));
    let mut tabs = open_live(2, &proxy.url("/"), &browser);
    browser.ask(&tabs[0]);
    let says_two_of_three = "(() => {
        const post = BroadcastChannel.prototype.postMessage;
        let n = 0;
        BroadcastChannel.prototype.postMessage = function (message) {
            n += 1;
            if (n % 3 > 0) post.call(this, message);
        };
    })()";
    browser.read(says_two_of_three);
    for _ in 0..5 {
        assert_all_receive(&tabs, &browser, &instance);
    }

    // The stream goes silent. A new tab receives rolls, and the others through it.
    proxy.go_silent();
    let silent = Instant::now();
    roll_until(head(&instance) + 3, &instance);
    tabs.push(open(&proxy.url("/"), &browser));
    assert_all_receive(&tabs, &browser, &instance);
    assert_soon(silent);
    wait_for_streams(1, &instance);
}

#[test]
fn all_tabs_learn_of_a_restart_and_of_another_history() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    instance.fill(5_000, 4_000);
    let mut server = instance.start();
    browser.goto(&instance.url("/stats"));
    let leader = browser.tab();
    let figures = open(&instance.url("/stats"), &browser);
    let tabs = [open(&instance.url("/"), &browser), open(&instance.url("/"), &browser)];
    assert_all_receive(&tabs, &browser, &instance);

    server.kill();
    let killed = Instant::now();
    for tab in [&leader, &figures, &tabs[0], &tabs[1]] {
        browser.ask(tab);
        browser.wait_for("document.querySelector('#state').dataset.state === 'reconnecting'");
    }
    assert_soon(killed);
    server = instance.start();
    assert_all_receive(&tabs, &browser, &instance);
    wait_for_streams(1, &instance);

    server.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(instance.path().join(format!("rolls.db{suffix}")));
    }
    instance.remove_secret();
    server = instance.start();
    let started = Instant::now();
    browser.ask(&figures);
    let mut n_shown = browser.wait_for(&format!("{N_ROLLS} < 1_000 && {N_ROLLS}"));
    for _ in 0..2 {
        n_shown = browser.wait_for(&format!("{N_ROLLS} > {n_shown} && {N_ROLLS}"));
    }
    for tab in &tabs {
        browser.ask(tab);
        browser.wait_for(&format!("0 < {NEWEST} && {NEWEST} < 4_000"));
    }
    assert_all_receive(&tabs, &browser, &instance);
    assert_soon(started);
    wait_for_streams(1, &instance);
    browser.assert_quiet(&[Complaint::Network]);
    drop(server);
}

#[test]
fn a_leader_that_the_visitor_leaves_and_returns_to_joins_the_others_again() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let tabs = open_live(2, &instance.url("/"), &browser);
    assert_all_receive(&tabs, &browser, &instance);

    let left = Instant::now();
    browser.ask(&tabs[0]);
    browser.goto(&instance.url("/rolls"));
    assert_all_receive(&tabs[1..], &browser, &instance);
    // Before the other tab could notice by itself.
    assert!(left.elapsed() < Duration::from_secs(10), "it took {:?}", left.elapsed());
    browser.ask(&tabs[0]);
    browser.back();
    assert_all_receive(&tabs, &browser, &instance);
    wait_for_streams(1, &instance);
    browser.assert_quiet(&[]);
}
