//! WebKit, the engine of Safari: the small browser of WebKitGTK, driven by WebKitWebDriver. It needs a
//! display, so it gets one that only exists in memory.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::common::wait_for;
use crate::process::{Permit, ProcessGroup};
use crate::session::Viewport;
use crate::webdriver::WebDriver;

/// Options of the driver's own default browser. `--automation` lets the driver control it. A window
/// in full screen has no other content than the page, whatever its size.
const OPTIONS: [&str; 2] = ["--automation", "--full-screen"];

/// A browser with an empty profile and one tab. Ends when dropped.
pub struct WebKit {
    driver: WebDriver,
    _display: ProcessGroup,
    _profile: TempDir,
    _permit: Permit,
}

impl WebKit {
    pub fn open() -> WebKit {
        let permit = Permit::acquire();
        let profile = tempfile::tempdir().unwrap();
        let (processes, display) = start_display(profile.path());
        let mut command = Command::new("WebKitWebDriver");
        command.env("DISPLAY", display).env("GDK_BACKEND", "x11").env("TZ", "UTC");
        for folder in ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(folder, profile.path());
        }
        // There is no bus, neither for assistive programs nor for settings.
        command.env("NO_AT_BRIDGE", "1").env("GSETTINGS_BACKEND", "memory");
        let options = json!({ "webkitgtk:browserOptions": { "args": OPTIONS } });
        let driver = WebDriver::start(&mut command, options);
        let webkit = WebKit { driver, _display: processes, _profile: profile, _permit: permit };
        webkit.set_size(1280, 1000);
        webkit
    }
}

impl Deref for WebKit {
    type Target = WebDriver;

    fn deref(&self) -> &WebDriver {
        &self.driver
    }
}

/// Starts a display, and returns its name, such as `:3`.
fn start_display(folder: &Path) -> (ProcessGroup, String) {
    let file = folder.join("display");
    let mut command = Command::new("sh");
    command.args(["-c", "exec Xvfb -displayfd 3 -screen 0 1920x1200x24 -nolisten tcp 3>\"$0\""]);
    let processes = ProcessGroup::start(command.arg(&file));
    let number = wait_for("a display", || {
        // The line is whole once it ends.
        std::fs::read_to_string(&file).ok()?.strip_suffix('\n').map(str::to_owned)
    });
    (processes, format!(":{number}"))
}
