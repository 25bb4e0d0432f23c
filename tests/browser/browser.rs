//! Headless Chromium, driven by chromedriver.

use std::ops::Deref;
use std::process::Command;
use std::time::Duration;

use fantoccini::wd::{TimeoutConfiguration, WindowHandle};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::TIMEOUT;
use crate::process::Permit;
use crate::webdriver::WebDriver;

const FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--lang=en-US",
    "--window-size=1280,1000",
];

/// Codes of keys that do not write a character: <https://www.w3.org/TR/webdriver/#keyboard-actions>.
pub const TAB: char = '\u{e004}';
pub const ENTER: char = '\u{e007}';
pub const SPACE: char = ' ';

/// A browser with an empty profile and, at first, one tab. Ends when dropped.
pub struct Browser {
    driver: WebDriver,
    _profile: TempDir,
    _permit: Permit,
}

/// One of the browser's tabs.
pub type Tab = WindowHandle;

/// Console messages that a test may expect.
#[derive(Clone, Copy, PartialEq)]
pub enum Complaint {
    /// The server could not be reached, a stream was cut, or the response was a 502. Chromium itself
    /// logs that for any page.
    Network,
    /// The requested page is a 404.
    NotFound,
    /// The requested page is a 422.
    Unusable,
}

impl Browser {
    pub fn open() -> Browser {
        Browser::with(json!({}), "UTC")
    }

    pub fn without_scripts() -> Browser {
        Browser::with(json!({ "profile.managed_default_content_settings.javascript": 2 }), "UTC")
    }

    /// A browser in a time zone, such as `Asia/Kolkata`.
    pub fn in_zone(zone: &str) -> Browser {
        Browser::with(json!({}), zone)
    }

    fn with(preferences: Value, zone: &str) -> Browser {
        let permit = Permit::acquire();
        let profile = tempfile::tempdir().unwrap();
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let options = json!({ "binary": chromium(), "args": flags, "prefs": preferences });
        let capabilities = json!({
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let mut command = Command::new("chromedriver");
        command.env("TMPDIR", profile.path()).env("TZ", zone);
        let driver = WebDriver::start(&mut command, capabilities);
        Browser { driver, _profile: profile, _permit: permit }
    }

    /// Whether a page loads within `limit`.
    pub fn goes_to_within(&self, limit: Duration, url: &str) -> bool {
        let set = |limit| {
            let timeouts = TimeoutConfiguration::new(None, Some(limit), None);
            self.run("to set its timeouts", self.client().update_timeouts(timeouts));
        };
        set(limit);
        let answer = self.answer(self.client().goto(url));
        set(TIMEOUT);
        match answer {
            Ok(()) => true,
            Err(error) if error.is_timeout() => false,
            Err(error) => panic!("the browser cannot load {url}: {error}"),
        }
    }

    /// The current tab.
    pub fn tab(&self) -> Tab {
        self.run("for its tab", self.client().window())
    }

    /// Opens a tab, brings it to the front and makes it the current one.
    pub fn open_tab(&self) -> Tab {
        let tab = self.run("to open a tab", self.client().new_window(true)).handle;
        let tab = Tab::try_from(tab).unwrap();
        self.ask(&tab);
        tab
    }

    /// Brings a tab to the front and makes it the current one.
    pub fn ask(&self, tab: &Tab) {
        self.run("to turn to a tab", self.client().switch_to_window(tab.clone()));
    }

    /// Sends a command of the DevTools protocol, and returns its result.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// Console messages since the last call, without the `expected` ones.
    pub fn complaints(&self, expected: &[Complaint]) -> Vec<String> {
        let log = self.post("se/log", json!({ "type": "browser" }));
        let url = self.url();
        let is_expected =
            |entry: &&Value| kind(entry, &url).is_some_and(|it| expected.contains(&it));
        let entries = log.as_array().unwrap().iter();
        entries.filter(|entry| !is_expected(entry)).map(ToString::to_string).collect()
    }

    /// Expects no console messages except the `expected` ones.
    pub fn assert_quiet(&self, expected: &[Complaint]) {
        let complaints = self.complaints(expected);
        assert!(complaints.is_empty(), "expected a quiet console, got {complaints:#?}");
    }
}

impl Deref for Browser {
    type Target = WebDriver;

    fn deref(&self) -> &WebDriver {
        &self.driver
    }
}

/// The kind of a console message by its source and subject, on the page at `url`.
fn kind(entry: &Value, url: &str) -> Option<Complaint> {
    let message = entry["message"].as_str()?;
    // Chromium loads an icon some time after the page.
    if message.contains("icon from the Manifest") && message.contains("(Download error") {
        return Some(Complaint::Network);
    }
    if entry["source"] != "network" {
        return None;
    }
    let of_network = [
        "net::ERR_CONNECTION_REFUSED",
        "net::ERR_CONNECTION_RESET",
        "net::ERR_CONTENT_LENGTH_MISMATCH",
        "net::ERR_EMPTY_RESPONSE",
        "net::ERR_INCOMPLETE_CHUNKED_ENCODING",
        "the server responded with a status of 502 (Bad Gateway)",
    ];
    if of_network.iter().any(|text| message.ends_with(text)) {
        return Some(Complaint::Network);
    }
    let of_page = "Failed to load resource: the server responded with a status of";
    match message.strip_prefix(&format!("{url} - {of_page} "))? {
        "404 (Not Found)" => Some(Complaint::NotFound),
        "422 (Unprocessable Entity)" => Some(Complaint::Unusable),
        _ => None,
    }
}

/// The absolute path of Chromium, which chromedriver needs.
fn chromium() -> String {
    let found = Command::new("sh").args(["-c", "command -v chromium"]).output().unwrap();
    let path = String::from_utf8(found.stdout).unwrap().trim().to_string();
    assert!(!path.is_empty(), "chromium is not installed; tests/setup.sh installs it");
    path
}
