//! Limits for the live page, in every browser: CPU time, memory, frame rate and layout shifts. The
//! quick part runs with all tests. `make targets` measures at full length on an idle machine, and
//! prints the figures.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::Instance;
use crate::firefox::Firefox;
use crate::live::PLACES;
use crate::looks::set_width;
use crate::rows::{head, roll_until};
use crate::session::{Session, in_each_browser, in_each_other_browser};
use crate::slots::{NEWEST, STATE};
use crate::usage;

const FIVE_DICE: &str = "dice = ['1D4', '1D6', '1D8', '1D12', '1D20']";

/// `quick` with all tests, `whole` with `make targets`.
fn scaled<T>(quick: T, whole: T) -> T {
    if is_whole() { whole } else { quick }
}

fn is_whole() -> bool {
    std::env::var_os("ROLLCAST_TARGETS").is_some()
}

/// Prints a row of the table of `make targets`.
fn report(what: &str, target: &str, measured: impl std::fmt::Display) {
    eprintln!("| {what} | {target} | {measured} |");
}

/// Opens the live page, and waits until rolls arrive.
fn open_live(page: &dyn Session, instance: &Instance) -> i64 {
    page.goto(&instance.url("/"));
    page.wait_for(&format!("{STATE} === 'live' && {NEWEST}")).as_i64().unwrap()
}

fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// The link of a slot, the middle of it, and where it leads now.
fn slot(n: usize, page: &dyn Session) -> Value {
    page.read(&format!(
        "(() => {{
            const links = [...document.querySelectorAll('#rolls a[href]')]
                .filter((link) => link.checkVisibility());
            const link = links[{n} % links.length];
            link.scrollIntoView({{ block: 'center' }});
            const {{ x, y, width, height }} = link.getBoundingClientRect();
            return {{
                x: Math.round(x + width / 2),
                y: Math.round(y + height / 2),
                path: link.getAttribute('href'),
            }};
        }})()"
    ))
}

#[test]
fn every_aimed_click_opens_the_aimed_roll_in_each_browser() {
    let (n_clicks, aims) = (scaled(3, 20), Duration::from_millis(600));
    in_each_browser(|page| {
        let instance = Instance::new("every = '100ms'");
        instance.fill(30, 1);
        let _server = instance.start();
        for n in 0..n_clicks {
            open_live(page, &instance);
            let at = slot(5 * n, page);
            page.move_mouse(&at["x"], &at["y"]);
            // The roll that the visitor sees under the pointer.
            let aimed = slot(5 * n, page);
            pause(aims);
            page.press_mouse();
            page.wait_for("location.pathname !== '/'");
            assert_eq!(page.read("location.pathname"), aimed["path"], "click {n}");
        }
        let what = format!("aimed clicks in {}", page.engine());
        report(&what, "all", format!("{n_clicks} of {n_clicks}"));
    });
}

#[test]
fn nothing_moves_in_another_engine_either() {
    in_each_other_browser(|page| {
        let instance = Instance::new("every = '100ms'");
        // The number of the roll has one digit more in a moment.
        instance.fill(995, 900);
        let _server = instance.start();
        for width in [1280, 360] {
            set_width(width, page);
            let loaded = open_live(page, &instance);
            let before = page.read(PLACES);
            assert!(before.as_array().unwrap().len() > 50, "{before}");
            for n in [5, 20] {
                page.wait_for(&format!("{NEWEST} > {loaded} + {n}"));
                assert_eq!(page.read(PLACES), before, "at {width} pixels after {n} rolls");
            }
        }
    });
}

/// Starts to add up layout shifts: <https://web.dev/articles/cls>.
const OBSERVE_SHIFTS: &str = "window.shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.shift += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
    arguments[arguments.length - 1](0)";

#[test]
fn the_layout_is_stable() {
    let browser = Browser::open();
    for every in ["1s", "50ms"] {
        let instance = Instance::new(&format!("every = '{every}'"));
        let _server = instance.start();
        for width in [1280, 360] {
            set_width(width, &browser);
            open_live(&browser, &instance);
            browser.execute_async(OBSERVE_SHIFTS);
            pause(scaled(Duration::from_secs(2), Duration::from_secs(60)));
            let shift = browser.read("window.shift").as_f64().unwrap();
            let what = format!("layout shift, a roll every {every}, {width} px");
            report(&what, "< 0.02", format!("{shift:.4}"));
            assert!(shift < 0.02, "{what}: {shift}");
        }
    }
    // Control: a row that pushes the others down is found.
    browser.execute_async(OBSERVE_SHIFTS);
    browser.read("document.querySelector('main').prepend(document.createElement('hr'))");
    browser.wait_for("window.shift > 0.02");
}

/// The share of one processor that a browser uses while it shows a page, in percent.
fn load(group: u32) -> f64 {
    let (start, began) = (Instant::now(), usage::processor_time(group));
    pause(scaled(Duration::from_secs(5), Duration::from_secs(30)));
    let used = usage::processor_time(group) - began;
    100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64()
}

#[test]
fn a_page_rests_between_rolls() {
    // Other tests run meanwhile, which makes each step more expensive.
    let most = scaled(25.0, 6.0);
    let browser = Browser::open();
    let instance = Instance::new("every = '1s'");
    let _server = instance.start();
    open_live(&browser, &instance);
    let used = load(browser.pid());
    report("processor, a roll a second", &format!("< {most} %"), format!("{used:.1} %"));
    assert!(used < most, "the page uses {used:.1} % of a processor");

    // Control: a page that works in each frame does not rest.
    browser.read(
        "requestAnimationFrame(function work() {
             const end = performance.now() + 12;
             while (performance.now() < end);
             requestAnimationFrame(work);
         })",
    );
    let busy = load(browser.pid());
    report("processor, with work in each frame", "(control)", format!("{busy:.1} %"));
    assert!(busy > used + 5.0, "work in each frame uses {busy:.1} %, without it {used:.1} %");
}

#[test]
fn frames_are_drawn_while_rolls_arrive() {
    let browser = Browser::open();
    let instance = Instance::new(&format!("every = '100ms'\n{FIVE_DICE}"));
    let _server = instance.start();
    open_live(&browser, &instance);
    let counted = browser.execute_async(
        "const done = arguments[arguments.length - 1];
         let n_frames = 0;
         const start = performance.now();
         requestAnimationFrame(function frame(now) {
             n_frames += 1;
             if (now - start < 3000) requestAnimationFrame(frame);
             else done([n_frames / 3, document.querySelectorAll('*').length]);
         });",
    );
    let (rate, n_elements) = (counted[0].as_f64().unwrap(), counted[1].as_u64().unwrap());
    report("frames a second, 10 rolls/s of five dice", ">= 50", format!("{rate:.0}"));
    report("elements with five dice", "<= 600", n_elements);
    // Other tests run meanwhile.
    assert!(rate >= scaled(10.0, 50.0), "{rate:.0} frames a second");
    assert!(n_elements <= 600, "{n_elements} elements");
}

/// By how many bytes a value grows while rolls arrive, after the page has warmed up.
fn growth(instance: &Instance, n_rolls: i64, measure: impl Fn() -> u64) -> i64 {
    let roll = |n_rolls: i64| {
        // In parts, because a wait has a bound.
        for _ in 0..n_rolls / 1_000 {
            roll_until(head(instance) + 1_000, instance);
        }
    };
    roll(n_rolls / 4);
    let before = measure();
    roll(n_rolls);
    i64::try_from(measure()).unwrap() - i64::try_from(before).unwrap()
}

/// The bytes of the page's objects after garbage collection.
fn heap(browser: &Browser) -> u64 {
    browser.devtools("HeapProfiler.collectGarbage", json!({}));
    browser.devtools("Runtime.getHeapUsage", json!({}))["usedSize"].as_u64().unwrap()
}

const MB: i64 = 1 << 20;

#[test]
fn the_memory_of_chromium_stays_flat_at_a_thousand_rolls_a_second() {
    let n_rolls = scaled(4_000, 180_000);
    let browser = Browser::open();
    let instance = Instance::new("every = '1ms'");
    let _server = instance.start();
    open_live(&browser, &instance);
    let grown = growth(&instance, n_rolls, || heap(&browser));
    report(&format!("growth of the heap, {n_rolls} rolls, Chromium"), "< 1 MB", in_mb(grown));
    assert!(grown < MB, "the heap grew by {grown} bytes in {n_rolls} rolls");
    if is_whole() {
        let grown = growth(&instance, n_rolls, || usage::memory(browser.pid()));
        let what = format!("growth of the processes, {n_rolls} rolls, Chromium");
        report(&what, "< 60 MB", in_mb(grown));
        assert!(grown < 60 * MB, "the processes grew by {grown} bytes in {n_rolls} rolls");
    }

    // Control: a page that keeps something of each roll is found.
    browser.execute_async(
        "window.kept = [];
         new EventSource('/stream/').onmessage = ({ data }) => kept.push(Array(100).fill(data));
         arguments[arguments.length - 1](0)",
    );
    let grown = growth(&instance, 4_000, || heap(&browser));
    assert!(grown > MB, "a page that keeps all rolls grew by {grown} bytes only");
}

#[test]
fn the_memory_of_firefox_stays_flat_at_a_thousand_rolls_a_second() {
    // Firefox grew by 7 KB with each roll when the page kept 300 rows.
    let n_rolls = scaled(8_000, 180_000);
    let firefox = Firefox::open();
    let instance = Instance::new("every = '1ms'");
    let _server = instance.start();
    open_live(&firefox, &instance);
    let grown = growth(&instance, n_rolls, || usage::memory(firefox.pid()));
    let what = format!("growth of the processes, {n_rolls} rolls, Firefox");
    report(&what, "< 60 MB", in_mb(grown));
    assert!(grown < 60 * MB, "Firefox grew by {grown} bytes in {n_rolls} rolls");
}

fn in_mb(bytes: i64) -> String {
    format!("{:.1} MB", bytes as f64 / MB as f64)
}
