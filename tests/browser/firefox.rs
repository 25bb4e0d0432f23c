//! Firefox, headless, driven by its own remote protocol, Marionette. Debian has no geckodriver,
//! which would only translate WebDriver to it: <https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html>.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{TIMEOUT, wait_for};
use crate::process::{Permit, ProcessGroup};
use crate::session::{Colours, Scheme, Session, Viewport};

/// The driver chooses a free port, and nothing is looked up beyond this machine.
const PREFERENCES: &str = "user_pref(\"marionette.port\", 0);\n\
                           user_pref(\"network.dns.disabled\", true);\n";

/// The key of an element in an answer: <https://www.w3.org/TR/webdriver/#elements>.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with an empty profile and one tab. Ends when dropped.
pub struct Firefox {
    connection: RefCell<Connection>,
    processes: ProcessGroup,
    _profile: TempDir,
    _permit: Permit,
}

/// A connection on which one command at a time is sent and answered.
struct Connection {
    stream: BufReader<TcpStream>,
    n_sent: u32,
}

impl Firefox {
    pub fn open() -> Firefox {
        let permit = Permit::acquire();
        let profile = tempfile::tempdir().unwrap();
        std::fs::write(profile.path().join("user.js"), PREFERENCES).unwrap();
        let mut command = Command::new("firefox-esr");
        // The last one lets tests change preferences.
        let flags = ["--headless", "--no-remote", "--marionette", "--remote-allow-system-access"];
        command.args(flags).arg("--profile");
        command.arg(profile.path()).arg("about:blank");
        command.env("HOME", profile.path()).env("TMPDIR", profile.path()).env("TZ", "UTC");
        let processes = ProcessGroup::start(&mut command);
        let port: u16 = wait_for("Firefox to listen", || {
            let port = std::fs::read_to_string(profile.path().join("MarionetteActivePort"));
            port.ok()?.trim().parse().ok()
        });
        let connection = RefCell::new(Connection::open(port));
        let firefox = Firefox { connection, processes, _profile: profile, _permit: permit };
        let milliseconds = TIMEOUT.as_millis() as u64;
        let timeouts = json!({ "pageLoad": milliseconds, "script": milliseconds });
        firefox.ask("WebDriver:NewSession", json!({}));
        firefox.ask("WebDriver:SetTimeouts", timeouts);
        firefox
    }

    /// The result of a command, which must succeed.
    fn ask(&self, command: &str, parameters: Value) -> Value {
        let answer = self.connection.borrow_mut().ask(command, &parameters);
        answer.unwrap_or_else(|error| panic!("{command} with {parameters} failed: {error}"))
    }

    fn evaluate(&self, expression: &str) -> Result<Value, Value> {
        let script = json!({ "script": format!("return ({expression});"), "args": [] });
        let answer = self.connection.borrow_mut().ask("WebDriver:ExecuteScript", &script);
        answer.map(|mut result| result["value"].take())
    }

    /// Runs a script with the rights of the browser itself.
    fn in_browser(&self, script: &str) {
        self.ask("Marionette:SetContext", json!({ "value": "chrome" }));
        self.ask("WebDriver:ExecuteScript", json!({ "script": script, "args": [] }));
        self.ask("Marionette:SetContext", json!({ "value": "content" }));
    }

    /// The id of the group of its processes.
    pub fn pid(&self) -> u32 {
        self.processes.pid()
    }

    /// The reference to an element.
    fn find(&self, selector: &str) -> String {
        let by_css = json!({ "using": "css selector", "value": selector });
        let element = self.ask("WebDriver:FindElement", by_css);
        element["value"][ELEMENT].as_str().unwrap().to_owned()
    }
}

impl Session for Firefox {
    fn goto(&self, url: &str) {
        self.ask("WebDriver:Navigate", json!({ "url": url }));
    }

    fn read(&self, expression: &str) -> Value {
        self.evaluate(expression).unwrap_or_else(|error| panic!("{expression} failed: {error}"))
    }

    fn execute_async(&self, script: &str) -> Value {
        let script = json!({ "script": script, "args": [] });
        self.ask("WebDriver:ExecuteAsyncScript", script)["value"].take()
    }

    fn wait_for(&self, expression: &str) -> Value {
        wait_for(expression, || {
            // A page cannot answer while it is being replaced by the next one.
            let value = self.evaluate(expression).ok()?;
            (value != Value::Null && value != Value::Bool(false)).then_some(value)
        })
    }

    fn click(&self, selector: &str) {
        self.ask("WebDriver:ElementClick", json!({ "id": self.find(selector) }));
    }

    fn fill(&self, selector: &str, keys: &str) {
        self.ask("WebDriver:ElementSendKeys", json!({ "id": self.find(selector), "text": keys }));
    }

    fn press(&self, key: char) {
        let key = |kind| json!({ "type": kind, "value": key });
        let keys =
            json!({ "type": "key", "id": "keyboard", "actions": [key("keyDown"), key("keyUp")] });
        self.ask("WebDriver:PerformActions", json!({ "actions": [keys] }));
    }

    fn back(&self) {
        self.ask("WebDriver:Back", json!({}));
    }

    fn perform(&self, actions: Value) {
        self.ask("WebDriver:PerformActions", actions);
    }
}

impl Viewport for Firefox {
    fn engine(&self) -> &'static str {
        "Firefox"
    }

    /// A window of Firefox is never narrower than 450 pixels, so the page gets a part of it.
    fn set_size(&self, width: u32, height: u32) {
        self.in_browser(&format!(
            "const {{ style }} = window.gBrowser.selectedBrowser;
             for (const side of ['width', 'min-width', 'max-width'])
                 style.setProperty(side, '{width}px', 'important');
             for (const side of ['height', 'min-height', 'max-height'])
                 style.setProperty(side, '{height}px', 'important');"
        ));
        self.wait_for(&format!("innerWidth === {width} && innerHeight === {height}"));
    }
}

impl Colours for Firefox {
    fn set_scheme(&self, scheme: Scheme) {
        let (is_light, colors) = match scheme {
            Scheme::Light => (1, 0),
            Scheme::Dark => (0, 0),
            Scheme::Forced => (1, 2),
        };
        self.in_browser(&format!(
            "Services.prefs.setIntPref('layout.css.prefers-color-scheme.content-override', {is_light});
             Services.prefs.setIntPref('browser.display.document_color_use', {colors});"
        ));
        self.wait_for(scheme.is_active());
    }
}

impl Connection {
    fn open(port: u16) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(2 * TIMEOUT)).unwrap();
        let mut connection = Connection { stream: BufReader::new(stream), n_sent: 0 };
        let hello = connection.receive();
        assert_eq!(hello["marionetteProtocol"], 3, "{hello}");
        connection
    }

    /// Sends `[0, number, command, parameters]`, and receives `[1, number, error, result]`.
    fn ask(&mut self, command: &str, parameters: &Value) -> Result<Value, Value> {
        self.n_sent += 1;
        let message = json!([0, self.n_sent, command, parameters]).to_string();
        write!(self.stream.get_mut(), "{}:{message}", message.len()).unwrap();
        let mut answer = self.receive();
        assert_eq!(answer[1], self.n_sent, "{answer}");
        match answer[2].take() {
            Value::Null => Ok(answer[3].take()),
            error => Err(error),
        }
    }

    /// A message: its length in bytes, a colon, and JSON.
    fn receive(&mut self) -> Value {
        let mut length = Vec::new();
        self.stream.read_until(b':', &mut length).unwrap();
        let digits = String::from_utf8(length).unwrap();
        let length: usize = digits.trim_end_matches(':').parse().unwrap();
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).unwrap();
        serde_json::from_slice(&message).unwrap()
    }
}
