//! Open pages while the server is killed, restarted, or replaced by a proxy's 502.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::browser::{Browser, Complaint};
use crate::common::{Instance, wait_for};
use crate::proxy::{Answer, Proxy};
use crate::rows::{head, roll_until};
use crate::session::in_each_other_browser;
use crate::slots::{NEWEST, STATE, assert_followed_up_to, follow, slots, slots_up_to};

/// Marks the page, so that a test can see that it was not reloaded.
fn mark(browser: &Browser) {
    browser.read("document.body.dataset.mark = 'the same page'");
}

fn assert_same_page(browser: &Browser) {
    let mark = browser.read("document.body.dataset.mark ?? null");
    assert_eq!(mark, "the same page", "the page must recover without being reloaded");
}

#[test]
fn a_page_converges_to_the_database_when_the_server_is_killed_and_restarted_under_it() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    mark(&browser);
    follow(&browser);
    for _ in 0..3 {
        slots_up_to(head(&instance) + 10, &browser, &instance);
        server.kill();
        browser.wait_for("document.querySelector('#state').dataset.state === 'reconnecting'");
        server = instance.start();
    }
    let newest = head(&instance) + 10;
    slots_up_to(newest, &browser, &instance);
    assert_followed_up_to(newest, &browser, &instance);
    assert_same_page(&browser);
    browser.assert_quiet(&[Complaint::Network]);
}

#[test]
fn a_page_of_another_engine_recovers_from_a_restart_and_can_be_paused() {
    in_each_other_browser(|page| {
        let instance = Instance::new("every = '100ms'");
        let server = instance.start();
        page.goto(&instance.url("/"));
        page.read("document.body.dataset.mark = 'the same page'");
        slots_up_to(5, page, &instance);
        drop(server);
        page.wait_for(&format!("{STATE} === 'reconnecting'"));
        let _server = instance.start();
        slots_up_to(head(&instance) + 10, page, &instance);
        assert_eq!(page.read("document.body.dataset.mark"), "the same page");

        page.click("#pause");
        page.wait_for(&format!("{STATE} === 'paused'"));
        let held = slots(page, &instance);
        roll_until(head(&instance) + 10, &instance);
        assert_eq!(slots(page, &instance), held, "a paused page stays unchanged");
        page.click("#pause");
        slots_up_to(head(&instance), page, &instance);
    });
}

#[test]
fn a_page_shows_only_the_new_history_when_the_database_was_replaced_under_it() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    instance.fill(5_000, 4_000);
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    mark(&browser);
    slots_up_to(5_005, &browser, &instance);

    server.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(instance.path().join(format!("rolls.db{suffix}")));
    }
    // A server never continues a signed log with another history.
    instance.remove_secret();
    server = instance.start();
    browser.wait_for(&format!("0 < {NEWEST} && {NEWEST} < 4_000"));
    slots_up_to(head(&instance) + 10, &browser, &instance);
    assert_same_page(&browser);
    browser.assert_quiet(&[Complaint::Network]);
    drop(server);
}

#[test]
fn a_page_that_missed_very_many_rolls_shows_the_newest() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    mark(&browser);
    let seen = slots_up_to(5, &browser, &instance)[0];

    server.kill();
    let connection = rusqlite::Connection::open(instance.database()).unwrap();
    connection
        .execute_batch(
            "insert into rolls (rolled_at, dice)
             with recursive n(n) as (values (1) union all select n + 1 from n where n < 1000)
             select (select max(rolled_at) from rolls), json_object('1D6', 6, '1D20', 20) from n",
        )
        .unwrap();
    drop(connection);
    let _server = instance.start();
    slots_up_to(seen + 1_010, &browser, &instance);
    assert_same_page(&browser);
    browser.assert_quiet(&[Complaint::Network]);
}

/// A proxy that answers 502 for the stream while `down` is set, and `page` instead of `/`.
fn gateway(instance: &Instance, down: &Arc<AtomicBool>, page: Option<&'static str>) -> Proxy {
    let down = down.clone();
    Proxy::new(instance, move |path| match page {
        _ if path.starts_with("/stream") && down.load(Ordering::SeqCst) => Answer::BadGateway,
        Some(page) if path == "/" => Answer::Page(page.into()),
        _ => Answer::Forward(path.into()),
    })
}

/// How often the page requests the stream in ten seconds of 502, at most `enough` times.
fn requests_of_an_outage(proxy: &Proxy, down: &AtomicBool, enough: usize) -> usize {
    let began = Instant::now();
    down.store(true, Ordering::SeqCst);
    proxy.cut();
    wait_for("ten seconds of 502", || {
        let over = began.elapsed() >= Duration::from_secs(10);
        let n_requests = proxy.streams_since(began).len();
        (over || n_requests >= enough).then_some(n_requests)
    })
}

#[test]
fn a_502_for_ten_seconds_costs_fewer_than_ten_requests_and_the_page_recovers() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let down = Arc::new(AtomicBool::new(false));
    let proxy = gateway(&instance, &down, None);
    browser.goto(&proxy.url("/"));
    mark(&browser);
    slots_up_to(head(&instance) + 5, &browser, &instance);

    let n_requests = requests_of_an_outage(&proxy, &down, usize::MAX);
    assert!((1..10).contains(&n_requests), "expected 1 to 9 requests in 10 s, got {n_requests}");
    let state = browser.read("document.querySelector('#state').dataset.state");
    assert_eq!(state, "reconnecting", "the state while there is no stream");

    down.store(false, Ordering::SeqCst);
    slots_up_to(head(&instance) + 5, &browser, &instance);
    assert_same_page(&browser);
    browser.assert_quiet(&[Complaint::Network]);
}

#[test]
fn a_page_that_meets_a_502_from_the_start_recovers_too() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let down = Arc::new(AtomicBool::new(true));
    let proxy = gateway(&instance, &down, None);
    browser.goto(&proxy.url("/"));
    browser.wait_for("document.querySelector('#state').dataset.state === 'reconnecting'");
    down.store(false, Ordering::SeqCst);
    slots_up_to(head(&instance) + 5, &browser, &instance);
    browser.assert_quiet(&[Complaint::Network]);
}

/// Control: the number of requests with the article's way of reconnecting.
#[test]
fn a_502_costs_the_articles_own_listener_far_more_requests() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    let down = Arc::new(AtomicBool::new(false));
    let proxy = gateway(&instance, &down, Some(crate::article::PAGE));
    browser.goto(&proxy.url("/"));
    browser.wait_for("document.querySelectorAll('#rolls > li').length > 0");
    let n_requests = requests_of_an_outage(&proxy, &down, 100);
    assert!(n_requests >= 100, "expected at least 100 requests in 10 s, got {n_requests}");
}
