//! What a test does with a page, in every browser.

use std::ops::Deref;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::firefox::Firefox;
use crate::webdriver::WebDriver;
use crate::webkit::WebKit;

/// A browser with one tab.
pub trait Session: Viewport {
    fn goto(&self, url: &str);

    fn back(&self);

    /// The value of a JavaScript expression in the page.
    fn read(&self, expression: &str) -> Value;

    /// Runs statements in the page; the last argument is a function to call with the result.
    fn execute_async(&self, script: &str) -> Value;

    /// Waits until a JavaScript expression is true in the page, and returns its value.
    fn wait_for(&self, expression: &str) -> Value;

    fn click(&self, selector: &str);

    /// Types into a field, or chooses a file by its path.
    fn fill(&self, selector: &str, keys: &str);

    /// Presses a key in the focused element.
    fn press(&self, key: char);

    /// Performs actions of an input device: <https://www.w3.org/TR/webdriver/#perform-actions>.
    fn perform(&self, actions: Value);

    /// Moves the mouse to a place in the window.
    fn move_mouse(&self, x: &Value, y: &Value) {
        self.perform(mouse(json!([{ "type": "pointerMove", "duration": 0, "x": x, "y": y }])));
    }

    /// Clicks where the mouse is.
    fn press_mouse(&self) {
        let kinds = ["pointerDown", "pointerUp"];
        self.perform(mouse(json!(kinds.map(|kind| json!({ "type": kind, "button": 0 })))));
    }
}

fn mouse(actions: Value) -> Value {
    let parameters = json!({ "pointerType": "mouse" });
    json!({ "actions": [
        { "type": "pointer", "id": "mouse", "parameters": parameters, "actions": actions },
    ] })
}

/// What each engine does in its own way.
pub trait Viewport {
    /// For messages.
    fn engine(&self) -> &'static str;

    /// Gives the page this size in CSS pixels. The smallest width of WebKit is 334.
    fn set_size(&self, width: u32, height: u32);
}

/// A browser whose colours a test can choose.
pub trait Colours: Session {
    fn set_scheme(&self, scheme: Scheme);
}

/// The colours that a visitor has asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scheme {
    Light,
    Dark,
    /// The visitor's own few colours, such as in the high contrast mode of Windows.
    Forced,
}

impl Scheme {
    /// An expression that is true in a page with these colours.
    pub fn is_active(self) -> &'static str {
        match self {
            Scheme::Light => {
                "matchMedia('(prefers-color-scheme: light) and (forced-colors: none)').matches"
            }
            Scheme::Dark => {
                "matchMedia('(prefers-color-scheme: dark) and (forced-colors: none)').matches"
            }
            Scheme::Forced => "matchMedia('(forced-colors: active)').matches",
        }
    }
}

impl<Driven: Deref<Target = WebDriver> + Viewport> Session for Driven {
    fn goto(&self, url: &str) {
        WebDriver::goto(self, url);
    }

    fn back(&self) {
        WebDriver::back(self);
    }

    fn read(&self, expression: &str) -> Value {
        WebDriver::read(self, expression)
    }

    fn execute_async(&self, script: &str) -> Value {
        WebDriver::execute_async(self, script)
    }

    fn wait_for(&self, expression: &str) -> Value {
        WebDriver::wait_for(self, expression)
    }

    fn click(&self, selector: &str) {
        WebDriver::click(self, selector);
    }

    fn fill(&self, selector: &str, keys: &str) {
        WebDriver::fill(self, selector, keys);
    }

    fn press(&self, key: char) {
        WebDriver::press(self, key);
    }

    fn perform(&self, actions: Value) {
        self.post("actions", actions);
    }
}

impl Viewport for Browser {
    fn engine(&self) -> &'static str {
        "Chromium"
    }

    fn set_size(&self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
        self.wait_for(&format!("innerWidth === {width} && innerHeight === {height}"));
    }
}

impl Colours for Browser {
    fn set_scheme(&self, scheme: Scheme) {
        let (prefers, forced) = match scheme {
            Scheme::Light => ("light", "none"),
            Scheme::Dark => ("dark", "none"),
            Scheme::Forced => ("light", "active"),
        };
        let features = json!([
            { "name": "prefers-color-scheme", "value": prefers },
            { "name": "forced-colors", "value": forced },
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features }));
        self.wait_for(scheme.is_active());
    }
}

impl Viewport for WebKit {
    fn engine(&self) -> &'static str {
        "WebKit"
    }

    fn set_size(&self, width: u32, height: u32) {
        let resized = self.client().set_window_size(width, height);
        self.run("to resize its window", resized);
        self.wait_for(&format!("innerWidth === {width} && innerHeight === {height}"));
    }
}

/// Does the same in Chromium, in Firefox and in WebKit, each with an empty profile.
pub fn in_each_browser(journey: impl Fn(&dyn Session)) {
    in_browser(&Browser::open(), &journey);
    in_each_other_browser(journey);
}

/// Does the same in Firefox and in WebKit.
pub fn in_each_other_browser(journey: impl Fn(&dyn Session)) {
    in_browser(&Firefox::open(), &journey);
    in_browser(&WebKit::open(), &journey);
}

fn in_browser(browser: &dyn Session, journey: &impl Fn(&dyn Session)) {
    // If the journey fails, the output of the test names the browser.
    eprintln!("in {}:", browser.engine());
    journey(browser);
}
