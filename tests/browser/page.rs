//! Pages without scripts: the server's HTML is sufficient.

use serde_json::Value;

use crate::browser::Browser;
use crate::common::{Instance, Server, http};
use crate::rows::roll_until;
use crate::slots::{NEWEST, STATE, slots};

/// A server with 121 rolls, of which it made the last. The next one is made in an hour.
fn start() -> (Instance, Server) {
    let instance = Instance::new("every = '1h'\npage_size = 50");
    instance.fill(120, 1);
    let server = instance.start();
    roll_until(121, &instance);
    (instance, server)
}

/// The ids from `newest` down to `oldest`.
fn down(newest: i64, oldest: i64) -> Vec<i64> {
    (oldest..=newest).rev().collect()
}

#[test]
fn the_newest_rolls_are_in_the_html_before_any_script_runs() {
    let (instance, _server) = start();

    let mut response = http().get(instance.url("/")).call().unwrap();
    let html = response.body_mut().read_to_string().unwrap();
    let (list, _) = html.split_once("</ol>").unwrap();
    let (_, list) = list.split_once("<ol id=\"rolls\"").unwrap();
    let all = |marker: &str| -> Vec<String> {
        let parts = list.split(marker).skip(1);
        parts.map(|part| part.split(['"', '<']).next().unwrap().to_string()).collect()
    };
    let stored = instance.stored();
    let newest = &stored[stored.len() - 16..];
    let (id, rolled_at, _) = newest.last().unwrap();
    assert_eq!(all("data-cursor=\""), [cursor(*id, rolled_at)], "where the stream continues");
    let links: Vec<String> = newest.iter().map(|(id, ..)| format!("/rolls/{id}")).collect();
    assert_eq!(all("href=\""), links, "oldest first");
    let dice: Vec<Value> =
        newest.iter().map(|roll| serde_json::from_str(&roll.2).unwrap()).collect();
    let results: Vec<String> =
        dice.iter().flat_map(|dice| [dice["1D6"].to_string(), dice["1D20"].to_string()]).collect();
    assert_eq!(all("aria-hidden=\"true\">"), results, "the results of the dice");
    assert!(html.contains(&format!("datetime=\"{rolled_at}\"")), "the time of the newest roll");
}

fn cursor(id: i64, rolled_at: &str) -> String {
    let moment: jiff::Timestamp = rolled_at.parse().unwrap();
    format!("{id}-{}", moment.as_millisecond())
}

#[test]
fn every_page_works_with_scripts_off() {
    let browser = Browser::without_scripts();
    let (instance, _server) = start();

    browser.goto(&instance.url("/"));
    assert_eq!(slots(&browser, &instance), down(121, 106), "the newest rolls at /");
    assert_eq!(browser.read(STATE), "static");
    assert_eq!(browser.text("#state"), "Newest roll");
    assert!(!browser.is_shown("#pause"), "expected no pause button where nothing moves");

    let follow = |selector: &str, arrival: &str| {
        browser.click(selector);
        browser.wait_for(&format!("{arrival} && document.readyState === 'complete'"));
    };
    follow("#rolls [aria-current]", "location.pathname === '/rolls/121'");
    browser.goto(&instance.url("/"));
    follow(".doors a", "location.pathname === '/rolls'");
    browser.assert_quiet(&[]);
}

#[test]
fn times_are_in_the_visitors_zone_with_utc_in_their_attributes() {
    let browser = Browser::in_zone("America/Sao_Paulo");
    let instance = Instance::new("every = '100ms'\npage_size = 10");
    instance.fill(120, 1);
    let _server = instance.start();

    // By the browser's own calendar, in a language that writes ISO dates.
    let all_local = "[...document.querySelectorAll('#rolls time, #newest time')].every((time) =>
        new Date(time.dateTime).toLocaleString('sv', { timeZone: 'America/Sao_Paulo' }) ===
            time.querySelector('.day').textContent + ' ' +
            time.querySelector('.clock').textContent)";
    browser.goto(&instance.url("/"));
    browser.wait_for("document.querySelector('.zone').textContent === 'America/Sao_Paulo'");
    assert_eq!(browser.read(all_local), true);
    let newest = browser.read(NEWEST).as_i64().unwrap();
    browser.wait_for(&format!("{NEWEST} > {newest} + 3"));
    assert_eq!(browser.read(all_local), true, "a roll that came in live");

    // The links to the history lead to the same zone.
    for link in ["#newest a", "header nav a[href='/rolls']"] {
        browser.goto(&instance.url("/"));
        browser.wait_for("document.querySelector('.zone').textContent === 'America/Sao_Paulo'");
        browser.click(link);
        browser.wait_for("location.pathname.startsWith('/rolls')");
        assert_eq!(browser.read("location.search"), "?tz=America%2FSao_Paulo", "{link}");
        assert_eq!(browser.text(".zone-line .zone"), "America/Sao_Paulo", "{link}");
    }
    browser.assert_quiet(&[]);
}
