//! Addresses of the log, and pages about it: what fixed a roll, and the link of a draw.

use std::fs;

use rusqlite::Connection;

use crate::common::log_server::server_with_log;
use crate::common::{Instance, http, run, wait_for};
use crate::pages::{get, quiet_instance};

#[test]
fn every_resource_of_the_log_has_one_spelling() {
    let (instance, _server, _key) = server_with_log(300);
    let status = |path: &str| http().get(instance.url(path)).call().unwrap().status().as_u16();
    for (path, others) in [
        ("/checkpoint", ["//checkpoint", "/checkpoint/", "/%63heckpoint"]),
        ("/rolls/41/proof", ["/rolls//41/proof", "/rolls/41/proof/", "/rolls/4%31/proof"]),
        ("/api/proof", ["/api//proof", "/api/proof/", "/api/proo%66"]),
        ("/tile/0/000", ["/tile//0/000", "/tile/0/000/", "/tile/0/00%30"]),
        ("/draw", ["//draw", "/draw/", "/dra%77"]),
    ] {
        assert_eq!(status(path), 200, "{path}");
        for other in others {
            assert_eq!(status(other), 404, "{other}");
        }
    }
}

#[test]
fn a_draw_has_one_link_to_which_every_other_redirects() {
    let (instance, _server) = quiet_instance(1);
    let path = |query: &str| format!("/draw?{query}");
    for (query, link) in [
        ("roll=900&dice=6D250,%201D6", "roll=900&dice=6D250,1D6"),
        ("roll=%20900&dice=1D6", "roll=900&dice=1D6"),
        ("roll=900&dice=6d250&label=raffle", "roll=900&dice=6D250&label=raffle"),
        ("roll=900&dice=1D6&label=", "roll=900&dice=1D6"),
        (
            "dice=1d6&label=%C3%A9+%26%2B&roll=900&from=chat",
            "roll=900&dice=1D6&label=%C3%A9%20%26%2B",
        ),
    ] {
        let redirect = get(&instance.url(&path(query)), &[]);
        assert_eq!((redirect.status, redirect.header("location")), (303, &*path(link)), "{query}");
        let page = get(&instance.url(&path(link)), &[]);
        assert_eq!(page.status, 200, "{link}");
        assert!(page.body.contains("<h1>Draw of roll 900</h1>"), "{link}: {}", page.body);
    }
    // Control: the same fields, as a form or a proxy writes them.
    for query in ["dice=6D250%2C1D6&roll=900", "roll=900&dice=1D6&label=a+%62"] {
        assert_eq!(get(&instance.url(&path(query)), &[]).status, 200, "{query}");
    }
    // A draw that nobody can make stays where it is.
    assert_eq!(get(&instance.url("/draw?roll=%20soon&dice=1D6"), &[]).status, 422);
}

#[test]
fn the_page_of_a_draw_says_whether_its_roll_is_fixed_before_it_shows_the_link() {
    let (instance, _server) = quiet_instance(1);
    let page = |roll: i64| get(&instance.url(&format!("/draw?roll={roll}&dice=1D6")), &[]).body;
    for (roll, fixed, label) in [
        (121, "has been fixed since", "The link of this draw"),
        (900, "has been fixed since", "The link to publish before the roll"),
        (3_000_000, "is not fixed yet", "The link to publish once roll 3000000 is fixed"),
    ] {
        let page = page(roll);
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no `{text}` in {page}"));
        assert!(place(fixed) < place(label), "roll {roll}: {page}");
    }
    // Roll 41 is older than the log.
    let page = page(41);
    assert!(page.contains("There is no draw") && !page.contains("id=\"link\""), "{page}");
}

#[test]
fn the_page_of_a_roll_says_what_fixed_it_before() {
    // The last roll of the first block.
    const LAST: i64 = 1 << 20;
    let instance = Instance::new("every = '1h'");
    let page = |id: i64| {
        let page = wait_for(&format!("roll {id}"), || {
            Some(get(&instance.url(&format!("/rolls/{id}")), &[])).filter(|page| page.status == 200)
        });
        page.body.split_once("<section id=\"proof\"").unwrap().1.replace('\n', " ")
    };
    let before = "already fixed when they were shown";
    let says = |id: i64, texts: &[&str]| {
        let page = page(id);
        for text in texts {
            assert!(page.contains(text), "roll {id}: expected `{text}` in {page}");
        }
        assert!(!page.contains(before) || texts.contains(&before), "roll {id}: {page}");
    };
    // Each start makes a roll.
    let mut server = instance.start();
    says(
        1,
        &["The first chain of seeds begins with this roll", "the anchor of this roll’s block:"],
    );
    server.stop();
    server = instance.start();
    says(2, &[before, "the seed of <a href=\"/rolls/1\">roll 1</a>"]);
    server.stop();
    let insert =
        format!("insert into rolls values ({LAST}, '2026-11-23T01:37:40.123Z', '{{\"1D6\":1}}')");
    Connection::open(instance.database()).unwrap().execute(&insert, []).unwrap();
    server = instance.start();
    let announced = ["already fixed when roll 1 was shown", "block, which roll 1 announced:"];
    says(LAST + 1, &announced);
    server.stop();
    instance.rekey();
    let _server = instance.start();
    says(LAST + 2, &["The chain of seeds broke before this roll", "Nobody announced the chain"]);
    // The hash of its seed is that of no roll, so it proves nothing.
    assert!(!page(LAST + 2).contains("sha256sum"));
    assert!(page(LAST + 1).contains("sha256sum"), "control");
    says(LAST + 1, &announced);
}

#[test]
fn the_command_on_the_page_of_a_roll_verifies_its_proof() {
    let (instance, _server, key) = server_with_log(41);
    let page = get(&instance.url("/rolls/41"), &[]).body.replace("&#x2F;", "/");
    let (_, command) = page.split_once("<code>rollcast ").unwrap();
    let (command, _) = command.split_once("</code>").unwrap();
    assert!(command.contains(&key), "{command}");
    let proof = get(&instance.url("/rolls/41/proof"), &[]).body;
    fs::write(instance.path().join("roll-41.proof"), proof).unwrap();
    let (code, stdout, stderr) = run(instance.command().args(command.split(' ')));
    assert_eq!(code, 0, "`{command}`: {stdout}{stderr}");
}
