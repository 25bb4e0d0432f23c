//! Every page in light and dark, on a desktop and a phone: no console messages, no horizontal
//! scrolling.

use crate::browser::{Browser, Complaint};
use crate::common::{Instance, Server, wait_for};
use crate::rows::roll_until;
use crate::session::{Colours, Scheme, Session, in_each_other_browser};
use crate::slots::NEWEST;

const SIXTEEN_DICE: &str = "dice = ['1D2', '1D4', '1D6', '3D6', '1D8', '1D10', '2D10', '1D12', \
    '1D20', '1D100', '1D1000', '100D1000', '2D6', '4D6', '2D20', '10D10']";

pub const PAGES: &[&str] = &[
    "/",
    "/rolls",
    "/rolls?before=3",
    "/rolls?day=2026-11-25&die=1D6&result=1",
    "/rolls?tz=Europe/Berlin",
    "/rolls?die=1D6&result=9",
    "/rolls/1",
    "/rolls/1?tz=Asia/Kolkata",
    "/stats",
    "/stats/1D20",
    "/developers",
    "/about",
    "/verify",
    "/draw",
    "/draw?roll=1&dice=1D6,6D250&label=x",
    "/draw?roll=9999&dice=1D6",
    "/draw?roll=x",
    "/screen",
    "/embed",
    "/no/such/page",
    "/rolls/999999",
];

/// A server with a few rolls of `dice`.
pub fn start(dice: &str) -> (Instance, Server) {
    let instance = Instance::new(&format!("every = '200ms'\npage_size = 3\n{dice}"));
    let server = instance.start();
    roll_until(4, &instance);
    (instance, server)
}

/// The height of a page whose width is tested.
pub const HEIGHT: u32 = 740;

pub fn set_width(width: u32, browser: &dyn Session) {
    browser.set_size(width, HEIGHT);
}

fn expected_at(path: &str) -> &'static [Complaint] {
    match path {
        "/no/such/page" | "/rolls/999999" => &[Complaint::NotFound],
        "/draw?roll=x" | "/rolls?die=1D6&result=9" => &[Complaint::Unusable],
        _ => &[],
    }
}

/// Loads a page. The live page must show live rolls.
pub fn visit(path: &str, browser: &dyn Session, instance: &Instance) {
    browser.goto(&instance.url(path));
    if path == "/" {
        let loaded = browser.wait_for(NEWEST);
        browser.wait_for(&format!("{NEWEST} > {loaded} + 3"));
    }
}

#[test]
fn no_page_writes_to_the_console_in_light_or_dark() {
    let browser = Browser::open();
    let (instance, _server) = start("");
    let background = "[document.documentElement, document.body].map(getComputedStyle)\
                      .map((style) => style.backgroundColor + style.backgroundImage).join()";
    for path in PAGES {
        let seen = [Scheme::Light, Scheme::Dark].map(|scheme| {
            browser.set_scheme(scheme);
            visit(path, &browser, &instance);
            browser.read(background)
        });
        assert_ne!(seen[0], seen[1], "expected light and dark to differ at {path}");
        browser.assert_quiet(expected_at(path));
    }
}

/// Control of every test that expects no console messages.
#[test]
fn violations_of_the_policy_are_written_to_the_console() {
    let browser = Browser::open();
    let (instance, _server) = start("");
    let expected = [Complaint::Network, Complaint::NotFound];
    let wrongs = [
        (
            "a script inline",
            "document.body.append(Object.assign(\
            document.createElement('script'), { textContent: '1' }))",
        ),
        ("a style inline", "document.body.setAttribute('style', 'color: red')"),
        ("an image from elsewhere", "new Image().src = 'http://127.0.0.1:9/x.png'"),
        ("an error that nobody catches", "setTimeout(() => { throw new Error('oops') })"),
        ("a script's own error", "console.error('oops')"),
        ("a missing file that is no page", "fetch('/static/missing.js')"),
    ];
    for (what, wrong) in wrongs {
        visit("/rolls/1", &browser, &instance);
        browser.assert_quiet(&expected);
        browser.read(wrong);
        wait_for(&format!("a complaint of {what}"), || {
            (!browser.complaints(&expected).is_empty()).then_some(())
        });
    }
}

#[test]
fn no_page_scrolls_horizontally_on_a_phone_or_a_projector() {
    let browser = Browser::open();
    for dice in ["", SIXTEEN_DICE] {
        let (instance, _server) = start(dice);
        for path in PAGES {
            assert_fits(path, &[320, 360, 800, 1920], &browser, &instance);
            browser.assert_quiet(expected_at(path));
        }
    }
}

/// So nothing moves when the scrollbar appears while a page loads.
#[test]
fn a_page_is_as_wide_with_a_scrollbar_as_without_one() {
    let browser = Browser::open();
    let (instance, _server) = start("");
    set_width(1280, &browser);
    let width_of = |path: &str| {
        browser.goto(&instance.url(path));
        let sizes = "const { clientHeight, scrollHeight } = document.documentElement;
            return [document.body.clientWidth, scrollHeight > clientHeight]";
        let sizes = browser.read(&format!("(() => {{ {sizes} }})()"));
        (sizes[0].as_u64().unwrap(), sizes[1].as_bool().unwrap())
    };
    let (short, long) = (width_of("/no/such/page"), width_of("/about"));
    assert_eq!((short.1, long.1), (false, true), "expected a short page and a long one");
    assert_eq!(short.0, long.0);
    assert!(long.0 < 1280, "this browser's scrollbars take no place");
    // The dice of a screen and of a frame fill the window.
    assert_eq!(width_of("/screen"), (1280, false));
    assert_eq!(width_of("/embed"), (1280, false));
}

#[test]
fn no_page_scrolls_horizontally_in_another_engine_either() {
    in_each_other_browser(|browser| {
        let (instance, _server) = start(SIXTEEN_DICE);
        for path in PAGES {
            assert_fits(path, &[360, 1280], browser, &instance);
        }
    });
}

fn assert_fits(path: &str, widths: &[u32], browser: &dyn Session, instance: &Instance) {
    visit(path, browser, instance);
    for width in widths {
        set_width(*width, browser);
        let widest = browser.read("document.documentElement.scrollWidth");
        let fits = widest.as_u64().unwrap() <= u64::from(*width);
        assert!(fits, "expected {path} within {width} pixels, got {widest}");
    }
}
