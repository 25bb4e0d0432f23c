//! A headless browser for tests. Every call waits for its result, at most [`TIMEOUT`].

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::wd::{TimeoutConfiguration, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{interval, timeout};

use crate::common::{TIMEOUT, free_port, http, wait_for};
use crate::process::{Permit, ProcessGroup};

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
    client: Option<Client>,
    runtime: Runtime,
    driver: Driver,
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
        let profile = tempfile::tempdir().unwrap();
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let options = json!({ "binary": chromium(), "args": flags, "prefs": preferences });
        let milliseconds = TIMEOUT.as_millis() as u64;
        let capabilities = json!({
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "pageLoad": milliseconds, "script": milliseconds },
        });

        let permit = Permit::acquire();
        let driver = Driver::start(profile.path(), zone);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let client = runtime.block_on(bounded("a browser", builder.connect(&driver.url())));
        Browser { client: Some(client), runtime, driver, _profile: profile, _permit: permit }
    }

    pub fn goto(&self, url: &str) {
        self.run(&format!("to load {url}"), self.client().goto(url));
    }

    /// Whether a page loads within `limit`.
    pub fn goes_to_within(&self, limit: Duration, url: &str) -> bool {
        let set = |limit| {
            let timeouts = TimeoutConfiguration::new(None, Some(limit), None);
            self.run("to set its timeouts", self.client().update_timeouts(timeouts));
        };
        set(limit);
        let answer = self.runtime.block_on(self.client().goto(url));
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

    pub fn back(&self) {
        self.run("to go back", self.client().back());
    }

    pub fn url(&self) -> String {
        self.run("to tell its address", self.client().current_url()).to_string()
    }

    /// The value of a JavaScript expression in the page.
    pub fn read(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.run(expression, self.client().execute(&script, Vec::new()))
    }

    /// Runs statements in the page; the last argument is a function to call with the result.
    pub fn execute_async(&self, script: &str) -> Value {
        self.run(script, self.client().execute_async(script, Vec::new()))
    }

    /// Waits until a JavaScript expression is true in the page, and returns its value.
    pub fn wait_for(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        let look = async {
            let mut pause = interval(Duration::from_millis(20));
            loop {
                pause.tick().await;
                // A page cannot answer while it is being replaced by the next one.
                if let Ok(value) = self.client().execute(&script, Vec::new()).await
                    && value != Value::Null
                    && value != Value::Bool(false)
                {
                    return value;
                }
            }
        };
        match self.runtime.block_on(async { timeout(TIMEOUT, look).await }) {
            Ok(value) => value,
            Err(_) => {
                let body = self.read("document.body.innerText.slice(0, 1000)");
                panic!("waited {TIMEOUT:?} for `{expression}`; the page says {body}")
            }
        }
    }

    pub fn find(&self, selector: &str) -> Element {
        self.run(&format!("to find {selector}"), self.client().find(Locator::Css(selector)))
    }

    pub fn text(&self, selector: &str) -> String {
        let element = self.find(selector);
        self.run(&format!("to read {selector}"), element.text())
    }

    pub fn is_shown(&self, selector: &str) -> bool {
        let element = self.find(selector);
        self.run(&format!("to look at {selector}"), element.is_displayed())
    }

    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.run(&format!("to click {selector}"), element.click());
    }

    /// Types into a field.
    pub fn fill(&self, selector: &str, keys: &str) {
        let element = self.find(selector);
        self.run(&format!("to fill {selector}"), element.send_keys(keys));
    }

    /// Presses a key in the focused element.
    pub fn press(&self, key: char) {
        let keys = KeyActions::new("keyboard".into())
            .then(KeyAction::Down { value: key })
            .then(KeyAction::Up { value: key });
        self.run("to press a key", self.client().perform_actions(keys));
    }

    /// Sends a signal by name, such as `STOP`, to all processes of the browser and its driver.
    pub fn signal(&self, name: &str) {
        self.driver.processes.signal(name);
    }

    /// Sends a command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: Value) {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters }));
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

    /// Sends a command of chromedriver for which fantoccini has no method.
    fn post(&self, command: &str, parameters: Value) -> Value {
        let session = self.run("its session", self.client().session_id()).unwrap();
        let url = format!("{}/session/{session}/{command}", self.driver.url());
        let mut response = http().post(url).send(parameters.to_string()).unwrap();
        let answer = response.body_mut().read_to_string().unwrap();
        assert!(response.status() == 200, "{command} with {parameters} failed: {answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["value"].take()
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the browser is open until it is dropped")
    }

    fn run<T, E: std::fmt::Display>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, E>>,
    ) -> T {
        self.runtime.block_on(bounded(what, answer))
    }
}

impl Drop for Browser {
    /// The driver closes the browser. Afterwards both have ended, whatever happened.
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(async { timeout(TIMEOUT, client.close()).await });
        }
        self.driver.processes.kill();
    }
}

/// The kind of a console message by its source and subject, on the page at `url`.
fn kind(entry: &Value, url: &str) -> Option<Complaint> {
    let message = entry["message"].as_str()?;
    if entry["source"] != "network" {
        return None;
    }
    let of_network = [
        "net::ERR_CONNECTION_REFUSED",
        "net::ERR_CONNECTION_RESET",
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

/// A chromedriver process. It is killed when dropped, with all processes that it started.
struct Driver {
    processes: ProcessGroup,
    port: u16,
}

impl Driver {
    /// Starts a driver that keeps its files and the browser's in `folder`.
    fn start(folder: &Path, zone: &str) -> Driver {
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("TMPDIR", folder).env("TZ", zone);
        let driver = Driver { processes: ProcessGroup::start(&mut command), port };
        // It listens before it can start a browser.
        let status = format!("http://127.0.0.1:{port}/status");
        wait_for("chromedriver to be ready", || {
            let mut answer = http().get(&status).call().ok()?;
            let status: Value =
                serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?;
            (status["value"]["ready"] == true).then_some(())
        });
        driver
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// The absolute path of Chromium, which chromedriver needs.
fn chromium() -> String {
    let found = Command::new("sh").args(["-c", "command -v chromium"]).output().unwrap();
    let path = String::from_utf8(found.stdout).unwrap().trim().to_string();
    assert!(!path.is_empty(), "chromium is not installed; tests/setup.sh installs it");
    path
}

async fn bounded<T, E: std::fmt::Display>(
    what: &str,
    answer: impl Future<Output = Result<T, E>>,
) -> T {
    match timeout(TIMEOUT, answer).await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("the browser failed at {what}: {error}"),
        Err(_) => panic!("waited {TIMEOUT:?} for the browser at {what}"),
    }
}
