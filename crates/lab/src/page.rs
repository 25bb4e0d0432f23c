//! The pages: the list of cases, and the page that runs them in a browser.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

use serde_json::json;

use crate::case::{Case, Level, Needs};
use crate::response::Response;

const STYLE: &str = include_str!("page/lab.css");
const SCRIPT: &str = include_str!("page/lab.js");
const BROWSER: &str = include_str!("page/browser.html");
const LIST: &str = include_str!("page/list.html");

/// The page or file with this name. `host` is that of the request.
pub(crate) fn file(name: &str, host: &str, cases: &[Case]) -> Option<Response> {
    let html = "text/html; charset=utf-8";
    Some(match name {
        "" => Response::ok(html, list(host, cases)),
        "browser" => Response::ok(html, BROWSER),
        "cases.json" => Response::ok("application/json", json_list(cases)),
        "lab.css" => Response::ok("text/css; charset=utf-8", STYLE),
        "lab.js" => Response::ok("text/javascript; charset=utf-8", SCRIPT),
        _ => return None,
    })
}

/// All cases as JSON, for programs and the page.
pub fn json_list(cases: &[Case]) -> String {
    let all: Vec<_> = cases
        .iter()
        .map(|case| {
            json!({
                "id": case.id,
                "level": case.level,
                "needs": case.needs,
                "what": case.what,
                "rule": case.rule.url(),
                "events": case.event_names(),
                "slow": case.slow,
                "own_port": case.needs_own_port(),
            })
        })
        .collect();
    serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
}

fn list(host: &str, cases: &[Case]) -> String {
    let mut rows = String::new();
    let run = random_run();
    for case in cases {
        let Case { id, what, level, needs, rule, .. } = case;
        let (level, needs) = (level_name(*level), needs_name(*needs));
        let _ = writeln!(
            rows,
            "<tr id=\"{id}\"><th scope=\"row\"><a href=\"#{id}\">{id}</a></th><td>{level}</td>\
             <td>{}{}</td><td>{needs}</td><td><a href=\"{}\">{rule}</a></td>\
             <td><code>curl -N http://{}/lab/{id}/{run}</code></td></tr>",
            escaped(what),
            if case.slow { " (only on demand)" } else { "" },
            rule.url(),
            escaped(host),
        );
    }
    LIST.replace("{{rows}}", &rows).replace("{{n}}", &cases.len().to_string())
}

/// The level in one word.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::Policy => "policy",
        Level::Info => "info",
    }
}

/// To which clients a case applies.
pub fn needs_name(needs: Needs) -> &'static str {
    match needs {
        Needs::Parser => "all",
        Needs::Http => "HTTP clients",
        Needs::Reconnect => "clients that reconnect",
    }
}

/// The name of a run that nobody else uses or guesses.
fn random_run() -> String {
    // The keys of `RandomState` are random.
    format!("{:016x}", RandomState::new().hash_one(0))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    #[test]
    fn the_list_has_a_row_a_link_and_a_run_of_its_own_for_each_case() {
        let page = list("lab.example.org:8002", cases::all());
        for case in cases::all() {
            assert!(page.contains(&format!("<tr id=\"{}\">", case.id)), "{}", case.id);
        }
        let run = |page: &str| {
            let (_, rest) = page.split_once("http://lab.example.org:8002/lab/p-basic/")?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        let again = list("lab.example.org:8002", cases::all());
        assert!(run(&page).is_some_and(|run| run.len() == 16));
        assert_ne!(run(&page), run(&again), "two readers of the page share no run");
        assert!(!list("<b>", cases::all()).contains("<b>"), "a host is not markup");
    }
}
