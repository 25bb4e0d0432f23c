//! The live page without any fault.

use crate::browser::Browser;
use crate::common::Instance;
use crate::rows::{NEWEST, head, roll_until, rows_up_to};

/// The maximum number of rows on a live page: `data-row-limit`.
const ROW_LIMIT: usize = 300;

#[test]
fn live_rows_follow_without_gap_or_repeat_at_twenty_rolls_a_second() {
    let browser = Browser::open();
    let instance = Instance::new("every = '50ms'\npage_size = 150");
    instance.fill(150, 1);
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let loaded = head(&instance);

    for n_live in [1, 50, 100, 150, 200, 250] {
        let rows = rows_up_to(loaded + n_live, &browser, &instance);
        assert!(rows.len() <= ROW_LIMIT, "expected at most {ROW_LIMIT} rows, got {}", rows.len());
    }
    let rows = rows_up_to(loaded + 251, &browser, &instance);
    assert_eq!(rows.len(), ROW_LIMIT, "400 rolls are stored, the page keeps its limit");
    browser.assert_quiet(&[]);
}

#[test]
fn a_page_keeps_its_row_limit_and_stays_responsive_at_five_hundred_rolls_a_second() {
    let browser = Browser::open();
    let instance = Instance::new("every = '2ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let loaded = browser.wait_for(NEWEST).as_i64().unwrap();

    let most_rows = "const done = arguments[arguments.length - 1];
        const list = document.getElementById('rolls');
        let n_frames = 0, most = 0;
        requestAnimationFrame(function frame() {
            most = Math.max(most, list.children.length);
            n_frames += 1;
            if (n_frames < 30) requestAnimationFrame(frame); else done(most);
        });";
    for n_live in [500, 1_000, 1_500, 2_000] {
        // Frames are still drawn, and scripts still run.
        let most = browser.execute_async(most_rows).as_u64().unwrap() as usize;
        assert!(most <= ROW_LIMIT, "expected at most {ROW_LIMIT} rows in any frame, got {most}");
        rows_up_to(loaded + n_live, &browser, &instance);
    }
    let rows = rows_up_to(loaded + 2_001, &browser, &instance);
    assert_eq!(rows.len(), ROW_LIMIT, "2,000 rolls were made, the page keeps its limit");
    browser.assert_quiet(&[]);
}

#[test]
fn a_live_row_is_the_same_html_as_the_servers_own() {
    let browser = Browser::open();
    let instance = Instance::new(
        "every = '500ms'\n\
         dice = ['1D2', '1D4', '1D6', '3D6', '1D8', '1D10', '2D10', '1D12', '1D20', '1D100']",
    );
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    let loaded = browser.wait_for(NEWEST).as_i64().unwrap();
    rows_up_to(loaded + 3, &browser, &instance);

    // White space between elements, and the class of a new row, may differ.
    let pairs = browser.execute_async(
        "const done = arguments[arguments.length - 1];
         const plain = (row) => row.outerHTML
             .replace(/\\s+/g, ' ').replace(/> </g, '><').replace('roll fresh', 'roll');
         fetch('/', { cache: 'no-store' }).then((response) => response.text()).then((html) => {
             const served = new DOMParser().parseFromString(html, 'text/html');
             const rows = [...document.querySelectorAll('#rolls > .roll')];
             // A roll may come after the server's answer.
             const both = rows.filter((row) => served.getElementById(row.id));
             done(both.map((row) => [plain(row), plain(served.getElementById(row.id))]));
         });",
    );
    let pairs = pairs.as_array().unwrap();
    assert!(pairs.len() >= 4, "expected live rows beside the page's own, got {}", pairs.len());
    for pair in pairs {
        let [live, served] = [&pair[0], &pair[1]].map(|html| html.as_str().unwrap());
        assert_eq!(live, served, "expected the page's row (left) as the server draws it (right)");
    }
}

#[test]
fn a_page_continues_when_the_visitor_returns_to_it() {
    let browser = Browser::open();
    let instance = Instance::new("every = '100ms'");
    let _server = instance.start();
    browser.goto(&instance.url("/"));
    rows_up_to(5, &browser, &instance);
    browser.goto(&instance.url("/rolls"));
    roll_until(head(&instance) + 5, &instance);
    browser.back();
    rows_up_to(head(&instance) + 5, &browser, &instance);
    browser.assert_quiet(&[]);
}
