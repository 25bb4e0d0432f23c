//! The article's own listener works with this stream unchanged.

use crate::browser::Browser;
use crate::common::Instance;
use crate::proxy::{Answer, Proxy};
use crate::session::{Session, in_each_browser};

/// The article's page. The lines from `function listen` on are copied from the article; those before
/// replace the five functions of jQuery that it uses.
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

/// Expects one entry per die for at least twenty rolls, in order and as stored.
fn assert_entries(browser: &dyn Session, instance: &Instance) {
    browser.wait_for("document.querySelectorAll('#rolls > li').length >= 40");
    let entries =
        browser.read("[...document.querySelectorAll('#rolls > li')].map((li) => li.textContent)");
    let entries: Vec<String> = serde_json::from_value(entries).unwrap();
    let stored: Vec<String> = instance
        .stored()
        .iter()
        .flat_map(|(_, _, dice)| {
            let dice = dice.trim_matches(['{', '}']).replace('"', "").replace(':', ": ");
            dice.split(',').map(str::to_string).collect::<Vec<_>>()
        })
        .collect();
    let in_order = stored.windows(entries.len()).any(|part| part == entries);
    assert!(in_order, "expected the stored rolls {stored:?}, got {entries:?}");
}

#[test]
fn the_articles_own_listener_works_unchanged() {
    in_each_browser(|browser| {
        let instance = Instance::new("every = '50ms'");
        let _server = instance.start();
        let proxy = Proxy::new(&instance, |path| match path {
            "/" => Answer::Page(PAGE.into()),
            path => Answer::Forward(path.into()),
        });
        browser.goto(&proxy.url("/"));
        assert_entries(browser, &instance);
    });
}

#[test]
fn a_page_of_another_origin_can_listen_too() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    let page = PAGE.replace("\"/stream/\"", &format!("\"{}\"", instance.url("/stream/")));
    let elsewhere = Proxy::new(&instance, move |_| Answer::Page(page.clone()));
    browser.goto(&elsewhere.url("/"));
    assert_entries(&browser, &instance);
}
