//! The list of checks on a page, as it is after a verdict.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::session::Session;

/// All checks and the verdict, once there is one.
const CHECKED: &str = r#"(() => {
    const verdict = document.getElementById("verdict");
    if (!["yes", "no", "open"].includes(verdict?.dataset.outcome)) return null;
    const checks = [...document.querySelectorAll(".check")].map((check) => [
        check.dataset.check,
        [check.dataset.outcome, check.querySelector(".check-words").textContent],
    ]);
    return { outcome: verdict.dataset.outcome, words: verdict.textContent, checks };
})()"#;

/// What a page says about a roll.
#[derive(Debug)]
pub struct Checked {
    /// `yes`, `no` or `open`.
    pub outcome: String,
    pub words: String,
    /// The outcome of each check and its words, by its name.
    checks: BTreeMap<String, (String, String)>,
}

impl Checked {
    /// Waits for the verdict of the page.
    pub fn wait(page: &dyn Session) -> Checked {
        let mut seen = page.wait_for(CHECKED);
        let checks: Vec<(String, (String, String))> =
            serde_json::from_value(seen["checks"].take()).unwrap();
        let text = |part: &Value| part.as_str().unwrap().to_owned();
        Checked {
            outcome: text(&seen["outcome"]),
            words: text(&seen["words"]),
            checks: checks.into_iter().collect(),
        }
    }

    /// The outcome of a check.
    pub fn outcome_of(&self, check: &str) -> &str {
        &self.checks[check].0
    }

    /// The words of a check.
    pub fn words_of(&self, check: &str) -> &str {
        &self.checks[check].1
    }

    /// Asserts that the page has `n_checks` checks and that all of them passed.
    pub fn assert_passed(&self, n_checks: usize) {
        assert_eq!(self.outcome, "yes", "{self:#?}");
        assert_eq!(self.checks.len(), n_checks, "{self:#?}");
        assert!(self.checks.values().all(|(outcome, _)| outcome == "yes"), "{self:#?}");
    }
}

/// Clicks "Check it here".
pub fn check_it_here(page: &dyn Session) -> Checked {
    page.wait_for("document.querySelector('#check:not([hidden])') !== null");
    page.click("#check");
    Checked::wait(page)
}
