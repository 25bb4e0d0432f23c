//! The page of statistics while rolls are made.

use crate::browser::Browser;
use crate::common::Instance;
use crate::rows::roll_until;

/// Rolls of the first die that the page shows.
const N_ROLLS: &str = "Number(document.querySelector('.n-rolls').textContent.replaceAll(',', ''))";
/// The plot of its results, as attributes.
const DRAWN: &str = "[...document.querySelectorAll('.plot')[0].querySelectorAll('.dot')]\
    .map((dot) => dot.getAttribute('cy')).join()";

#[test]
fn plots_and_tables_update_with_new_rolls_without_a_reload() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    roll_until(20, &instance);
    browser.goto(&instance.url("/stats"));
    browser.read("window.loaded = 'once'");
    // Open tables stay open, and the focus stays where it is.
    browser.click("summary");
    browser.read("document.querySelector('summary').focus()");
    let (drawn, shown) = (browser.read(DRAWN), browser.read(N_ROLLS).as_i64().unwrap());
    for n_more in [1, 60] {
        browser.wait_for(&format!("{N_ROLLS} > {shown} + {n_more}"));
    }
    assert_ne!(browser.read(DRAWN), drawn, "the plot moved");
    assert_eq!(browser.read("window.loaded"), "once", "without a reload");
    assert_eq!(browser.read("document.querySelector('details').open"), true);
    assert_eq!(browser.read("document.activeElement.localName"), "summary");
    // Plot and table show the same rolls.
    let table = "[...document.querySelectorAll('tbody')[0].rows]\
        .reduce((sum, row) => sum + parseInt(row.cells[1].textContent.replaceAll(',', '')), 0)";
    browser.wait_for(&format!("{N_ROLLS} === {table}"));
    browser.assert_quiet(&[]);
}

#[test]
fn the_page_requests_figures_only_after_new_rolls_and_not_for_each() {
    let browser = Browser::open();
    let count = "performance.getEntriesByType('resource')\
        .filter((entry) => entry.initiatorType === 'fetch').length";
    let instance = Instance::new("every = '1h'");
    let mut server = instance.start();
    roll_until(1, &instance);
    browser.goto(&instance.url("/stats"));
    browser.wait_for("document.getElementById('state').dataset.state === 'live'");
    // Longer than the longest pause between two requests.
    let wait = "const done = arguments[arguments.length - 1]; setTimeout(() => done(1), 4000);";
    browser.execute_async(wait);
    assert_eq!(browser.read(count), 0, "no roll, no request");
    server.stop();
    instance.configure("every = '5ms'");
    let _server = instance.start();
    let start = browser.wait_for(&format!("{N_ROLLS} > 1 && {N_ROLLS}")).as_i64().unwrap();
    let before = browser.read(count).as_u64().unwrap();
    browser.wait_for(&format!("{N_ROLLS} > {start} + 1000"));
    let asked = browser.read(count).as_u64().unwrap() - before;
    assert!((1..20).contains(&asked), "{asked} requests for 1,000 rolls");
}

#[test]
fn the_page_works_without_scripts() {
    let browser = Browser::without_scripts();
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    roll_until(1, &instance);
    browser.goto(&instance.url("/stats"));
    assert!(browser.is_shown(".plot"));
    assert!(browser.text("#state").contains("turn on JavaScript"));
    browser.click("summary");
    assert!(browser.is_shown("tbody"));
}
