//! The page for developers: examples, the console, and the form that builds an address.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::{Instance, Server};
use crate::rows::roll_until;

const REPORT: &str = "document.getElementById('console-report').textContent";

/// The page of a server with 121 rolls and more.
fn open(every: &str, browser: &Browser) -> (Instance, Server) {
    let instance = Instance::new(&format!("every = '{every}'"));
    instance.fill(120, 1);
    let server = instance.start();
    roll_until(121, &instance);
    browser.goto(&instance.url("/developers"));
    (instance, server)
}

/// The ids in the console, newest first, with how each roll arrived.
fn console(browser: &Browser) -> Vec<(i64, String)> {
    let rows = browser.read(
        "[...document.querySelectorAll('.console-roll:not([data-how=none])')].map((row) => \
         [parseInt(row.querySelector('code').textContent, 10), row.dataset.how])",
    );
    serde_json::from_value(rows).unwrap()
}

#[test]
fn a_client_that_was_disconnected_gets_every_missed_roll_when_it_reconnects() {
    let browser = Browser::open();
    let (_instance, _server) = open("100ms", &browser);
    assert!(console(&browser).is_empty(), "nothing moves before somebody asks for it");
    browser.wait_for("!document.getElementById('listen-here').disabled");
    browser.click("#listen-here");
    browser.wait_for("!document.getElementById('cut').disabled");
    browser.wait_for(&format!("{REPORT}.startsWith('Listening')"));

    browser.click("#cut");
    browser.wait_for(&format!("{REPORT}.startsWith('Disconnected after roll ')"));
    let missed =
        "Number(document.getElementById('console-missed').textContent.match(/[0-9]+/)?.[0])";
    // Rolls that arrived before are drawn within 250 ms.
    browser.wait_for(&format!("{missed} >= 5"));
    let cut = console(&browser);
    browser.wait_for(&format!("{missed} >= 20"));
    assert_eq!(console(&browser), cut, "no roll arrives while the console is disconnected");

    browser.click("#cut");
    let report = browser.wait_for(&format!("{REPORT}.endsWith('Nothing is lost.') && {REPORT}"));
    let report = report.as_str().unwrap();
    let numbers: Vec<i64> = report
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [_seconds, missed, sent, first, last] = numbers[..] else { panic!("{report}") };
    assert_eq!((missed, sent), (last - first + 1, last - first + 1), "{report}");
    assert!(missed >= 10, "{report}");
    assert_eq!(first, cut[0].0 + 1, "{report}");
    let newest = "document.querySelector('.console-roll')";
    browser.wait_for(&format!(
        "{newest}.dataset.how === 'live' && parseInt({newest}.textContent.match(/[0-9]+/)[0], 10) > {last}"
    ));
    let ids: Vec<i64> = console(&browser).into_iter().map(|(id, _)| id).collect();
    let expected: Vec<i64> = (0..8).map(|n| ids[0] - n).collect();
    assert_eq!(ids, expected, "in order, without a gap");

    browser.click("#listen-here");
    assert_eq!(browser.read(REPORT), "Stopped.");
    assert!(browser.read("document.getElementById('cut').disabled").as_bool().unwrap());
    browser.assert_quiet(&[]);
}

#[test]
fn the_form_builds_the_address_and_shows_the_rolls_at_it() {
    let browser = Browser::open();
    let (instance, _server) = open("1h", &browser);
    let address = "document.getElementById('look-back-address').textContent";
    assert_eq!(browser.read(address), "/api/rolls?since=1m");
    browser.read("document.querySelector('[name=since]').value = ''");
    browser.fill("#look-back-form [name=limit]", "2");
    browser.wait_for(&format!("{address} === '/api/rolls?limit=2'"));
    browser.click("#look-back-form button");
    browser.wait_for(
        "document.getElementById('look-back-outcome').textContent === 'The response has 2 rolls:'",
    );
    let shown = browser.read("document.querySelector('#look-back-response').textContent");
    let shown: Value = serde_json::from_str(shown.as_str().unwrap()).unwrap();
    let ids: Vec<&Value> = shown["rolls"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&json!(121), &json!(120)]);

    // The browser itself logs the refusal that follows.
    browser.assert_quiet(&[]);
    browser.fill("#look-back-form [name=result]", "99");
    browser.click("#look-back-form button");
    let outcome = "document.getElementById('look-back-outcome').textContent";
    browser.wait_for(&format!("{outcome}.startsWith('The server refuses this: result: expected')"));
    assert_eq!(browser.read(address), "/api/rolls?die=1D6&result=99&limit=2");
    assert!(browser.url().starts_with(&instance.url("/developers")));
}

#[test]
fn without_scripts_the_form_leads_to_the_same_address() {
    let browser = Browser::without_scripts();
    let (instance, _server) = open("1h", &browser);
    browser.fill("#look-back-form [name=result]", "6");
    browser.click("#look-back-form button");
    browser.wait_for("location.search.includes('result=6')");
    let link = browser.read("document.getElementById('look-back-link').getAttribute('href')");
    assert_eq!(link, "/api/rolls?since=1m&die=1D6&result=6");
    let command = browser.text("#look-back-request");
    assert_eq!(command, format!("curl '{}'", instance.url(link.as_str().unwrap())));
    assert!(browser.is_shown("#listen-curl") && !browser.is_shown("#listen-python"));
    browser.click("[value=python]");
    assert!(!browser.is_shown("#listen-curl") && browser.is_shown("#listen-python"));
}
