//! `/verify`, and the offline page.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::browser::{Browser, ENTER, TAB};
use crate::checks::Checked;
use crate::common::Instance;
use crate::common::falsified::falsified;
use crate::common::log_server::{get, server_with_log};
use crate::session::{Session, in_each_browser};

/// Writes the proof of a roll into the folder of its server.
fn save_proof(instance: &Instance, id: i64) -> PathBuf {
    let path = instance.path().join(format!("roll-{id}.proof"));
    fs::write(&path, get(&instance.url(&format!("/rolls/{id}/proof"))).unwrap()).unwrap();
    path
}

/// Saves the offline page, as the link on `/verify` does. Returns the URL of the file.
fn save_page(instance: &Instance) -> String {
    let path = instance.path().join("rollcast-verify.html");
    fs::write(&path, get(&instance.url("/verify/offline.html")).unwrap()).unwrap();
    format!("file://{}", path.display())
}

fn open(page: &dyn Session, url: &str) {
    page.goto(url);
    page.wait_for("document.querySelector('#verifier:not([hidden])') !== null");
}

fn choose(page: &dyn Session, files: &[&Path]) -> Checked {
    let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    page.fill("#files", &paths.join("\n"));
    Checked::wait(page)
}

#[test]
fn a_roll_is_verified_by_its_number_with_the_keyboard_alone() {
    let browser = Browser::open();
    let (instance, _server, key) = server_with_log(300);
    open(&browser, &instance.url("/verify"));
    assert_eq!(browser.read("document.getElementById('key').value"), key);
    while browser.read("document.activeElement.id") != "roll" {
        browser.press(TAB);
    }
    for character in "257".chars() {
        browser.press(character);
    }
    browser.press(ENTER);
    let checked = Checked::wait(&browser);
    checked.assert_passed(4);
    assert_eq!(checked.words, "Roll 257 passed every check.");
    let (_, rolled_at, dice) = &instance.stored()[256];
    assert_eq!(browser.text(".verified-time"), *rolled_at);
    let shown = browser.text(".verified-dice").replace(" = ", ":").replace(", ", ",");
    assert_eq!(shown, dice.replace(['{', '}', '"'], ""));
    assert_eq!(browser.read("document.activeElement.id"), "roll", "the focus stays");

    // A future roll, and a text that is not a number.
    for (number, expected) in [("999999", "has not been rolled yet"), ("x", "the number of a roll")]
    {
        browser.read("document.getElementById('roll').select()");
        browser.fill("#roll", number);
        browser.press(ENTER);
        let checked = Checked::wait(&browser);
        assert_eq!(checked.outcome, "no");
        assert!(checked.words.contains(expected), "{checked:#?}");
    }
}

#[test]
fn a_chosen_file_is_verified_and_a_falsified_one_never() {
    let page = &Browser::open();
    let (instance, _server, _key) = server_with_log(60);
    let (other, _other_server, other_key) = server_with_log(60);
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let file = save_proof(&instance, 41);
    let [proof, neighbour, foreign] =
        [&file, &save_proof(&instance, 42), &save_proof(&other, 41)].map(|path| read(path));
    for change in falsified(&proof, &neighbour, &foreign) {
        fs::write(&file, &change.proof).unwrap();
        open(page, &instance.url("/verify"));
        let checked = choose(page, &[&file]);
        // Nothing says which roll was meant, so a whole proof of another roll would pass.
        assert_eq!(checked.outcome, "no", "{}: {checked:#?}", change.what);
    }
    fs::write(&file, &proof).unwrap();
    open(page, &instance.url("/verify"));
    choose(page, &[&file]).assert_passed(4);
    // Another key.
    open(page, &instance.url("/verify"));
    page.read("document.getElementById('key').value = ''");
    page.fill("#key", &other_key);
    let checked = choose(page, &[&file]);
    assert_eq!(checked.outcome_of("signature"), "no", "{checked:#?}");
}

#[test]
fn a_large_file_is_refused_by_name_and_is_not_read() {
    let browser = Browser::open();
    let (instance, _server, _key) = server_with_log(60);
    let proof = save_proof(&instance, 41);
    let large = instance.path().join("large.proof");
    // More than the memory of a page.
    fs::File::create(&large).unwrap().set_len(1 << 36).unwrap();
    open(&browser, &instance.url("/verify"));
    let checked = choose(&browser, &[&proof, &large]);
    assert_eq!(checked.outcome, "no");
    assert!(checked.words.contains("large.proof is larger than 64 KiB"), "{checked:#?}");
}

#[test]
fn every_other_file_is_compared_and_none_is_left_out() {
    let browser = Browser::open();
    let (instance, _server, _key) = server_with_log(60);
    let (other, _other_server, _other_key) = server_with_log(60);
    let [first, roll_40, roll_41] = [1, 40, 41].map(|id| save_proof(&instance, id));
    let foreign = save_proof(&other, 20);
    open(&browser, &instance.url("/verify"));
    let checked = choose(&browser, &[&first, &roll_40, &roll_41]);
    checked.assert_passed(4);
    let expected =
        "It leads back to the seed of roll 40 and the seed of roll 1: SHA-256, 40 times.";
    assert_eq!(checked.words_of("seed"), expected);

    open(&browser, &instance.url("/verify"));
    let checked = choose(&browser, &[&first, &foreign, &roll_41]);
    assert_eq!(checked.outcome_of("seed"), "no", "{checked:#?}");
    assert!(checked.words_of("seed").contains("roll 20 is refused"), "{checked:#?}");
}

#[test]
fn a_dropped_file_is_verified() {
    let browser = Browser::open();
    let (instance, _server, _key) = server_with_log(60);
    let file = save_proof(&instance, 41);
    open(&browser, &instance.url("/verify"));
    let at = browser.read(
        "(({ x, y, width, height }) => [x + width / 2, y + height / 2])(
            document.getElementById('drop').getBoundingClientRect())",
    );
    for kind in ["dragEnter", "dragOver", "drop"] {
        let data = json!({ "items": [], "files": [file], "dragOperationsMask": 1 });
        let event = json!({ "type": kind, "x": at[0], "y": at[1], "data": data });
        browser.devtools("Input.dispatchDragEvent", event);
    }
    Checked::wait(&browser).assert_passed(4);
    browser.assert_quiet(&[]);
}

#[test]
fn the_saved_page_verifies_files_without_any_server() {
    in_each_browser(|page| {
        let (instance, mut server, key) = server_with_log(300);
        let saved = save_page(&instance);
        let [roll_257, roll_41, roll_42] = [257, 41, 42].map(|id| save_proof(&instance, id));
        server.stop();

        open(page, &saved);
        page.fill("#key", &key);
        let alone = choose(page, &[&roll_41]);
        assert_eq!(alone.outcome, "open", "no earlier seed: {alone:#?}");
        assert_eq!(alone.outcome_of("seed"), "open", "{alone:#?}");

        // The newest roll of several is checked, in whatever order they were chosen.
        open(page, &saved);
        page.fill("#key", &key);
        let checked = choose(page, &[&roll_42, &roll_257]);
        checked.assert_passed(4);
        assert_eq!(checked.words, "Roll 257 passed every check.");
        let expected = "It leads back to the seed of roll 42: SHA-256, 215 times.";
        assert_eq!(checked.words_of("seed"), expected);

        // Without a key there is nothing to compare with.
        open(page, &saved);
        let checked = choose(page, &[&roll_41]);
        assert_eq!(checked.outcome, "no");
        let expected = "Enter the key of the log, or the address of the server.";
        assert_eq!(checked.words, expected);

        // The key, and then the earlier roll, are of another log.
        let (other, _server, other_key) = server_with_log(60);
        let foreign = save_proof(&other, 42);
        open(page, &saved);
        page.fill("#key", &other_key);
        let checked = choose(page, &[&roll_41, &roll_257]);
        assert_eq!(checked.outcome_of("signature"), "no", "{checked:#?}");
        open(page, &saved);
        page.fill("#key", &key);
        let checked = choose(page, &[&foreign, &roll_257]);
        assert_eq!(checked.outcome_of("seed"), "no", "{checked:#?}");
    });
}

#[test]
fn the_saved_page_reads_a_roll_from_the_server_whose_address_was_entered() {
    in_each_browser(|page| {
        let (instance, _server, key) = server_with_log(300);
        let saved = save_page(&instance);
        let check = |address: &str| {
            open(page, &saved);
            page.fill("#server", address);
            page.fill("#roll", "257");
            page.click("#verifier [type=submit]");
            Checked::wait(page)
        };
        let without_scheme = check("127.0.0.1:5977");
        assert_eq!(without_scheme.outcome, "no");
        assert_eq!(without_scheme.words, "Enter an address such as https://dice.example.org.");
        // The address of a page, as people copy it.
        check(&instance.url("/rolls/41")).assert_passed(4);
        check(&instance.url("/")).assert_passed(4);
        // It shows the key that the server named, to be compared.
        assert_eq!(page.read("document.getElementById('key').value"), key);
    });
}

#[test]
fn the_verify_page_names_the_sha256_of_the_saved_page_and_all_seven_limits() {
    let browser = Browser::open();
    let (instance, _server, _key) = server_with_log(1);
    let saved = save_page(&instance);
    let path = saved.strip_prefix("file://").unwrap();
    let sum = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    browser.goto(&instance.url("/verify"));
    assert!(browser.text("section[aria-labelledby=keep] pre").starts_with(&sum[..64]));

    let limits = "[...document.querySelectorAll('section[aria-labelledby=not-proven] li b')].map((it) => it.textContent)";
    let expected = json!([
        "That the secret was random.",
        "That nobody knows future rolls.",
        "When a roll was made.",
        "That a chain continues.",
        "That all dice are shown.",
        "That everybody sees the same log,",
        "How rolls without a seed were made,",
    ]);
    assert_eq!(browser.read(limits), expected);
    browser.goto(&saved);
    assert_eq!(browser.read(limits), expected, "the saved page");
}
