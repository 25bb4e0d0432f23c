//! The browsers of this machine, each with an empty profile. They open the page that runs all cases.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use lab::cases;
use lab::judge::Outcome;
use lab::server::{Audience, Lab};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::marionette::Marionette;
use crate::verdicts::{Reason, Verdict};

/// How long a browser may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long all cases may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(900);
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// What the page has to say: whether it is done, its report, and its progress.
const READ_PAGE: &str = "return [document.documentElement.dataset.done === 'true',
    globalThis.labReport ?? null, document.getElementById('progress')?.textContent ?? ''];";

const CHROMIUM_FLAGS: [&str; 10] = [
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
];
const FIREFOX_PREFERENCES: &str = "user_pref(\"marionette.port\", 0);\n\
                                   user_pref(\"network.dns.disabled\", true);\n";

/// A browser that can be driven without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    Chromium,
    Firefox,
    WebKit,
}

/// A running browser. It ends when it is dropped.
struct Session {
    control: Control,
    capabilities: Value,
    _processes: Vec<Group>,
    _profile: TempDir,
}

enum Control {
    WebDriver(fantoccini::Client),
    Marionette(Marionette),
}

/// A process and all processes that it has started. Dropping it kills them.
struct Group(Child);

#[derive(Deserialize)]
struct Report {
    cases: Vec<CaseReport>,
}

#[derive(Deserialize)]
struct CaseReport {
    case: String,
    verdict: Outcome,
    because: Vec<Reason>,
}

impl Browser {
    pub const ALL: [Browser; 3] = [Browser::Chromium, Browser::Firefox, Browser::WebKit];

    pub fn name(self) -> &'static str {
        match self {
            Browser::Chromium => "Chromium",
            Browser::Firefox => "Firefox",
            Browser::WebKit => "WebKitGTK",
        }
    }

    pub fn url(self) -> &'static str {
        match self {
            Browser::Chromium => "https://www.chromium.org/Home/",
            Browser::Firefox => "https://www.firefox.com/",
            Browser::WebKit => "https://webkitgtk.org/",
        }
    }

    /// What a reader of its verdicts must know.
    pub fn note(self) -> &'static str {
        match self {
            Browser::Chromium | Browser::WebKit => "",
            // The port of `r-away` is another origin than the page.
            Browser::Firefox => {
                "The stream of `r-away` comes from another origin than the page: on the page's own origin, \
                 Firefox reconnects."
            }
        }
    }

    /// The first program that it needs and that this machine does not have.
    pub fn missing(self) -> Option<&'static str> {
        let programs: &[&str] = match self {
            Browser::Chromium => &["chromium", "chromedriver"],
            Browser::Firefox => &["firefox-esr"],
            Browser::WebKit => &["WebKitWebDriver", "Xvfb"],
        };
        programs.iter().copied().find(|program| find(program).is_none())
    }

    /// Runs all cases in the browser, and those that fail again. Returns its version, and the
    /// verdicts.
    ///
    /// # Errors
    ///
    /// The browser cannot be started or driven, or the page stops.
    pub async fn judge(
        self,
        n_tries: usize,
        mut show: impl FnMut(&str),
    ) -> anyhow::Result<(String, Vec<Verdict>)> {
        let mut session = timeout(START_TIMEOUT, self.start())
            .await
            .context("the browser did not start in time")?
            .context("cannot start the browser")?;
        let version = session.capabilities["browserVersion"].as_str().unwrap_or("?").to_owned();
        let mut verdicts = session.run_page("*", &mut show).await?;
        for _ in 1..n_tries {
            let is_bad = |it: &&Verdict| matches!(it.outcome, Outcome::Fails | Outcome::Differs);
            let bad: Vec<&str> = verdicts.iter().filter(is_bad).map(|it| &*it.case).collect();
            if bad.is_empty() {
                break;
            }
            let again = session.run_page(&bad.join(","), &mut show).await?;
            let mut again: HashMap<String, Verdict> =
                again.into_iter().map(|it| (it.case.clone(), it)).collect();
            for verdict in &mut verdicts {
                if let Some(newer) = again.remove(&verdict.case) {
                    *verdict = newer;
                }
            }
        }
        session.close().await;
        Ok((version, verdicts))
    }

    async fn start(self) -> anyhow::Result<Session> {
        let profile = tempfile::tempdir()?;
        let folder = profile.path();
        let mut processes = Vec::new();
        let (control, capabilities) = match self {
            Browser::Chromium => {
                let mut flags: Vec<String> = CHROMIUM_FLAGS.map(Into::into).into();
                flags.push(format!("--user-data-dir={}", folder.display()));
                let options = json!({ "binary": find("chromium"), "args": flags });
                let mut driver = Command::new("chromedriver");
                driver.env("TMPDIR", folder);
                drive(driver, json!({ "goog:chromeOptions": options }), &mut processes).await?
            }
            Browser::WebKit => {
                let display = start_display(folder, &mut processes).await?;
                let mut driver = Command::new("WebKitWebDriver");
                driver.env("DISPLAY", display).env("GDK_BACKEND", "x11");
                let folders =
                    ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];
                driver.envs(folders.map(|name| (name, folder)));
                // There is no bus, neither for assistive programs nor for settings.
                driver.env("NO_AT_BRIDGE", "1").env("GSETTINGS_BACKEND", "memory");
                let options = json!({ "args": ["--automation"] });
                let capabilities = json!({ "webkitgtk:browserOptions": options });
                drive(driver, capabilities, &mut processes).await?
            }
            Browser::Firefox => {
                fs::write(folder.join("user.js"), FIREFOX_PREFERENCES)?;
                let mut browser = Command::new("firefox-esr");
                browser.args(["--headless", "--no-remote", "--marionette", "--profile"]);
                browser.arg(folder).arg("about:blank").env("HOME", folder).env("TMPDIR", folder);
                processes.push(Group::start(browser)?);
                let port = wait_for_line(&folder.join("MarionetteActivePort")).await.parse()?;
                let marionette = Marionette::connect(port).await?;
                let capabilities = marionette.capabilities.clone();
                (Control::Marionette(marionette), capabilities)
            }
        };
        Ok(Session { control, capabilities, _processes: processes, _profile: profile })
    }
}

impl Session {
    /// Runs the cases in the page.
    async fn run_page(
        &mut self,
        patterns: &str,
        show: &mut impl FnMut(&str),
    ) -> anyhow::Result<Vec<Verdict>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let lab = Lab::start(address, cases::all(), Audience::Local).context("cannot listen")?;
        let url = format!("http://{}/lab/browser?cases={patterns}", lab.address());
        match &mut self.control {
            Control::WebDriver(client) => client.goto(&url).await?,
            Control::Marionette(marionette) => marionette.goto(&url).await?,
        }
        let started = Instant::now();
        loop {
            sleep(CHECK_EVERY).await;
            let page = match &mut self.control {
                Control::WebDriver(client) => client.execute(READ_PAGE, Vec::new()).await?,
                Control::Marionette(marionette) => marionette.execute(READ_PAGE).await?,
            };
            let progress = page[2].as_str().unwrap_or_default();
            show(progress);
            if page[0] == true {
                let report: Report = serde_json::from_str(page[1].as_str().unwrap_or_default())
                    .context("the page has no report")?;
                let verdict = |it: CaseReport| {
                    let CaseReport { case, verdict: outcome, because } = it;
                    Verdict { case, outcome, because }
                };
                return Ok(report.cases.into_iter().map(verdict).collect());
            }
            if progress.starts_with("The test stopped") || started.elapsed() > PAGE_TIMEOUT {
                bail!("the page is not done: {progress}");
            }
        }
    }

    /// Closes the browser in an orderly way.
    async fn close(self) {
        if let Control::WebDriver(client) = self.control {
            // It is killed in any case.
            let _ = timeout(Duration::from_secs(10), client.close()).await;
        }
    }
}

impl Group {
    fn start(mut command: Command) -> anyhow::Result<Group> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Group(child))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Starts a driver, and a browser through it.
async fn drive(
    mut driver: Command,
    capabilities: Value,
    processes: &mut Vec<Group>,
) -> anyhow::Result<(Control, Value)> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    driver.arg(format!("--port={port}"));
    processes.push(Group::start(driver)?);
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(capabilities.as_object().cloned().unwrap_or_default());
    let started = Instant::now();
    let client = loop {
        // The driver does not listen at once.
        match builder.connect(&format!("http://127.0.0.1:{port}")).await {
            Ok(client) => break client,
            Err(error) if started.elapsed() > START_TIMEOUT / 3 => return Err(error.into()),
            Err(_) => sleep(CHECK_EVERY).await,
        }
    };
    let capabilities = client.capabilities().map_or(Value::Null, |all| json!(all));
    Ok((Control::WebDriver(client), capabilities))
}

/// Starts a display that only exists in memory. Returns its name, such as `:3`.
async fn start_display(folder: &Path, processes: &mut Vec<Group>) -> anyhow::Result<String> {
    let file = folder.join("display");
    let mut command = Command::new("sh");
    command.args(["-c", "exec Xvfb -displayfd 3 -screen 0 1280x1000x24 -nolisten tcp 3>\"$0\""]);
    command.arg(&file);
    processes.push(Group::start(command)?);
    Ok(format!(":{}", wait_for_line(&file).await))
}

/// The first line that a program writes into a file.
async fn wait_for_line(file: &Path) -> String {
    loop {
        match fs::read_to_string(file) {
            Ok(text) if !text.trim().is_empty() => return text.trim().to_owned(),
            _ => sleep(CHECK_EVERY).await,
        }
    }
}

/// The path of a program.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
