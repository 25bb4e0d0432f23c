//! The pages of statistics while rolls are made.

use serde_json::{Value, json};

use crate::browser::{Browser, Complaint};
use crate::common::Instance;
use crate::rows::{head, lock, roll_until};

/// Rolls of the first die that the page shows.
const N_ROLLS: &str = "Number(document.querySelector('[data-value=rolls]')\
    .textContent.replaceAll(',', ''))";
/// How often the page asked for the statistics.
const N_REQUESTS: &str = "performance.getEntriesByType('resource')\
    .filter((entry) => entry.name.endsWith('/api/stats')).length";
/// Everything that the script writes.
const WRITTEN: &str =
    "[...document.querySelectorAll('[data-die]')].map((die) => die.outerHTML).join()";

#[test]
fn the_page_of_all_dice_begins_with_a_verdict_on_each() {
    let browser = Browser::without_scripts();
    let instance = Instance::new("every = '1h'\ndice = ['1D6', '1D20', '2D6']");
    instance.fill(20_000, 1);
    let _server = instance.start();
    roll_until(20_001, &instance);
    browser.goto(&instance.url("/stats"));
    let rows = browser.read(
        "[...document.querySelectorAll('.verdicts tbody tr')].map((row) =>
            [...row.cells].slice(0, 3).map((cell) => cell.textContent.trim()))",
    );
    let expected = json!([
        ["d6", "fair so far", "20,001"],
        ["d20", "fair so far", "20,001"],
        ["2d6", "too early to tell", "1"]
    ]);
    assert_eq!(rows, expected);
    // Every plot is there, and has at least three ticks on its axis.
    let ticks = browser.read(
        "[...document.querySelectorAll('.plot')].map((plot) =>
            plot.querySelectorAll('.y-axis text').length)",
    );
    let ticks: Vec<u64> = serde_json::from_value(ticks).unwrap();
    assert_eq!(ticks.len(), 6);
    assert!(ticks.iter().all(|n_ticks| (3..=7).contains(n_ticks)), "{ticks:?}");
    // Evidence far below 1 is drawn where it is.
    let below = browser.read(
        "(() => {
            const plot = document.querySelector('.die-stats[data-die=\"1D20\"] .evidence');
            const tick = [...plot.querySelectorAll('.y-axis text')].at(-1);
            const [now, at] = [['.now', 'cy'], ['.alarm', 'y1']].map(([shape, name]) =>
                parseFloat(plot.querySelector(shape).getAttribute(name)));
            return [tick.textContent, now > parseFloat(tick.getAttribute('y')) - 20, at < 20, now <= 100];
        })()",
    );
    assert_eq!(below, json!(["10⁻¹⁰", true, true, true]));
    browser.click(".verdicts a");
    browser.wait_for("location.pathname === '/stats/1D6'");
    assert_eq!(browser.text("h1"), "Is the d6 fair?");
    assert!(browser.text(".answer").contains("Fair so far"), "{}", browser.text(".answer"));
    browser.click("summary");
    assert!(browser.is_shown("tbody"));
}

#[test]
fn figures_change_in_place_and_keep_focus_selection_and_open_tables() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    roll_until(20, &instance);
    for (path, focused) in [("/stats", ".verdicts a"), ("/stats/1D6", "summary")] {
        browser.goto(&instance.url(path));
        browser.read("window.loaded = document.querySelector('.plot')");
        browser.read("document.querySelectorAll('details').forEach((table) => table.open = true)");
        browser.read(&format!("document.querySelector('{focused}').focus()"));
        // From within a figure that changes to another one.
        browser.read(
            "(() => {
                const [from, to] = document.querySelectorAll('[data-value=rolls], [data-value=e]');
                getSelection().setBaseAndExtent(from.firstChild, 1, to.firstChild, 2);
            })()",
        );
        let shown = browser.read(N_ROLLS).as_i64().unwrap();
        let drawn = browser.read("document.querySelector('.bar').getAttribute('height')");
        for n_more in [1, 100] {
            browser.wait_for(&format!("{N_ROLLS} > {shown} + {n_more}"));
        }
        assert_ne!(browser.read("document.querySelector('.bar').getAttribute('height')"), drawn);
        assert_eq!(browser.read("window.loaded === document.querySelector('.plot')"), true);
        let kept = browser.read(&format!(
            "[
                document.activeElement === document.querySelector('{focused}'),
                getSelection().anchorOffset,
                getSelection().focusOffset,
                getSelection().anchorNode.parentElement.dataset.value,
                getSelection().focusNode.parentElement.dataset.value,
                [...document.querySelectorAll('details')].every((table) => table.open),
            ]"
        ));
        assert_eq!(kept, json!([true, 1, 2, "rolls", "e", true]), "{path}");
    }
    // Plot and table show the same rolls.
    let table = "[...document.querySelector('[data-rows=results]').rows].reduce((sum, row) =>
        sum + Number(row.cells[1].lastElementChild.textContent.replaceAll(',', '')), 0)";
    browser.wait_for(&format!("{N_ROLLS} === {table}"));
    browser.assert_quiet(&[]);
}

/// The script and the server format and draw the same figures. So a page is the same whether it was
/// just loaded or updated.
#[test]
fn the_script_writes_what_the_server_writes() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1h'\ndice = ['1D4', '1D6', '1D20', '10D10', '1D1000']");
    instance.fill(7_300, 1);
    let _server = instance.start();
    roll_until(7_301, &instance);
    let dice = ["1D4", "1D6", "1D20", "10D10", "1D1000"].map(|die| format!("/stats/{die}"));
    for path in ["/stats".to_owned()].iter().chain(&dice) {
        browser.goto(&instance.url(path));
        let served = browser.read(WRITTEN);
        let garbled = browser.read(
            "(() => {
                const all = (selector) => document.querySelectorAll(`[data-die] ${selector}`);
                for (const text of all('[data-value], .verdict, .y-axis text, .evidence .x-axis text, ' +
                    '[data-rows] td:not(:nth-child(2)), [data-rows] td span:last-child')) {
                    text.textContent = '?';
                }
                for (const it of all('.verdict')) it.dataset.verdict = '?';
                for (const it of all('[data-rows] .outside, [data-outside], [data-alarm]')) it.hidden ^= true;
                for (const bar of all('.bar')) bar.classList.toggle('outside');
                const garble = (selector, ...names) => {
                    for (const it of all(selector)) {
                        for (const name of names) it.setAttribute(name, name === 'points' ? '0,0' : '0%');
                    }
                };
                garble('.bar, .band', 'y', 'height');
                garble('.line', 'points');
                garble('.now', 'cx', 'cy');
                garble('.alarm, .y-grid line', 'y1', 'y2');
                garble('.x-grid line', 'x1', 'x2');
                garble('.evidence .x-axis text', 'x');
                garble('.evidence .y-axis text, .alarm-name', 'y');
                for (const axis of all('.evidence .x-axis')) axis.lastElementChild.remove();
                return 1;
            })()",
        );
        assert_eq!(garbled, 1);
        assert_ne!(browser.read(WRITTEN), served, "control: {path} is garbled");
        // After a pause, the page asks at once.
        browser.click("#pause");
        browser.click("#pause");
        browser.wait_for(&format!("{N_REQUESTS} > 0 && {N_ROLLS} > 0"));
        // Only space between elements may differ.
        let elements = |html: Value| -> Vec<String> {
            html.as_str().unwrap().split('<').map(|it| it.trim().to_string()).collect()
        };
        assert_eq!(elements(browser.read(WRITTEN)), elements(served), "{path}");
    }
    browser.assert_quiet(&[]);
}

#[test]
fn the_page_can_be_paused_and_asks_at_a_pace() {
    let browser = Browser::open();
    let instance = Instance::new("every = '5ms'");
    let _server = instance.start();
    roll_until(1, &instance);
    browser.goto(&instance.url("/stats"));
    let start = browser.read(N_ROLLS).as_i64().unwrap();
    browser.wait_for(&format!("{N_ROLLS} > {start} + 1000"));
    let asked = browser.read(N_REQUESTS).as_u64().unwrap();
    assert!((1..20).contains(&asked), "{asked} requests for 1,000 rolls");

    browser.click("#pause");
    assert_eq!(browser.text("#state"), "Paused");
    let paused = browser.read(N_ROLLS);
    // Without the pause, the page would request the figures at least twice during these rolls.
    roll_until(head(&instance) + 2_000, &instance);
    let asked_since = browser.read(N_REQUESTS).as_u64().unwrap() - asked;
    assert!(asked_since <= 1, "{asked_since} requests during a pause");
    assert_eq!(browser.read(N_ROLLS), paused);
    browser.click("#pause");
    assert_eq!(browser.text("#state"), "Live");
    browser.wait_for(&format!("{N_ROLLS} > {paused}"));
    browser.assert_quiet(&[]);
}

#[test]
fn a_page_from_before_the_first_roll_shows_the_figures_once_there_are_any() {
    let browser = Browser::open();
    let instance = Instance::new("every = '200ms'");
    instance.fill(0, 1);
    let lock = lock(&instance);
    let _server = instance.start();
    browser.goto(&instance.url("/stats"));
    assert_eq!(browser.text(".nothing"), "No rolls yet");
    drop(lock);
    browser.wait_for("document.querySelectorAll('.verdicts tbody tr').length === 2");
    browser.assert_quiet(&[]);
}

#[test]
fn a_page_without_its_server_says_so_and_goes_on_afterwards() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    roll_until(5, &instance);
    browser.goto(&instance.url("/stats/1D20"));
    server.stop();
    browser.wait_for("document.getElementById('state').dataset.state === 'reconnecting'");
    let last = browser.read(N_ROLLS);
    let _server = instance.start();
    browser.wait_for(&format!("{N_ROLLS} > {last}"));
    assert_eq!(browser.text("#state"), "Live");
    browser.assert_quiet(&[Complaint::Network]);
}

#[test]
fn five_dice_fit_on_a_few_screens() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1h'\ndice = ['1D6', '1D20', '2D6', '1D100', '10D10']");
    instance.fill(3_000, 1);
    let _server = instance.start();
    roll_until(3_001, &instance);
    browser.goto(&instance.url("/stats"));
    let height = browser.read("document.documentElement.scrollHeight").as_u64().unwrap();
    println!("/stats with five dice is {height} px high");
    // It was 7,960 px.
    assert!(height < 3_200, "{height} px");
}
