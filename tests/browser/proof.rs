//! "Check it here" on the page of a roll.

use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::browser::Browser;
use crate::checks::{Checked, check_it_here};
use crate::common::falsified::{falsified, later};
use crate::common::log_server::{falsifying_proxy, get, server_with_log};
use crate::common::{Instance, run, wait_for};
use crate::rows::roll_until;
use crate::session::{Session, in_each_browser};

/// Replaces the body of an answer; gets the path and the body.
type Lie = Box<dyn Fn(&str, &str) -> Option<String> + Send>;

/// What a proxy says next. Without a lie it passes answers on as they are.
#[derive(Clone, Default)]
struct Lies(Arc<Mutex<Option<Lie>>>);

impl Lies {
    fn tell(&self, lie: impl Fn(&str, &str) -> Option<String> + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(lie));
    }

    fn end(&self) {
        *self.0.lock().unwrap() = None;
    }

    fn apply(&self, path: &str, body: &mut Vec<u8>) {
        let lie = self.0.lock().unwrap();
        let Some(lie) = lie.as_ref() else { return };
        if let Some(false_body) = lie(path, &String::from_utf8_lossy(body)) {
            *body = false_body.into_bytes();
        }
    }
}

fn check_roll_41(page: &dyn Session, origin: &str) -> Checked {
    page.goto(&format!("{origin}/rolls/41"));
    check_it_here(page)
}

#[test]
fn a_roll_passes_five_checks_on_its_page_and_has_no_tick_before() {
    in_each_browser(|page| {
        let (instance, _server, _key) = server_with_log(300);
        page.goto(&instance.url("/rolls/41"));
        let outcomes = page.read("document.querySelectorAll('[data-outcome]').length");
        assert_eq!(outcomes, 0, "an outcome that no script wrote");
        assert_eq!(page.read("document.getElementById('check-results').hidden"), true);

        let checked = check_it_here(page);
        checked.assert_passed(5);
        assert_eq!(checked.words, "Roll 41 passed every check.");
        let expected = "It leads back to the seed of roll 1, the first roll of its chain: SHA-256, \
                        40 times.";
        assert_eq!(checked.words_of("seed"), expected);

        // The browser noted the key.
        let again = check_roll_41(page, &instance.url(""));
        again.assert_passed(5);
        assert!(
            again.words_of("signature").contains("This browser has known the key"),
            "{again:#?}"
        );
    });
}

#[test]
fn no_roll_passes_behind_a_proxy_that_falsifies_its_proof() {
    let page = &Browser::open();
    let (instance, _server, _key) = server_with_log(60);
    let other = server_with_log(60);
    let proof =
        |instance: &Instance, id: i64| get(&instance.url(&format!("/rolls/{id}/proof"))).unwrap();
    let lies = Lies::default();
    let told = lies.clone();
    let proxy =
        falsifying_proxy(instance.url(""), Box::new(move |path, body| told.apply(path, body)));

    let changes = falsified(&proof(&instance, 41), &proof(&instance, 42), &proof(&other.0, 41));
    assert!(changes.len() >= 12);
    for change in changes {
        let false_proof = change.proof;
        lies.tell(move |path, _| (path == "/rolls/41/proof").then(|| false_proof.clone()));
        let checked = check_roll_41(page, &proxy.url(""));
        assert_eq!(checked.outcome, "no", "{}: {checked:#?}", change.what);
    }
    // Control. It also shows that the browser noted nothing false.
    lies.end();
    check_roll_41(page, &proxy.url("")).assert_passed(5);
}

#[test]
fn no_roll_passes_on_a_page_or_with_a_key_that_is_not_of_its_log() {
    let page = &Browser::open();
    let (instance, _server, key) = server_with_log(60);
    let (other, _other_server, other_key) = server_with_log(60);
    let lies = Lies::default();
    let told = lies.clone();
    let proxy =
        falsifying_proxy(instance.url(""), Box::new(move |path, body| told.apply(path, body)));
    let refused_by = |check: &str| {
        let checked = check_roll_41(page, &proxy.url(""));
        assert_eq!(checked.outcome, "no", "{check}: {checked:#?}");
        assert_eq!(checked.outcome_of(check), "no", "{check}: {checked:#?}");
    };

    // A die, as screen readers read it, as it is drawn and as it is listed.
    for part in ["<span class=\"die-result\">", "<use href=\"#d6-", "<dt>1D20</dt><dd>"] {
        lies.tell(move |path, body| {
            assert!(path != "/rolls/41" || body.contains(part), "{part} is not in {body}");
            (path == "/rolls/41").then(|| body.replacen(part, &format!("{part}9"), 1))
        });
        refused_by("page");
    }

    // Another roll, under the number of this one or under its own.
    let rolls = instance.url("/rolls");
    for number in ["41", "3"] {
        let url = format!("{rolls}/3");
        lies.tell(move |path, _| {
            let other = (path == "/rolls/41").then(|| get(&url).unwrap())?;
            Some(other.replace("Roll 3<", &format!("Roll {number}<")))
        });
        refused_by("page");
    }

    // The time: all of them, and only the one in the list.
    let rolled_at = instance.stored()[40].1.clone();
    for before in ["", "<dd>"] {
        let (from, to) = (format!("{before}{rolled_at}"), format!("{before}{}", later(&rolled_at)));
        lies.tell(move |path, body| (path == "/rolls/41").then(|| body.replace(&from, &to)));
        refused_by("page");
    }

    lies.tell(|path, body| {
        let (start, end) = body.split_once("<dd id=\"seed\">")?;
        let (_, end) = end.split_at_checked(64)?;
        let seed = "0".repeat(64);
        (path == "/rolls/41").then(|| format!("{start}<dd id=\"seed\">{seed}{end}"))
    });
    refused_by("page");

    let (from, to) = (key.clone(), other_key.clone());
    lies.tell(move |path, body| (path == "/api/proof").then(|| body.replace(&from, &to)));
    refused_by("signature");

    // All proofs and the key are of another log. Only the page is of this one.
    let origin = other.url("");
    lies.tell(move |path, _| {
        let is_proof = path == "/api/proof" || path.ends_with("/proof");
        is_proof.then(|| get(&format!("{origin}{path}")).unwrap())
    });
    refused_by("page");

    // Control.
    lies.end();
    check_roll_41(page, &proxy.url("")).assert_passed(5);
}

#[test]
fn a_browser_that_checked_before_notices_another_log_at_the_same_address() {
    in_each_browser(|page| {
        let (instance, _server, _key) = server_with_log(60);
        let (other, _other_server, _other_key) = server_with_log(60);
        let lies = Lies::default();
        let told = lies.clone();
        let proxy =
            falsifying_proxy(instance.url(""), Box::new(move |path, body| told.apply(path, body)));
        check_roll_41(page, &proxy.url("")).assert_passed(5);

        let origin = other.url("");
        lies.tell(move |path, _| {
            let is_replaced = path == "/api/proof" || path.starts_with("/rolls/");
            is_replaced.then(|| get(&format!("{origin}{path}")).unwrap())
        });
        for _ in 0..2 {
            let checked = check_roll_41(page, &proxy.url(""));
            assert_eq!(checked.outcome, "open", "{checked:#?}");
            assert!(checked.words_of("signature").contains("had another key"), "{checked:#?}");
        }
        // Control: whoever never checked before cannot know.
        page.goto(&other.url("/rolls/41"));
        check_it_here(page).assert_passed(5);
    });
}

#[test]
fn a_roll_that_another_program_inserted_is_not_proven() {
    let browser = Browser::open();
    let (instance, mut server, _key) = server_with_log(60);
    server.stop();
    let sql = "insert into rolls (rolled_at, dice)
               select rolled_at, dice from rolls order by id desc limit 1 returning id";
    let connection = Connection::open(instance.database()).unwrap();
    let id: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    drop(connection);
    let _server = instance.start();
    roll_until(id + 1, &instance);
    wait_for("the proof", || get(&instance.url(&format!("/rolls/{id}/proof"))));

    browser.goto(&instance.url(&format!("/rolls/{id}")));
    let words = browser.text("#proof");
    assert!(words.contains("This roll is not proven"), "{words}");
    let checked = check_it_here(&browser);
    assert_eq!(checked.outcome, "open", "{checked:#?}");
    for (check, expected) in [
        ("signature", "yes"),
        ("inclusion", "yes"),
        ("dice", "open"),
        ("seed", "open"),
        ("page", "yes"),
    ] {
        assert_eq!(checked.outcome_of(check), expected, "{check}: {checked:#?}");
    }
    assert_eq!(
        checked.words_of("page"),
        "The page and the log have the same number, time and dice."
    );
}

#[test]
fn without_scripts_the_page_has_the_seed_the_proof_and_commands_that_check_it() {
    let browser = Browser::without_scripts();
    let (instance, _server, key) = server_with_log(60);
    let seed_of = |id: i64| {
        browser.goto(&instance.url(&format!("/rolls/{id}")));
        browser.text("#seed")
    };
    let before = seed_of(40);
    let seed = seed_of(41);
    assert!(!browser.is_shown("#check"), "a button that does nothing");
    assert!(browser.text("noscript").contains("turn on JavaScript"));

    browser.click("summary");
    let commands: Vec<String> = ["pre:nth-of-type(1)", "pre:nth-of-type(2)", "pre:nth-of-type(3)"]
        .map(|pre| browser.text(&format!("#proof details {pre}")))
        .into();
    browser.click("#proof a[download]");
    let proof = get(&browser.url().replace("/rolls/41", "/rolls/41/proof")).unwrap();
    let name = commands[0].split(' ').find(|word| word.ends_with(".proof")).unwrap();
    std::fs::write(instance.path().join(name), proof).unwrap();
    let bash = |command: &str| {
        let mut bash = std::process::Command::new("bash");
        let path = std::path::Path::new(crate::common::ROLLCAST).parent().unwrap();
        let paths = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
        let (code, stdout, stderr) =
            run(bash.args(["-c", command]).env("PATH", paths).current_dir(instance.path()));
        assert_eq!(code, 0, "{command}: {stdout}{stderr}");
        stdout
    };
    assert!(commands[0].contains(&key), "{}", commands[0]);
    bash(&commands[0]);
    assert!(commands[1].contains(&seed));
    assert_eq!(bash(&commands[1]).split(' ').next(), Some(before.as_str()));
    // One line for each of the two dice: the numbers of 1D20 are on the second.
    let numbers = bash(&commands[2]);
    let numbers = numbers.lines().nth(1).unwrap().rsplit(' ').next().unwrap();
    let numbers = numbers
        .as_bytes()
        .chunks(4)
        .map(|digits| u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
    let face = numbers.into_iter().find(|number| *number < 65_520).unwrap() % 20 + 1;
    let dice = &instance.stored()[40].2;
    assert!(dice.contains(&format!("\"1D20\":{face}")), "{face} is not in {dice}");
}
