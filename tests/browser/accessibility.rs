//! Accessibility of every page, as far as a program can check it: axe-core, <https://github.com/dequelabs/axe-core/blob/develop/doc/rule-descriptions.md>.
//! `tests/setup.sh` installs it.

use std::path::Path;

use crate::browser::Browser;
use crate::firefox::Firefox;
use crate::looks::{PAGES, set_width, start, visit};
use crate::session::{Colours, Scheme, Session};

/// Loads axe-core into every page from now on.
pub fn load_axe(browser: &dyn Session) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser/node_modules/axe-core");
    let axe = std::fs::read_to_string(folder.join("axe.min.js")).unwrap_or_else(|error| {
        panic!("expected axe-core in {}, got {error}; tests/setup.sh installs it", folder.display())
    });
    browser.execute_async(&format!("{axe}; arguments[arguments.length - 1](0)"));
}

/// Violations on the current page: impact, rule, element.
pub fn findings(browser: &dyn Session) -> Vec<String> {
    let found = browser.execute_async(
        "const done = arguments[arguments.length - 1];
         const told = ({ impact, id, nodes }) =>
             `${impact}: ${id} at ${nodes.map((node) => node.target.join(' ')).join(', ')}`;
         axe.run({ resultTypes: ['violations'] })
             .then(({ violations }) => done(violations.map(told)), (error) => done([`${error}`]));",
    );
    serde_json::from_value(found).unwrap()
}

/// Expects no violation on any page, in each of these colours and widths.
fn assert_no_violation(looks: &[(Scheme, u32)], browser: &dyn Colours) {
    let (instance, _server) = start("");
    let mut wrong = Vec::new();
    for path in PAGES {
        visit(path, browser, &instance);
        load_axe(browser);
        // The tables below the plots, too.
        browser.read("document.querySelectorAll('details').forEach((table) => table.open = true)");
        for (scheme, width) in looks {
            browser.set_scheme(*scheme);
            set_width(*width, browser);
            // The live page is checked live and paused.
            for _ in 0..if *path == "/" { 2 } else { 1 } {
                let found = findings(browser).into_iter();
                wrong.extend(found.map(|found| format!("{path} {scheme:?} {width}: {found}")));
                browser.read("document.getElementById('pause')?.click()");
            }
        }
    }
    assert!(wrong.is_empty(), "expected no violation, got {wrong:#?}");
}

#[test]
fn no_page_has_a_violation_in_any_colours_on_a_desktop_or_a_phone() {
    let (light, dark, forced) = (Scheme::Light, Scheme::Dark, Scheme::Forced);
    let looks = [(light, 1280), (light, 360), (dark, 360), (dark, 1280), (forced, 1280)];
    assert_no_violation(&looks, &Browser::open());
}

#[test]
fn no_page_has_a_violation_in_firefox_either() {
    let looks = [(Scheme::Light, 1280), (Scheme::Dark, 360), (Scheme::Forced, 1280)];
    assert_no_violation(&looks, &Firefox::open());
}

/// Control: axe-core finds violations.
#[test]
fn violations_are_found() {
    let browser = Browser::open();
    let (instance, _server) = start("");
    visit("/rolls/1", &browser, &instance);
    load_axe(&browser);
    browser.read("document.querySelector('main').append(new Image())");
    browser.read("document.querySelector('.title p').style.color = '#ddd'");
    browser.read("document.querySelector('a.button').replaceChildren()");
    let found = findings(&browser);
    for expected in ["critical: image-alt", "serious: color-contrast", "serious: link-name"] {
        assert!(found.iter().any(|it| it.starts_with(expected)), "{expected} in {found:#?}");
    }
}
