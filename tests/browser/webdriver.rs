//! A browser behind a driver that speaks WebDriver, <https://www.w3.org/TR/webdriver/>. Every call
//! waits for its result, at most [`TIMEOUT`].

use std::fmt::Display;
use std::future::Future;
use std::process::Command;
use std::time::Duration;

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{interval, timeout};

use crate::common::{TIMEOUT, free_port, http, wait_for};
use crate::process::ProcessGroup;

/// A driver and its browser. Both end when it is dropped.
pub struct WebDriver {
    client: Option<Client>,
    runtime: Runtime,
    processes: ProcessGroup,
    url: String,
}

impl WebDriver {
    /// Starts a driver, and through it a browser with these capabilities.
    pub fn start(driver: &mut Command, mut capabilities: Value) -> WebDriver {
        let milliseconds = TIMEOUT.as_millis() as u64;
        capabilities["timeouts"] = json!({ "pageLoad": milliseconds, "script": milliseconds });
        let (processes, url) = start(driver);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let client = runtime.block_on(bounded("a browser", builder.connect(&url)));
        WebDriver { client: Some(client), runtime, processes, url }
    }

    pub fn goto(&self, url: &str) {
        self.run(&format!("to load {url}"), self.client().goto(url));
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

    /// Types into a field, or chooses a file by its path.
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
        self.processes.signal(name);
    }

    /// The id of the group of all processes of the browser and its driver.
    pub fn pid(&self) -> u32 {
        self.processes.pid()
    }

    /// Sends a command for which fantoccini has no method.
    pub fn post(&self, command: &str, parameters: Value) -> Value {
        let session = self.run("its session", self.client().session_id()).unwrap();
        let url = format!("{}/session/{session}/{command}", self.url);
        let mut response = http().post(url).send(parameters.to_string()).unwrap();
        let answer = response.body_mut().read_to_string().unwrap();
        assert!(response.status() == 200, "{command} with {parameters} failed: {answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["value"].take()
    }

    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("the browser is open until it is dropped")
    }

    /// Waits for an answer that must be a success.
    pub fn run<T, E: Display>(&self, what: &str, answer: impl Future<Output = Result<T, E>>) -> T {
        self.runtime.block_on(bounded(what, answer))
    }

    /// Waits for an answer.
    pub fn answer<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }
}

impl Drop for WebDriver {
    /// The driver closes the browser. Afterwards both have ended, whatever happened.
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(async { timeout(TIMEOUT, client.close()).await });
        }
        self.processes.kill();
    }
}

/// Starts a driver on a free port and waits until it can start a browser. Returns its address.
fn start(driver: &mut Command) -> (ProcessGroup, String) {
    let port = free_port();
    let processes = ProcessGroup::start(driver.arg(format!("--port={port}")));
    let url = format!("http://127.0.0.1:{port}");
    // It listens before it can start a browser.
    wait_for("the driver to be ready", || {
        let mut answer = http().get(format!("{url}/status")).call().ok()?;
        let status = answer.body_mut().read_to_string().ok()?;
        let status: Value = serde_json::from_str(&status).ok()?;
        (status["value"]["ready"] == true).then_some(())
    });
    (processes, url)
}

async fn bounded<T, E: Display>(what: &str, answer: impl Future<Output = Result<T, E>>) -> T {
    match timeout(TIMEOUT, answer).await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("the browser failed at {what}: {error}"),
        Err(_) => panic!("waited {TIMEOUT:?} for the browser at {what}"),
    }
}
