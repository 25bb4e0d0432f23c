//! A page over the limit of streams.

use crate::browser::Browser;
use crate::common::Instance;
use crate::common::events::{Ask, Stream};
use crate::rows::{head, insert_rolls};
use crate::slots::{NEWEST, STATE, slots_up_to};

/// Records the times in ms between the end of a stream and the start of the next one.
const WATCH_STREAMS: &str = "(() => {
    const [Native, close] = [EventSource, EventSource.prototype.close];
    let closedAt;
    window.pauses = [];
    Native.prototype.close = function () {
        closedAt = performance.now();
        close.call(this);
    };
    window.EventSource = class extends Native {
        constructor(...address) {
            super(...address);
            if (closedAt !== undefined) pauses.push(performance.now() - closedAt);
        }
    };
})()";

/// A page that has missed many rolls skips the older ones, for which it needs another stream. Until
/// the server notices the end of the first one, it counts both.
#[test]
fn a_page_waits_half_a_second_before_it_replaces_its_stream() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1s'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    browser.wait_for(&format!("{STATE} === 'live'"));
    browser.read(WATCH_STREAMS);
    server.stop();
    let last = head(&instance);
    insert_rolls(1_000, &instance);
    let _server = instance.start();
    browser.wait_for(&format!("{NEWEST} > {last} + 1000"));
    let pauses: Vec<f64> = serde_json::from_value(browser.read("pauses")).unwrap();
    // A timer may end a fraction of a millisecond early.
    assert!(!pauses.is_empty() && pauses.iter().all(|ms| *ms > 499.0), "{pauses:?}");
}

#[test]
fn a_rejected_page_says_so_and_connects_by_itself_when_a_stream_is_free() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1s'\nmax_streams_per_address = 1\ntrusted_proxies = []");
    let server = instance.start();
    let mut other = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    other.frames(2);
    browser.goto(&instance.url("/"));
    browser.read("document.body.dataset.mark = 'the same page'");
    browser.wait_for(&format!("{STATE} === 'busy'"));
    let says = browser.text("#notices");
    assert_eq!(says, "Too many people are watching. This page tries again by itself.");

    drop(other);
    // EventSource waits for `retry` and connects again.
    slots_up_to(head(&instance) + 1, &browser, &instance);
    browser.wait_for(&format!("{STATE} === 'live'"));
    assert_eq!(browser.text("#notices"), "");
    assert_eq!(browser.read("document.body.dataset.mark ?? null"), "the same page");
    let log = server.log();
    let n_refused = log.iter().filter(|line| line.contains("stream refused")).count();
    assert_eq!(n_refused, 1, "it connected again before `retry` had passed");
    browser.assert_quiet(&[]);
}
