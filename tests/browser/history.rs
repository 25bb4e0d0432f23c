//! The history and the page of a roll: one time zone a page, rows that stand still, and the form.

use serde_json::{Value, json};

use crate::browser::{Browser, Complaint};
use crate::checks::check_it_here;
use crate::common::log_server::server_with_log;
use crate::common::{Instance, Server, wait_for};
use crate::rows::{head, roll_until, rows};
use crate::session::in_each_browser;

/// The ids of the rows.
const IDS: &str = "[...document.querySelectorAll('#rolls > .entry .roll-number')]
    .map((number) => Number(number.textContent))";

/// The new rolls that the link counts, or 0.
const NEW_ROLLS: &str = "parseInt(document.querySelector('#new-rolls:not([hidden])')
    ?.textContent ?? '0') || 0";

/// A server with 121 rolls, of which it made the last. The next one is made in an hour. Roll n is
/// from n seconds after 2026-11-23T00:00:00.123Z, and has 1 + n % 6 on its 1D6.
fn start(page_size: usize) -> (Instance, Server) {
    let instance = Instance::new(&format!("every = '1h'\npage_size = {page_size}"));
    instance.fill(120, 1);
    let server = instance.start();
    roll_until(121, &instance);
    (instance, server)
}

fn ids(browser: &Browser) -> Vec<i64> {
    serde_json::from_value(browser.read(IDS)).unwrap()
}

fn down(newest: i64, oldest: i64) -> Vec<i64> {
    (oldest..=newest).rev().collect()
}

/// Clicks and waits until an expression is true on the next page.
fn follow(browser: &Browser, selector: &str, arrival: &str) {
    browser.click(selector);
    browser.wait_for(&format!("{arrival} && document.readyState === 'complete'"));
}

/// Clicks with the mouse at a place of the window.
fn click_at(browser: &Browser, place: &Value) {
    for kind in ["mousePressed", "mouseReleased"] {
        let event = json!({
            "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1
        });
        browser.devtools("Input.dispatchMouseEvent", event);
    }
}

#[test]
fn without_scripts_the_history_leads_back_finds_a_time_and_a_result_and_opens_rolls() {
    let browser = Browser::without_scripts();
    let (instance, _server) = start(50);
    browser.goto(&instance.url("/rolls"));
    let shown = || -> Vec<i64> { rows(&browser, &instance).iter().map(|row| row.id).collect() };
    assert_eq!(shown(), down(121, 72), "the newest page");
    assert!(!browser.is_shown("#new-rolls"), "a count that nothing changes");
    assert!(!browser.is_shown("#zone-here"), "a link without an address");

    follow(&browser, "a[rel=next]", &format!("({IDS})[0] === 71"));
    assert_eq!(shown(), down(71, 22), "one page older");
    // The pager below the rows leads on as well.
    follow(&browser, ".ledger ~ nav a[rel=next]", &format!("({IDS})[0] === 21"));
    assert_eq!(shown(), down(21, 1), "the oldest page");
    assert_eq!(browser.read("document.querySelector('a[rel=next]')"), Value::Null);
    follow(&browser, "a[rel=prev]", &format!("({IDS})[0] === 71"));
    assert_eq!(ids(&browser), down(71, 22), "one page newer");
    follow(&browser, "#roll-42 .clock", "location.pathname === '/rolls/42'");
    follow(&browser, "a[rel=next]", "location.pathname === '/rolls/43'");

    browser.goto(&instance.url("/rolls"));
    // Fields of dates and times take the keys of their parts, in the order of the language.
    browser.fill("#day", "11232026");
    browser.fill("#time", "1201AM");
    follow(&browser, ".filters button", "location.hash === '#roll-60'");
    assert!(ids(&browser).contains(&60), "{:?}", ids(&browser));
    assert_eq!(browser.read("document.getElementById('day').value"), "2026-11-23");

    browser.fill("#die", "d6");
    browser.fill("#result", "6");
    follow(&browser, ".filters button", "location.search.includes('result=6')");
    let expected: Vec<i64> = down(119, 1).into_iter().filter(|id| id % 6 == 5).collect();
    assert_eq!(ids(&browser), expected);
    let kept =
        browser.read("[...document.querySelectorAll('.filters .field')].map((it) => it.value)");
    assert_eq!(kept, json!(["2026-11-23", "", "1D6", "6", "UTC"]));
    browser.assert_quiet(&[]);
}

#[test]
fn a_wrong_value_keeps_the_form_and_has_its_error_at_its_field() {
    let browser = Browser::open();
    let (instance, _server) = start(10);
    browser.goto(&instance.url("/rolls"));
    browser.fill("#die", "d20");
    browser.fill("#result", "21");
    follow(&browser, ".filters button", "location.search.includes('result=21')");
    assert_eq!(browser.read("document.getElementById('result').value"), "21");
    assert_eq!(browser.read("document.getElementById('die').value"), "1D20");
    let errors = browser.read(
        "[...document.querySelectorAll('[aria-invalid=true]')].map((field) =>
            [field.id, document.getElementById(field.getAttribute('aria-describedby')).textContent])",
    );
    assert_eq!(errors, json!([["result", "expected a result that the die can show, got 21"]]));
    let below = browser.read(
        "document.getElementById('result-error').getBoundingClientRect().top >=
         document.getElementById('result').getBoundingClientRect().bottom",
    );
    assert_eq!(below, true, "expected the error below its field");
    browser.assert_quiet(&[Complaint::Unusable]);
}

#[test]
fn a_page_has_one_time_zone_from_its_heading_to_its_last_row() {
    let zone = "America/Sao_Paulo";
    let browser = Browser::in_zone(zone);
    let instance = Instance::new("every = '1h'\npage_size = 20");
    // Midnight in São Paulo is roll 10,800, at 03:00 in UTC.
    instance.fill(10_810, 10_701);
    let _server = instance.start();
    roll_until(10_811, &instance);

    // By the browser's own calendar, in a language that writes ISO dates.
    let all_in = |zone: &str| {
        format!(
            "[...document.querySelectorAll('main time')].every((time) =>
                new Date(time.dateTime).toLocaleString('sv', {{ timeZone: '{zone}' }}) ===
                    time.querySelector('.day').textContent + ' ' +
                    time.querySelector('.clock').textContent &&
                time.title === time.dateTime)
             && [...document.querySelectorAll('.zone')].every((it) => it.textContent === '{zone}')
             && document.querySelectorAll('main time').length > 0"
        )
    };
    browser.goto(&instance.url("/rolls?day=2026-11-23&before=10810"));
    browser.wait_for("!document.getElementById('zone-here').hidden");
    assert_eq!(browser.read(&all_in("UTC")), true);
    // Control: the check sees another zone.
    assert_eq!(browser.read(&all_in(zone)), false);
    assert_eq!(browser.text("#zone-here"), format!("Show times in {zone}"));

    follow(&browser, "#zone-here", "location.search.includes('tz=')");
    assert_eq!(browser.read(&all_in(zone)), true);
    assert_eq!(browser.text("h1"), "Rolls on 2026-11-23");
    let days = "[...new Set([...document.querySelectorAll('#rolls .day')]
        .map((day) => day.textContent))]";
    assert_eq!(browser.read(days), json!(["2026-11-23"]), "rows of another day");
    assert_eq!(ids(&browser), down(10_809, 10_800), "the day begins at its own midnight");
    assert_eq!(browser.read("document.getElementById('tz').value"), zone);
    assert!(!browser.is_shown("#zone-here"), "an offer of the same zone");

    // Its links keep the zone: a row, the day of that roll, and the navigation.
    follow(&browser, "#roll-10800 .entry-link", "location.pathname === '/rolls/10800'");
    assert_eq!(browser.read(&all_in(zone)), true);
    assert_eq!(browser.text(".title time"), "2026-11-23 00:00:00");
    follow(&browser, "a[rel=prev]", "location.pathname === '/rolls/10799'");
    assert_eq!(browser.text(".title time"), "2026-11-22 23:59:59");
    browser.wait_for("document.querySelector('header a[href*=\"/rolls?tz=\"]') !== null");
    follow(&browser, "header nav a[href*='/rolls']", "location.pathname === '/rolls'");
    assert_eq!(browser.read(&all_in(zone)), true);
    follow(&browser, "#zone-utc", "!location.search.includes('tz=')");
    assert_eq!(browser.read(&all_in("UTC")), true);
    browser.assert_quiet(&[]);
}

#[test]
fn check_it_here_passes_in_every_time_zone_and_sees_a_wrong_clock() {
    in_each_browser(|page| {
        let (instance, _server, _key) = server_with_log(60);
        for zone in ["UTC", "Asia/Kolkata", "America/St_Johns"] {
            page.goto(&instance.url(&format!("/rolls/41?tz={zone}")));
            check_it_here(page).assert_passed(5);
        }
        // Control: a page that shows another time than the log.
        page.goto(&instance.url("/rolls/41?tz=Asia/Kolkata"));
        page.read("document.querySelector('.title .clock').textContent = '01:02:03'");
        let checked = check_it_here(page);
        assert_eq!(checked.outcome_of("page"), "no", "{checked:#?}");
    });
}

#[test]
fn new_rolls_are_counted_while_no_row_moves_and_every_aimed_click_opens_its_roll() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'\npage_size = 30");
    instance.fill(200, 1);
    let _server = instance.start();
    roll_until(201, &instance);
    browser.goto(&instance.url("/rolls"));
    let shifts = "window.shifts = 0; new PerformanceObserver((list) =>
        list.getEntries().forEach((it) => { window.shifts += it.value }))
        .observe({ type: 'layout-shift', buffered: true })";
    browser.read(&format!("(() => {{ {shifts} }})()"));
    let loaded = ids(&browser);
    browser.wait_for(&format!("{NEW_ROLLS} > 20"));
    assert_eq!(ids(&browser), loaded, "the rows changed");
    assert_eq!(browser.read("window.shifts"), 0, "something moved");
    assert_eq!(browser.read("document.querySelectorAll('.ledger-head').length"), 1);
    let heights = "[...new Set([...document.querySelectorAll('.entry-link')]
        .map((row) => row.getBoundingClientRect().height))]";
    assert_eq!(browser.read(heights), json!([40]));

    for n in 0..20 {
        browser.goto(&instance.url("/rolls"));
        let row = 1 + n % 10;
        // The whole row is the link, so aim at its empty part too.
        let place = browser.read(&format!(
            "(() => {{
                const row = document.querySelector('#rolls > :nth-child({row})');
                const box = row.getBoundingClientRect();
                const x = box.left + box.width * {} / 20;
                return [x, box.top + box.height / 2, row.querySelector('.roll-number').textContent];
            }})()",
            n + 1 - n / 19
        ));
        browser.wait_for(&format!("{NEW_ROLLS} > 5"));
        click_at(&browser, &place);
        browser.wait_for("/^.rolls.[0-9]+$/.test(location.pathname)");
        let opened = browser.read("location.pathname");
        assert_eq!(opened, format!("/rolls/{}", place[2].as_str().unwrap()), "click {n}");
    }
    browser.assert_quiet(&[]);
}

#[test]
fn only_new_rolls_that_the_filter_shows_are_counted() {
    let browser = Browser::open();
    let instance = Instance::new("every = '20ms'\npage_size = 10");
    let _server = instance.start();
    roll_until(10, &instance);
    browser.goto(&instance.url("/rolls?die=1D20&result=7"));
    let cursor = browser.read("document.getElementById('new-rolls').dataset.cursor");
    let from: i64 = cursor.as_str().unwrap().split('-').next().unwrap().parse().unwrap();
    browser.wait_for(&format!("{NEW_ROLLS} >= 3"));
    // One roll of twenty is counted, so the count often equals the database for a moment. A count of
    // all rolls would soon be far ahead.
    let sql = "select count(*) from faces where id > ?1 and die = '1D20' and face = 7";
    wait_for("the count of the database", || {
        let shown = browser.read(NEW_ROLLS).as_i64()?;
        let stored: i64 = instance.sqlite().query_row(sql, [from], |row| row.get(0)).unwrap();
        (shown == stored).then_some(())
    });
    assert!(head(&instance) - from > browser.read(NEW_ROLLS).as_i64().unwrap(), "all rolls");
    follow(&browser, "#new-rolls", "document.querySelector('#new-rolls[hidden]') !== null");
    assert!(browser.url().ends_with("/rolls?die=1D20&result=7"), "{}", browser.url());
    browser.assert_quiet(&[]);
}

#[test]
fn a_past_day_and_an_older_page_count_nothing() {
    let browser = Browser::open();
    let (instance, _server) = start(10);
    for query in ["?day=2026-11-23", "?before=50", "?after=5"] {
        browser.goto(&instance.url(&format!("/rolls{query}")));
        let is_past = browser.read("document.getElementById('new-rolls') === null");
        assert_eq!(is_past, true, "{query}");
    }
    browser.goto(&instance.url("/rolls"));
    assert_eq!(browser.read("document.getElementById('new-rolls') === null"), false, "control");
}

#[test]
fn the_page_of_a_roll_copies_its_link_without_a_time_zone() {
    let browser = Browser::open();
    let (instance, _server) = start(10);
    browser.goto(&instance.url("/rolls/60?tz=Asia/Kolkata"));
    browser.wait_for("document.querySelector('[data-copies=link]:not([hidden])') !== null");
    let permission = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    browser.devtools("Browser.grantPermissions", permission);
    browser.click("[data-copies=link]");
    browser.wait_for("document.querySelector('[data-copies=link]').textContent === 'Copied'");
    let copied = browser.execute_async(
        "const done = arguments[arguments.length - 1];
         navigator.clipboard.readText().then(done, (error) => done(`${error}`))",
    );
    assert_eq!(copied, instance.url("/rolls/60"));
    let json = "document.querySelector('.link-line a').getAttribute('href')";
    assert_eq!(browser.read(json), "/api/rolls/60");
    browser.assert_quiet(&[]);
}
