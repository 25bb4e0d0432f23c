//! The big screen, `/screen`, and the frame, `/embed`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::{Browser, Complaint, ENTER, TAB};
use crate::common::Instance;
use crate::proxy::{Answer, Proxy};
use crate::rows::{head, roll_until};
use crate::session::{Colours, Scheme, Session, Viewport, in_each_browser};

/// The number of the roll, and of each die its name, its result and those before, read at once.
const SHOWN: &str = r#"({
    id: Number(document.getElementById("roll").textContent.replaceAll(",", "")),
    dice: [...document.querySelectorAll(".column")].map((column) => ({
        name: column.dataset.die,
        result: Number(column.querySelector(".die-result").textContent),
        tail: [...column.querySelectorAll(".tail > li")].map((place) => place.textContent),
    })),
})"#;

const ID: &str = "Number(document.getElementById('roll').textContent.replaceAll(',', ''))";

/// Expects what the page shows to be what is stored. Returns the number of the roll.
fn assert_as_stored(page: &dyn Session, instance: &Instance) -> i64 {
    let shown = page.read(SHOWN);
    let id = shown["id"].as_i64().unwrap();
    let stored = instance.stored();
    let result = |id: i64, die: &str| -> Option<u64> {
        let roll = stored.iter().find(|roll| roll.0 == id)?;
        serde_json::from_str::<Value>(&roll.2).unwrap()[die].as_u64()
    };
    for die in shown["dice"].as_array().unwrap() {
        let name = die["name"].as_str().unwrap();
        assert_eq!(die["result"].as_u64(), result(id, name), "{name} of roll {id}");
        let tail = die["tail"].as_array().unwrap().iter().zip(1..);
        for (place, n_back) in tail {
            let expected = result(id - n_back, name).map_or(String::new(), |it| it.to_string());
            assert_eq!(place, &expected, "{name}, {n_back} rolls before roll {id}");
        }
    }
    id
}

fn names(page: &dyn Session) -> Value {
    page.read("[...document.querySelectorAll('.column')].map((column) => column.dataset.die)")
}

#[test]
fn a_screen_shows_each_roll_and_the_results_before_it() {
    in_each_browser(|page| {
        let instance = Instance::new("every = '300ms'");
        let _server = instance.start();
        roll_until(2, &instance);
        for (path, n_before) in [("/screen", 7), ("/embed?tail=3", 3), ("/screen?tail=0", 0)] {
            page.goto(&instance.url(path));
            let n_places =
                page.read("document.querySelectorAll('.column:first-child .tail > li').length");
            assert_eq!(n_places, n_before, "{path}");
            page.wait_for("document.getElementById('state').dataset.state === 'live'");
            let mut id = assert_as_stored(page, &instance);
            for _ in 0..4 {
                page.wait_for(&format!("{ID} > {id}"));
                id = assert_as_stored(page, &instance);
            }
        }
    });
}

#[test]
fn a_screen_of_one_die_shows_only_that_die() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'\ndice = ['1D6', '1D20', '2D6']");
    let _server = instance.start();
    roll_until(3, &instance);
    for (query, expected) in [
        ("", json!(["1D6", "1D20", "2D6"])),
        ("?dice=d20", json!(["1D20"])),
        ("?dice=2D6,1D6", json!(["1D6", "2D6"])),
    ] {
        browser.goto(&instance.url(&format!("/screen{query}")));
        let id = assert_as_stored(&browser, &instance);
        browser.wait_for(&format!("{ID} > {id} + 3"));
        assert_as_stored(&browser, &instance);
        assert_eq!(names(&browser), expected, "{query}");
    }
    browser.assert_quiet(&[]);
}

#[test]
fn a_screen_is_complete_without_scripts() {
    let browser = Browser::without_scripts();
    let instance = Instance::new("every = '1h'");
    instance.fill(20, 1);
    let _server = instance.start();
    roll_until(21, &instance);
    for path in ["/screen", "/embed"] {
        browser.goto(&instance.url(path));
        assert_eq!(assert_as_stored(&browser, &instance), 21, "{path}");
        assert!(browser.text(".caption").contains("As of page load"), "{path}");
    }
}

#[test]
fn rolls_that_come_faster_than_four_a_second_are_drawn_four_times_a_second() {
    let browser = Browser::open();
    let instance = Instance::new("every = '5ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/screen"));
    assert!(
        browser.text(".caption").contains("Rolled 200 times a second, shown four times a second")
    );
    browser.wait_for("document.getElementById('state').dataset.state === 'live'");
    let n_drawn = browser.execute_async(
        "const done = arguments[arguments.length - 1];
         let n_drawn = 0;
         new MutationObserver(() => n_drawn += 1)
             .observe(document.getElementById('roll'), { characterData: true, subtree: true });
         setTimeout(() => done(n_drawn), 3000);",
    );
    let n_drawn = n_drawn.as_u64().unwrap();
    assert!((1..=13).contains(&n_drawn), "drawn {n_drawn} times in 3 s");
    assert_as_stored(&browser, &instance);
}

#[test]
fn a_screen_shows_other_dice_after_a_restart_without_a_reload() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let mut server = instance.start();
    roll_until(3, &instance);
    browser.goto(&instance.url("/screen"));
    browser.wait_for(&format!("{ID} > 5"));
    browser.read("document.body.dataset.mark = 'the same page'");
    server.stop();
    instance.configure("every = '100ms'\ndice = ['1D8', '1D12', '1D4']");
    let _server = instance.start();
    browser.wait_for("document.querySelectorAll('.column').length === 3");
    let id = browser.read(ID).as_i64().unwrap();
    browser.wait_for(&format!("{ID} > {id} + 3"));
    assert_eq!(names(&browser), json!(["1D8", "1D12", "1D4"]));
    assert_as_stored(&browser, &instance);
    assert_eq!(browser.read("document.body.dataset.mark"), "the same page");
    browser.assert_quiet(&[Complaint::Network]);
}

#[test]
fn all_dice_fit_into_every_window_and_none_overlaps() {
    let dice = ["1D6", "1D20", "2D6", "1D4", "1D8", "1D10", "1D12", "1D100"];
    let more = ["3D6", "4D6", "5D6", "6D6", "7D6", "8D6", "9D6", "10D6"];
    let all: Vec<&str> = dice.into_iter().chain(more).collect();
    let browser = Browser::open();
    for n_dice in [1, 2, 3, 4, 5, 8, 16] {
        let instance = Instance::new(&format!("every = '1h'\ndice = {:?}", &all[..n_dice]));
        let _server = instance.start();
        roll_until(1, &instance);
        for path in ["/screen", "/embed"] {
            browser.goto(&instance.url(path));
            for (width, height) in [(1920, 1080), (1280, 720), (360, 740), (740, 360), (320, 200)] {
                browser.set_size(width, height);
                let wrong = browser.read(WRONG_PLACES);
                assert_eq!(wrong, json!([]), "{n_dice} dice at {path} in {width}x{height}");
            }
        }
    }
}

/// Dice and texts that are cut off or cover each other.
const WRONG_PLACES: &str = r#"(() => {
    const parts = [...document.querySelectorAll(".column, .caption")];
    const boxes = parts.map((part) => [part.textContent.trim(), part.getBoundingClientRect()]);
    const apart = (a, b) =>
        a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
    return boxes.flatMap(([name, box], n) => [
        ...(box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight
            ? [`${name} is cut off`] : []),
        ...boxes.slice(n + 1).filter(([, other]) => !apart(box, other))
            .map(([other]) => `${name} covers ${other}`),
    ]);
})()"#;

/// The colour of a corner of the window as red, green, blue and opacity.
fn corner(browser: &Browser) -> Value {
    let transparent = json!({ "color": { "r": 0, "g": 0, "b": 0, "a": 0 } });
    browser.devtools("Emulation.setDefaultBackgroundColorOverride", transparent);
    let shot = browser.devtools("Page.captureScreenshot", json!({ "format": "png" }));
    // The policy of our pages allows no image from a script.
    browser.goto("about:blank");
    browser.execute_async(&format!(
        "const done = arguments[arguments.length - 1];
         const image = new Image();
         image.onload = () => {{
             const canvas = document.createElement('canvas').getContext('2d');
             canvas.drawImage(image, 0, 0);
             done([...canvas.getImageData(2, 2, 1, 1).data]);
         }};
         image.src = 'data:image/png;base64,{}';",
        shot["data"].as_str().unwrap()
    ))
}

#[test]
fn the_backdrop_is_transparent_or_exactly_the_colour() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    roll_until(1, &instance);
    for path in ["/screen", "/embed"] {
        for (query, expected) in [
            ("?bg=none", json!([0, 0, 0, 0])),
            ("?bg=00ff00", json!([0, 255, 0, 255])),
            ("?bg=%23FF00FF", json!([255, 0, 255, 255])),
        ] {
            for scheme in [Scheme::Light, Scheme::Dark] {
                browser.goto(&instance.url(&format!("{path}{query}")));
                browser.set_scheme(scheme);
                assert_eq!(corner(&browser), expected, "{path}{query} in {scheme:?}");
            }
        }
    }
    // As people write it, who forget that `#` begins the fragment.
    browser.goto(&instance.url("/screen?tail=2&bg=#00ff00"));
    browser.wait_for("location.search === '?tail=2&bg=00ff00'");
    browser.wait_for("document.querySelector('.backdrop') !== null");
    assert_eq!(corner(&browser), json!([0, 255, 0, 255]));
}

#[test]
fn the_controls_appear_for_the_keyboard_and_for_the_pointer_and_disappear_again() {
    let browser = Browser::open();
    let instance = Instance::new("every = '200ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/screen"));
    let are_shown = "getComputedStyle(document.getElementById('controls')).opacity === '1'";
    browser.wait_for("!document.getElementById('fullscreen').hidden");
    assert_eq!(browser.read(are_shown), false, "nothing lies over a video stream");

    browser.press(TAB);
    browser.wait_for(are_shown);
    assert_eq!(browser.read("document.activeElement.id"), "fullscreen");
    browser.press(ENTER);
    browser.wait_for("document.fullscreenElement !== null");
    browser.press(ENTER);
    browser.wait_for("document.fullscreenElement === null");
    browser.read("document.activeElement.blur()");
    browser.wait_for(&format!("!({are_shown})"));
    browser.read("dispatchEvent(new PointerEvent('pointermove'))");
    browser.wait_for(are_shown);
    browser.wait_for(&format!("!({are_shown})"));
    browser.assert_quiet(&[]);
}

#[test]
fn a_screen_plays_a_sound_with_each_roll_and_stays_on() {
    let browser = Browser::open();
    let watch = "window.nSounds = 0; window.nLocks = 0;
        const start = AudioBufferSourceNode.prototype.start;
        AudioBufferSourceNode.prototype.start = function () { window.nSounds += 1; start.call(this); };
        WakeLock.prototype.request = async () => { window.nLocks += 1; };";
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": watch }));
    let instance = Instance::new("every = '300ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/screen"));
    let id = browser.wait_for(&format!("{ID} > 2 && {ID}")).as_i64().unwrap();
    browser.wait_for(&format!("{ID} > {id}"));
    assert_eq!(browser.read("[window.nSounds, window.nLocks]"), json!([0, 1]));
    let pressed = "document.getElementById('sound').getAttribute('aria-pressed')";
    assert_eq!(browser.read(pressed), "false");
    browser.press(TAB);
    browser.press(TAB);
    browser.press(ENTER);
    assert_eq!(browser.read(pressed), "true");
    browser.wait_for("window.nSounds >= 2");
    browser.press(ENTER);
    assert_eq!(browser.read(pressed), "false");

    browser.goto(&instance.url("/screen?sound=1"));
    assert_eq!(browser.read(pressed), "true");
}

#[test]
fn a_page_of_another_site_shows_the_rolls_in_a_frame_and_no_other_page() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    roll_until(1, &instance);
    for (path, is_shown) in [("/embed", true), ("/screen", false), ("/", false)] {
        let frame = format!("<!doctype html><iframe src=\"{}\"></iframe>", instance.url(path));
        let elsewhere = Proxy::new(&instance, move |_| Answer::Page(frame.clone()));
        browser.goto(&elsewhere.url("/"));
        browser.run("to enter the frame", browser.client().clone().enter_frame(0));
        if is_shown {
            let id = browser.read(ID).as_i64().unwrap();
            browser.wait_for(&format!("{ID} > {id} + 3"));
            assert_as_stored(&browser, &instance);
        } else {
            assert_eq!(browser.read("document.querySelector('.die')"), Value::Null, "{path}");
        }
    }
}

#[test]
fn a_screen_that_was_away_for_long_shows_the_newest_roll_soon() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/screen"));
    browser.wait_for("document.getElementById('state').dataset.state === 'live'");
    let hidden = browser.tab();
    browser.open_tab();
    let before = head(&instance);
    roll_until(before + 3_000, &instance);
    browser.ask(&hidden);
    let back = Instant::now();
    browser.wait_for(&format!("{ID} > {before} + 3000"));
    assert!(back.elapsed() < Duration::from_secs(20), "after {:?}", back.elapsed());
    assert_as_stored(&browser, &instance);
}
