//! The article's own listener works with this stream as it is.

use crate::browser::Browser;
use crate::common::House;
use crate::proxy::{Answer, Proxy};

/// The article's page. Its lines from `function listen` on are the article's; those before stand
/// in for the five things it uses of jQuery.
pub const PAGE: &str = r##"<!doctype html>
<title>The article's own listener</title>
<ol id="rolls"></ol>
<script>
const wrap = (element) => ({
    element,
    text(text) { element.textContent = text; },
    append(child) { element.append(child.element); },
});
const jQuery = (what) => wrap(
    what.startsWith("<") ? document.createElement(what.slice(1, -1)) : document.querySelector(what)
);
jQuery.each = (all, visit) => Object.entries(all).forEach(([name, one]) => visit(name, one));
const $ = jQuery;

function listen() {
    var source = new EventSource("/stream/");
    source.onerror = function(eventdata) {
        // relisten if fail to connect to eventsource
        source.close();
        listen();
    };
    source.onmessage = function(eventdata) {
        var dice_roll = JSON.parse(eventdata["data"]);
        $.each(dice_roll, function(index, dice_roll) {
            var new_li = jQuery('<li>');
            new_li.text(index + ": " + dice_roll);
            $("#rolls").append(new_li);
        });
    };
}
listen();
</script>"##;

/// Expects the entries of twenty rolls or more, one a die, as they are stored, in order.
fn assert_entries(browser: &Browser, house: &House) {
    browser.wait_for("document.querySelectorAll('#rolls > li').length >= 40");
    let entries =
        browser.read("[...document.querySelectorAll('#rolls > li')].map((li) => li.textContent)");
    let entries: Vec<String> = serde_json::from_value(entries).unwrap();
    let stored: Vec<String> = house
        .stored()
        .iter()
        .flat_map(|(_, _, dice)| {
            let dice = dice.trim_matches(['{', '}']).replace('"', "").replace(':', ": ");
            dice.split(',').map(str::to_string).collect::<Vec<_>>()
        })
        .collect();
    let in_order = stored.windows(entries.len()).any(|part| part == entries);
    assert!(in_order, "expected entries as they are stored, {stored:?}, got {entries:?}");
}

#[test]
fn the_articles_own_listener_works_unchanged() {
    let house = House::new("every = '50ms'");
    let _server = house.start();
    let proxy = Proxy::new(&house, |path| match path {
        "/" => Answer::Page(PAGE.into()),
        path => Answer::Forward(path.into()),
    });
    let browser = Browser::open();
    browser.goto(&proxy.url("/"));
    assert_entries(&browser, &house);
}

#[test]
fn a_page_from_elsewhere_may_listen_too() {
    let house = House::new("every = '50ms'");
    let _server = house.start();
    let page = PAGE.replace("\"/stream/\"", &format!("\"{}\"", house.url("/stream/")));
    let elsewhere = Proxy::new(&house, move |_| Answer::Page(page.clone()));
    let browser = Browser::open();
    browser.goto(&elsewhere.url("/"));
    assert_entries(&browser, &house);
}
