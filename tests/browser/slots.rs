//! Compares the live page with the database. This is the oracle of most tests of this page.

use serde_json::{Value, json};

use crate::common::Instance;
use crate::session::Session;

/// The felt, and the rolls in the visible slots, newest first, read at once.
const SHOWN: &str = r##"(() => {
    const felt = document.getElementById("felt");
    const number = (text) => Number(text.replaceAll(",", ""));
    const names = [...document.querySelectorAll("#heads [data-die]")].map((head) => head.dataset.die);
    const isVisible = (slot) => slot.checkVisibility() && slot.querySelector("[href]");
    const slots = [...document.querySelectorAll("#rolls > .slot")].filter(isVisible).map((slot) => ({
        id: number(/^Roll ([\d,]+): /.exec(slot.textContent.trim())[1]),
        href: slot.querySelector("a").getAttribute("href"),
        dice: `{${[...slot.querySelectorAll(".result")].map((cell, i) =>
            `"${names[i]}":${cell.textContent}`)}}`,
        is_newest: slot.querySelector("[aria-current]") !== null,
    }));
    return {
        slots: slots.sort((a, b) => b.id - a.id),
        felt: {
            id: number(felt.querySelector(".newest-number").textContent),
            href: felt.querySelector("#newest a").getAttribute("href"),
            rolled_at: felt.querySelector(".newest-time").getAttribute("datetime"),
            clock: felt.querySelector(".newest-time").textContent,
            dice: `{${[...felt.querySelectorAll(".die")].map((die) =>
                `"${die.dataset.die}":${die.querySelector(".die-result").textContent}`)}}`,
        },
    };
})()"##;

/// The id of the roll on the felt, or 0.
pub const NEWEST: &str =
    "Number(document.querySelector('.newest-number').textContent.replaceAll(',', ''))";

/// The state on the page.
pub const STATE: &str = "document.querySelector('#state').dataset.state";

/// What the page shows, or how it differs from the database: the felt must have the newest of the
/// rolls in the slots, and these must be neighbours, each once and as stored. Returns their ids,
/// newest first.
pub fn compare(browser: &dyn Session, instance: &Instance) -> Result<Vec<i64>, String> {
    let shown = browser.read(SHOWN);
    let ids: Vec<i64> = shown["slots"].as_array().unwrap().iter().map(id).collect();
    let [newest, .., oldest] = ids[..] else {
        return Err(format!("expected two rolls or more, got {shown}"));
    };
    let stored = instance.stored();
    let range = stored.iter().rev().filter(|(id, ..)| (oldest..=newest).contains(id));
    let slot = |(id, _, dice): &(i64, String, String)| {
        json!({
            "id": id,
            "href": format!("/rolls/{id}"),
            "dice": dice,
            "is_newest": *id == newest,
        })
    };
    let expected: Vec<Value> = range.map(slot).collect();
    if shown["slots"] != json!(expected) {
        let expected_ids: Vec<i64> = expected.iter().map(id).collect();
        return Err(match ids == expected_ids {
            false => format!("expected rolls {expected_ids:?}, got {ids:?}"),
            true => format!("expected {expected:?}, got {}", shown["slots"]),
        });
    }
    let (_, rolled_at, dice) = stored.iter().find(|(id, ..)| *id == newest).unwrap();
    let felt = json!({
        "id": newest,
        "href": format!("/rolls/{newest}"),
        "rolled_at": rolled_at,
        "clock": format!("{} {}", &rolled_at[..10], &rolled_at[11..19]),
        "dice": dice,
    });
    match shown["felt"] == felt {
        true => Ok(ids),
        false => Err(format!("expected the felt to show {felt}, got {}", shown["felt"])),
    }
}

fn id(roll: &Value) -> i64 {
    roll["id"].as_i64().unwrap()
}

/// The rolls in the slots, newest first. The page must equal the database.
pub fn slots(browser: &dyn Session, instance: &Instance) -> Vec<i64> {
    compare(browser, instance).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the page shows roll `id` or a later one, and returns the rolls in the slots, newest
/// first. The page must equal the database.
pub fn slots_up_to(id: i64, browser: &dyn Session, instance: &Instance) -> Vec<i64> {
    browser.wait_for(&format!("{NEWEST} >= {id}"));
    slots(browser, instance)
}

/// Follows the stream in the page a second time, by the page's own module, and keeps every roll that
/// it delivers.
pub fn follow(browser: &dyn Session) {
    browser.execute_async(
        r##"const done = arguments[arguments.length - 1];
        const script = document.querySelector('script[src*="/js/live.js"]').src;
        import(script.replace("live.js", "follow.js")).then(({ Follow }) => {
            const { stream: url, cursor, everyMs } = document.getElementById("rolls").dataset;
            const text = ({ name, result }) => `"${name}":${result}`;
            window.followed = [];
            new Follow({ url, cursor, everyMs: Number(everyMs) }, {
                onState: () => {},
                onRoll: ({ id, rolledAt, dice }) =>
                    followed.push([id, rolledAt.toISOString(), `{${dice.map(text)}}`]),
            });
            done(true);
        });"##,
    );
}

/// Waits until [`follow`] has received roll `id`. It must have received every stored roll after the
/// first one, once and in order.
pub fn assert_followed_up_to(id: i64, browser: &dyn Session, instance: &Instance) {
    browser.wait_for(&format!("followed.length > 0 && followed.at(-1)[0] >= {id}"));
    let followed: Vec<(i64, String, String)> =
        serde_json::from_value(browser.read("followed")).unwrap();
    let ids = followed[0].0..=followed.last().unwrap().0;
    let stored = instance.stored().into_iter().filter(|(id, ..)| ids.contains(id));
    let stored: Vec<_> = stored.collect();
    let differs = followed.iter().zip(&stored).find(|(followed, stored)| followed != stored);
    assert_eq!(followed.len(), stored.len(), "the first difference: {differs:?}");
    assert_eq!(differs, None, "(received, stored)");
}
