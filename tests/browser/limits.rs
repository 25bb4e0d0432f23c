//! A page over the limit of streams.

use crate::browser::Browser;
use crate::common::Instance;
use crate::common::events::{Ask, Stream};
use crate::rows::head;
use crate::slots::{STATE, slots_up_to};

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
