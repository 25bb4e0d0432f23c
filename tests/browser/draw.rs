//! `/draw`: the link to publish, the countdown, the faces and their check.

use serde_json::{Value, json};

use crate::browser::{Browser, ENTER};
use crate::checks::{Checked, check_it_here};
use crate::common::falsified::later;
use crate::common::log_server::{falsifying_proxy, server_with_log};
use crate::common::{Instance, run};
use crate::rows::{head, roll_until};
use crate::session::{Session, in_each_browser};

/// The faces of a die, and each of them once, as the page shows them.
fn faces(page: &dyn Session, die: &str) -> Vec<u64> {
    let faces = format!(
        "[...document.querySelectorAll('.drawn[data-die=\"{die}\"] .face-shown')]
            .map((face) => Number(face.textContent))"
    );
    serde_json::from_value(page.read(&faces)).unwrap()
}

fn state(page: &dyn Session) -> Value {
    page.read("document.getElementById('draw')?.dataset.state")
}

#[test]
fn a_draw_counts_down_and_shows_its_faces_without_a_reload() {
    in_each_browser(|page| {
        let instance = Instance::new("every = '250ms'");
        let _server = instance.start();
        roll_until(3, &instance);
        let roll = head(&instance) + 30;
        // The form makes the link. Its label has everything that a link must escape.
        page.goto(&instance.url("/draw"));
        for (field, text) in
            [("#roll", roll.to_string()), ("#dice", "6D250,1D6".into()), ("#label", LABEL.into())]
        {
            page.read(&format!("document.querySelector('{field}').value = ''"));
            page.fill(field, &text);
        }
        page.click("form [type=submit]");
        page.wait_for("document.getElementById('draw') !== null");
        assert_eq!(state(page), "waiting");
        let link = page.read("document.getElementById('link').value");
        let counted =
            page.wait_for("/second/.test(document.getElementById('countdown').textContent)");
        assert_eq!(counted, true);
        page.read("document.getElementById('link').focus()");
        page.read("window.isSamePage = true");

        page.wait_for("document.getElementById('draw').dataset.state === 'shown'");
        assert_eq!(page.read("window.isSamePage"), true, "the page was loaded again");
        assert_eq!(page.read("document.activeElement.id"), "link", "the focus stays");
        assert_eq!(page.read("document.getElementById('link').value"), link);
        let checked = check_it_here(page);
        checked.assert_passed(5);
        assert!(checked.words_of("page").contains(LABEL), "{checked:#?}");

        // Whoever opens the published link sees the same.
        let shown = [faces(page, "6D250"), faces(page, "1D6")];
        assert_eq!(shown.each_ref().map(Vec::len), [6, 1]);
        page.goto(link.as_str().unwrap());
        assert_eq!([faces(page, "6D250"), faces(page, "1D6")], shown);
        check_it_here(page).assert_passed(5);
    });
}

const LABEL: &str = "spring raffle: 50% & more + “é” <b>";

#[test]
fn another_label_shows_other_faces_and_no_label_shows_the_roll_itself() {
    let browser = Browser::open();
    let (instance, _server, _key) = server_with_log(60);
    let drawn = |label: &str| {
        browser.goto(&instance.url(&format!("/draw?roll=41&dice=6D250,1D20{label}")));
        check_it_here(&browser).assert_passed(5);
        [faces(&browser, "6D250"), faces(&browser, "1D20")]
    };
    let [of_roll, raffle, again] =
        ["", "&label=spring+raffle", "&label=spring%20raffle%20again"].map(drawn);
    assert_ne!(raffle[0], again[0]);
    assert_ne!(of_roll[0], raffle[0]);
    let dice: Value = serde_json::from_str(&instance.stored()[40].2).unwrap();
    assert_eq!(json!(of_roll[1][0]), dice["1D20"]);
}

#[test]
fn several_winners_are_listed_in_order_each_once() {
    let browser = Browser::open();
    let (instance, _server, _key) = server_with_log(60);
    // Of 100 dice with 20 sides, most show what an earlier one shows.
    browser.goto(&instance.url("/draw?roll=41&dice=100d20&label=raffle"));
    let faces = faces(&browser, "100D20");
    assert_eq!(faces.len(), 100);
    let (mut different, mut n_again) = (Vec::new(), 0);
    for face in &faces {
        if different.contains(face) { n_again += 1 } else { different.push(*face) }
    }
    let words: Vec<String> = different.iter().map(ToString::to_string).collect();
    let text = browser.text(".drawn");
    assert!(text.contains(&format!("{}.", words.join(", "))), "{words:?} in {text}");
    let marked = browser.read("document.querySelectorAll('.face-shown.again').length");
    assert_eq!(marked, n_again);
    let sum: u64 = faces.iter().sum();
    assert!(text.contains(&format!("{sum}")), "{sum} in {text}");
}

#[test]
fn no_draw_passes_if_the_page_shows_another_face_or_another_draw() {
    let page = &Browser::open();
    let (instance, _server, _key) = server_with_log(60);
    let rolled_at = &instance.stored()[40].1;
    for (what, shown, falsified) in [
        ("a face", "<li class=\"face-shown\">", "<li class=\"face-shown\">9"),
        ("the sum", "Sum: <b>", "Sum: <b>1"),
        ("the winners", "in this order: ", "in this order: 7, "),
        ("the name of the die", "<h2>6D250", "<h2>6D250 shows 7"),
        ("another die", "</dl>", "</dl><div class=\"drawn\"><h2>1D6 shows 6</h2></div>"),
        ("the dice", "<dt>Dice</dt><dd>", "<dt>Dice</dt><dd>1"),
        ("the label", "<dd>raffle", "<dd>spring raffle"),
        ("the number in the title", "<h1>Draw of roll ", "<h1>Draw of roll 1"),
        ("the number", ">roll 41<", ">roll 40<"),
        ("the time", rolled_at, &*later(rolled_at)),
        ("the seed", "with the seed <code>", "with the seed <code>0"),
    ] {
        let (shown, falsified) = (shown.to_owned(), falsified.to_owned());
        let proxy = falsifying_proxy(
            instance.url(""),
            Box::new(move |path, body| {
                if path.starts_with("/draw") {
                    let page = String::from_utf8_lossy(body);
                    assert!(page.contains(&shown), "{shown} is not in {page}");
                    *body = page.replacen(&shown, &falsified, 1).into_bytes();
                }
            }),
        );
        page.goto(&proxy.url("/draw?roll=41&dice=6D250&label=raffle"));
        let checked = check_it_here(page);
        assert_eq!(checked.outcome, "no", "{what}: {checked:#?}");
        assert_eq!(checked.outcome_of("page"), "no", "{what}: {checked:#?}");
    }
    // Control.
    page.goto(&instance.url("/draw?roll=41&dice=6D250&label=raffle"));
    check_it_here(page).assert_passed(5);
}

#[test]
fn a_draw_across_a_break_is_void_and_names_the_roll_where_it_broke() {
    let browser = Browser::open();
    let (instance, mut server, _key) = server_with_log(60);
    browser.goto(&instance.url("/draw?roll=41&dice=1D6&label=raffle"));
    check_it_here(&browser).assert_passed(5);
    assert!(!browser.is_shown("#void"), "control");
    let (broken, to_come) = (head(&instance) + 1, head(&instance) + 3);
    browser.goto(&instance.url(&format!("/draw?roll={broken}&dice=1D6&label=raffle")));
    assert!(!browser.is_shown("#void"), "control");

    server.stop();
    let (code, _, stderr) = run(instance.command().arg("rekey"));
    assert_eq!(code, 0, "{stderr}");
    let _server = instance.start();
    roll_until(broken, &instance);
    for roll in [broken, to_come] {
        browser.goto(&instance.url(&format!("/draw?roll={roll}&dice=1D6&label=raffle")));
        let words = browser.text("#void");
        let expected = format!(
            "The chain of seeds broke at roll {broken}: a link that was published before it is void."
        );
        assert!(words.contains(&expected), "{words}");
        let is_first = "(document.getElementById('void').compareDocumentPosition(
            document.querySelector('#countdown, .faces')) & Node.DOCUMENT_POSITION_FOLLOWING) > 0";
        assert_eq!(browser.read(is_first), true, "the break is below the faces of roll {roll}");
    }
    browser.goto(&instance.url(&format!("/draw?roll={broken}&dice=1D6&label=raffle")));
    // The browser notes the new key at the first check, and yet the second one says the same.
    for _ in 0..2 {
        let checked: Checked = check_it_here(&browser);
        assert_eq!(checked.outcome, "open", "{checked:#?}");
        assert!(checked.words_of("signature").contains("had another key"), "{checked:#?}");
    }
}

#[test]
fn a_field_that_cannot_be_used_keeps_its_value_and_says_why() {
    let browser = Browser::open();
    let (instance, _server, _key) = server_with_log(1);
    let long = "x".repeat(101);
    for (field, value, others) in [
        ("roll", "soon", "dice=1D6"),
        ("roll", "0", "dice=1D6"),
        ("dice", "1D1", "roll=9"),
        ("dice", "1D6,1D6", "roll=9"),
        ("label", &long, "roll=9&dice=1D6"),
        ("label", "a%0Ab", "roll=9&dice=1D6"),
    ] {
        browser.goto(&instance.url(&format!("/draw?{others}&{field}={value}")));
        let input = format!("#{field}[aria-invalid=true]");
        let kept = browser.read(&format!("document.querySelector('{input}')?.value"));
        assert_eq!(kept, value.replace("%0A", ""), "{field}");
        let error = browser.text(&format!("#{field}-error"));
        assert!(error.contains("expected"), "{field}: {error}");
        assert_eq!(state(&browser), Value::Null, "a draw of {field}={value}");
    }
    // Corrected in place.
    browser.goto(&instance.url("/draw?roll=soon&dice=1D6"));
    browser.read("document.getElementById('roll').select()");
    browser.fill("#roll", "1");
    browser.press(ENTER);
    browser.wait_for("document.getElementById('draw')?.dataset.state === 'shown'");
}

#[test]
fn without_scripts_a_draw_has_its_link_its_time_and_its_faces() {
    let browser = Browser::without_scripts();
    let (instance, _server, _key) = server_with_log(60);
    browser.goto(&instance.url("/draw?roll=41&dice=6D250&label=raffle"));
    assert_eq!(faces_in_html(&browser), 6);
    for selector in ["#check", "#copy", "#check-results"] {
        assert!(!browser.is_shown(selector), "{selector} does nothing without scripts");
    }
    browser.goto(&instance.url("/draw?roll=9999&dice=6D250&label=raffle"));
    assert!(browser.text("#countdown").ends_with("rolls to go"));
    assert!(browser.text("#draw time").starts_with("20"));
}

fn faces_in_html(browser: &Browser) -> usize {
    let text = browser.text(".faces");
    text.split_whitespace().count()
}

#[test]
fn a_draw_that_arrives_later_is_in_the_viewers_zone_too() {
    let browser = Browser::in_zone("America/Sao_Paulo");
    let instance = Instance::new("every = '250ms'");
    let _server = instance.start();
    roll_until(1, &instance);
    let roll = head(&instance) + 12;
    browser.goto(&instance.url(&format!("/draw?roll={roll}&dice=1D6")));
    browser.wait_for("document.getElementById('draw').dataset.state === 'shown'");
    let are_local = "[...document.querySelectorAll('#draw time')].every((time) =>
        new Date(time.dateTime).toLocaleString('sv', { timeZone: 'America/Sao_Paulo' }) ===
            time.textContent.trim())
        && [...document.querySelectorAll('#draw .zone')].map((zone) => zone.textContent)";
    let zone = "America/Sao_Paulo";
    assert_eq!(browser.read(are_local), json!([zone, zone]));
}
