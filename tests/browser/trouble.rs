//! Faults as plain words, on new pages and on pages that are already open.

use rusqlite::Connection;

use crate::browser::{Browser, Complaint};
use crate::common::{Instance, http};
use crate::rows::{head, lock};
use crate::slots::{NEWEST, STATE, slots_up_to};

#[test]
fn open_pages_and_new_ones_say_in_plain_words_that_no_roll_can_be_stored() {
    let browser = Browser::open();
    let instance = Instance::new("every = '200ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    slots_up_to(3, &browser, &instance);
    let outside = lock(&instance);
    let time = instance.stored().last().unwrap().1[..19].replace('T', " ");
    let says = format!("No new rolls since {time}. The server keeps trying.");
    let notice = "document.querySelector('#notices').innerText";
    browser.wait_for(&format!("{notice} === '{says}' && {STATE} === 'stalled'"));
    assert_eq!(browser.read("document.body.innerText.includes('All is well')"), false);

    // The details are for the operator only.
    let mut readyz = http().get(instance.url("/readyz")).call().unwrap();
    let reasons = readyz.body_mut().read_to_string().unwrap();
    assert!(reasons.contains("no roll can be stored: "), "{reasons}");
    browser.goto(&instance.url("/"));
    assert_eq!(browser.text("#notices"), says);
    let body = browser.read("document.body.innerText.toLowerCase()");
    for detail in ["sqlite", "locked", "rolls.db"] {
        assert!(!body.as_str().unwrap().contains(detail), "{body}");
    }
    drop(outside);
    browser.wait_for(&format!("{notice} === '' && {STATE} === 'live'"));
    slots_up_to(head(&instance) + 1, &browser, &instance);
    browser.assert_quiet(&[]);
}

#[test]
fn a_page_without_a_connection_says_that_it_misses_nothing() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    slots_up_to(3, &browser, &instance);
    server.kill();
    let notice = "document.querySelector('#notices').innerText";
    let says = "The connection is lost. This page continues by itself and misses no roll.";
    browser.wait_for(&format!("{notice} === '{says}'"));
    let _server = instance.start();
    slots_up_to(head(&instance) + 1, &browser, &instance);
    assert_eq!(browser.text("#notices"), "");
    browser.assert_quiet(&[Complaint::Network]);
}

#[test]
fn rolls_that_cannot_be_read_leave_a_gap_that_the_page_names() {
    let browser = Browser::open();
    let instance = Instance::new("every = '300ms'");
    let mut server = instance.start();
    browser.goto(&instance.url("/"));
    slots_up_to(3, &browser, &instance);
    server.kill();
    let connection = Connection::open(instance.database()).unwrap();
    connection
        .execute_batch(
            "drop trigger if exists refuse_unreadable_insert;
             drop trigger if exists refuse_unreadable_update;
             insert into rolls (rolled_at, dice) values ('garbage', '[]'), ('garbage', '[]')",
        )
        .unwrap();
    drop(connection);
    let first = head(&instance) + 1;
    let _server = instance.start();
    browser.wait_for(&format!("{NEWEST} >= {first}"));
    assert_eq!(
        browser.text("#notices"),
        "Rolls missing here, because they can no longer be read: 2."
    );
    let gaps = "[...document.querySelectorAll('.slot')].map((slot) => slot.textContent.trim())
        .filter((text) => text.startsWith('2 missing'))";
    assert_eq!(browser.read(&format!("{gaps}.length")), 1);
    browser.assert_quiet(&[Complaint::Network]);
}
