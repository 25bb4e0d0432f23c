//! What the looks of a page must keep in unusual settings.

use serde_json::json;

use crate::browser::Browser;
use crate::common::Instance;
use crate::looks::set_width;
use crate::rows::roll_until;
use crate::slots::slots_up_to;

fn set_media(feature: &str, value: &str, browser: &Browser) {
    let features = json!([{ "name": feature, "value": value }]);
    browser.devtools("Emulation.setEmulatedMedia", json!({ "features": features }));
}

#[test]
fn a_pressed_button_stays_visible_in_forced_colours() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    set_media("forced-colors", "active", &browser);
    browser.goto(&instance.url("/"));
    slots_up_to(2, &browser, &instance);
    let look = "((style) => style.backgroundColor + style.color)\
                (getComputedStyle(document.getElementById('pause')))";
    let released = browser.read(look);
    browser.click("#pause");
    assert_ne!(browser.read(look), released);
    browser.click("#pause");
    assert_eq!(browser.read(look), released);
}

#[test]
fn text_grows_with_the_screen_only_up_to_twenty_pixels() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let size = "parseFloat(getComputedStyle(document.body).fontSize)";
    for (width, expected) in [(320, 16.0..=16.0), (1280, 16.0..=17.0), (3840, 19.0..=20.0)] {
        set_width(width, &browser);
        browser.wait_for(&format!("innerWidth === {width}"));
        let seen = browser.read(size).as_f64().unwrap();
        assert!(expected.contains(&seen), "expected {expected:?} at {width}, got {seen}");
    }
}

#[test]
fn more_contrast_and_print_change_the_colours() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let quiet = "getComputedStyle(document.querySelector('.title p')).color";
    let usual = browser.read(quiet);
    set_media("prefers-contrast", "more", &browser);
    assert_ne!(browser.read(quiet), usual);
    browser.devtools("Emulation.setEmulatedMedia", json!({ "media": "print", "features": [] }));
    let page = "getComputedStyle(document.body).backgroundColor";
    assert_eq!(browser.read(page), "rgb(255, 255, 255)");
    assert!(!browser.is_shown("#pause"));
}

#[test]
fn dice_turn_on_the_screen_only_if_rolls_are_slow_and_never_on_the_live_page() {
    let browser = Browser::open();
    for (every, path, turns) in
        [("1s", "/screen", true), ("100ms", "/screen", false), ("1s", "/", false)]
    {
        let instance = Instance::new(&format!("every = '{every}'"));
        let _server = instance.start();
        roll_until(1, &instance);
        browser.goto(&instance.url(path));
        browser.read(
            "(() => {
                window.nDrawn = window.nTurning = 0;
                const look = () => {
                    window.nTurning = Math.max(window.nTurning, document.getAnimations().length);
                    requestAnimationFrame(look);
                };
                look();
                new MutationObserver(() => window.nDrawn += 1)
                    .observe(document.querySelector('.die-result'), { childList: true, characterData: true, subtree: true });
            })()",
        );
        browser.wait_for("window.nDrawn >= 3");
        assert_eq!(browser.read("window.nTurning > 0"), turns, "{path} at a roll every {every}");
    }
}
