//! How much a browser loads for the first page: requests and bytes.

use crate::browser::Browser;
use crate::common::Instance;
use crate::rows::roll_until;

/// The page and all that it loaded, as `[name, bytes]`. Without a proxy nothing is compressed.
const LOADED: &str = "[...performance.getEntriesByType('navigation'), \
    ...performance.getEntriesByType('resource')].map(({ name, encodedBodySize }) => \
    [name, encodedBodySize])";

fn loaded(browser: &Browser) -> Vec<(String, u64)> {
    serde_json::from_value::<Vec<(String, u64)>>(browser.read(LOADED)).unwrap()
}

#[test]
fn the_first_page_loads_with_at_most_12_requests_and_100_kb() {
    let browser = Browser::open();
    let instance = Instance::new("");
    let _server = instance.start();
    roll_until(3, &instance);
    for (path, may_be_live) in [("/", true), ("/rolls", false), ("/developers", false)] {
        browser.goto(&instance.url(path));
        if may_be_live {
            // The stream is open, so the page has loaded everything.
            browser.wait_for("document.getElementById('state').dataset.state === 'live'");
        }
        browser.wait_for("document.readyState === 'complete'");
        let loaded = loaded(&browser);
        let n_bytes: u64 = loaded.iter().map(|(_, n_bytes)| n_bytes).sum();
        println!("{path}: {} requests, {n_bytes} bytes", loaded.len());
        assert!(loaded.len() > 3, "expected a page with its files, got {loaded:#?}");
        assert!(loaded.len() <= 12, "expected at most 12 requests at {path}, got {loaded:#?}");
        // The reference on `/developers` is long.
        let is_short = path == "/developers" || n_bytes <= 100_000;
        assert!(is_short, "expected at most 100 KB at {path}, got {loaded:#?}");
    }
}

/// Control: a file that the page loads counts.
#[test]
fn another_file_is_another_request() {
    let browser = Browser::open();
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    roll_until(1, &instance);
    browser.goto(&instance.url("/about"));
    let pictures = || -> Vec<u64> {
        let is_picture = |(name, _): &(String, u64)| name.ends_with("/picture.png");
        loaded(&browser).into_iter().filter(is_picture).map(|(_, n_bytes)| n_bytes).collect()
    };
    assert!(pictures().is_empty(), "{:?}", pictures());
    browser.read("document.querySelector('main').append(Object.assign(new Image(), { src: '/picture.png' }))");
    browser.wait_for(
        "performance.getEntriesByName(location.origin + '/picture.png')[0]?.encodedBodySize",
    );
    assert!(matches!(pictures()[..], [n_bytes] if n_bytes > 10_000), "{:?}", pictures());
}
