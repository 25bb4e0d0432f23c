//! What a test does with a page, in every browser.

use serde_json::Value;

use crate::browser::Browser;
use crate::firefox::Firefox;

pub trait Session {
    fn goto(&self, url: &str);

    /// The value of a JavaScript expression in the page.
    fn read(&self, expression: &str) -> Value;

    /// Waits until a JavaScript expression is true in the page, and returns its value.
    fn wait_for(&self, expression: &str) -> Value;

    fn click(&self, selector: &str);

    /// Types into a field, or chooses a file by its path.
    fn fill(&self, selector: &str, keys: &str);
}

impl Session for Browser {
    fn goto(&self, url: &str) {
        Browser::goto(self, url);
    }

    fn read(&self, expression: &str) -> Value {
        Browser::read(self, expression)
    }

    fn wait_for(&self, expression: &str) -> Value {
        Browser::wait_for(self, expression)
    }

    fn click(&self, selector: &str) {
        Browser::click(self, selector);
    }

    fn fill(&self, selector: &str, keys: &str) {
        Browser::fill(self, selector, keys);
    }
}

/// Does the same in Chromium and then in Firefox, each with an empty profile.
pub fn in_each_browser(journey: impl Fn(&dyn Session)) {
    journey(&Browser::open());
    journey(&Firefox::open());
}
