//! The fairness cards of the live page.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::Instance;
use crate::rows::{insert_rolls, roll_until};
use crate::slots::NEWEST;

/// Rolls that the card of the 1D6 counts.
const N_ROLLS: &str = "Number(document.querySelector('[data-die=\"1D6\"] .n-rolls')\
    .textContent.replaceAll(',', ''))";

/// The heights of the bars of a die as parts of their sum.
fn shares(die: &str, browser: &Browser) -> Vec<f64> {
    let heights = format!(
        "[...document.querySelectorAll('[data-die=\"{die}\"] .bar')]\
         .map((bar) => parseFloat(bar.getAttribute('height')))"
    );
    let heights: Vec<f64> = serde_json::from_value(browser.read(&heights)).unwrap();
    let sum: f64 = heights.iter().sum();
    heights.into_iter().map(|height| height / sum).collect()
}

#[test]
fn bars_follow_each_roll_and_the_mean_follows_the_statistics() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    roll_until(20, &instance);
    browser.goto(&instance.url("/"));
    let shown = browser.read(N_ROLLS).as_i64().unwrap();
    let mean = browser.text("[data-die=\"1D6\"] .mean");
    browser.wait_for(&format!("{N_ROLLS} > {shown} + 20"));
    // The mean comes from the server. It changes although nothing is reloaded.
    let changed =
        format!("document.querySelector('[data-die=\"1D6\"] .mean').textContent !== '{mean}'");
    browser.wait_for(&changed);
    server.stop();
    browser.wait_for("document.getElementById('state').dataset.state === 'reconnecting'");
    // The last rolls before the stop may not have been delivered. The last draw may be due.
    browser.wait_for(&format!("{N_ROLLS} === {NEWEST}"));
    let n_rolls = browser.read(N_ROLLS).as_u64().unwrap() as usize;
    let stored = instance.stored().into_iter().take(n_rolls).collect::<Vec<_>>();
    assert_eq!(stored.len(), n_rolls, "no roll is counted twice");
    for (die, n_sides) in [("1D6", 6), ("1D20", 20)] {
        let mut counts = vec![0.0; n_sides];
        for (_, _, dice) in &stored {
            let dice: BTreeMap<String, usize> = serde_json::from_str(dice).unwrap();
            counts[dice[die] - 1] += 1.0 / stored.len() as f64;
        }
        for (share, expected) in shares(die, &browser).into_iter().zip(&counts) {
            assert!((share - expected).abs() < 0.002, "{die}: {share}, expected {expected}");
        }
    }
    let newest = browser.read(NEWEST).as_u64().unwrap() as usize;
    let last: BTreeMap<String, u64> = serde_json::from_str(&stored[newest - 1].2).unwrap();
    let marked = "[...document.querySelectorAll('.bar.last')]\
        .map((bar) => Number(bar.dataset.from))";
    assert_eq!(browser.read(marked), json!([last["1D6"], last["1D20"]]), "the newest results");
}

#[test]
fn the_cards_count_the_rolls_that_the_page_skips() {
    let browser = Browser::open();
    // The history is so long that the page requests the figures only once a minute.
    let instance = Instance::new("every = '1s'");
    instance.fill(12_000, 1);
    let mut server = instance.start();
    roll_until(12_001, &instance);
    browser.goto(&instance.url("/"));
    browser.wait_for("document.getElementById('state').dataset.state === 'live'");
    server.kill();
    insert_rolls(1_000, &instance);
    let _server = instance.start();
    browser.wait_for(&format!("{NEWEST} > 13001"));
    let caught_up = Instant::now();
    browser.wait_for(&format!("{N_ROLLS} === {NEWEST}"));
    let took = caught_up.elapsed();
    assert!(took < Duration::from_secs(30), "the cards counted all rolls only after {took:?}");
}

#[test]
fn the_cards_are_complete_without_scripts_and_name_an_alarm() {
    let browser = Browser::without_scripts();
    let instance = Instance::new("every = '1h'");
    instance.fill(3_000, 1);
    let loaded = "drop trigger refuse_unreadable_update;
                  update rolls set dice = json_set(dice, '$.1D20', 20) where id % 4 = 0";
    Connection::open(instance.database()).unwrap().execute_batch(loaded).unwrap();
    let _server = instance.start();
    roll_until(3_001, &instance);
    browser.goto(&instance.url("/"));
    let card = |die: &str| browser.text(&format!(".fairness-card[data-die=\"{die}\"]"));
    let (six, twenty) = (card("1D6"), card("1D20"));
    for text in ["Is the d6 fair?", "Fair so far", "3,001 rolls,\nmean 3.5", "(fair: 3.5)"] {
        assert!(six.contains(text), "expected {text} in {six}");
    }
    assert!(!six.contains("evidence"), "{six}");
    for text in ["Alarm", "The evidence against it reached the alarm at roll "] {
        assert!(twenty.contains(text), "expected {text} in {twenty}");
    }
    assert_eq!(shares("1D20", &browser).len(), 20);
    let link = browser
        .read("document.querySelector('.fairness-card[data-die=\"1D20\"] a').getAttribute('href')");
    assert_eq!(link, Value::from("/stats/1D20"));
}
