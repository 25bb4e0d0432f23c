//! The pages: the list of cases, and the page that runs them in a browser.

use std::fmt::Write;

use serde_json::json;

use crate::case::{Case, Level, Needs};
use crate::server::Response;

const STYLE: &str = include_str!("page/lab.css");
const SCRIPT: &str = include_str!("page/lab.js");
const BROWSER: &str = include_str!("page/browser.html");
const LIST: &str = include_str!("page/list.html");

/// The page or file with this name. `host` is that of the request.
pub fn file(name: &str, host: &str, cases: &[Case]) -> Option<Response> {
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
    for case in cases {
        let Case { id, what, level, needs, rule, .. } = case;
        let (level, needs) = (level_name(*level), needs_name(*needs));
        let _ = write!(
            rows,
            "<tr id=\"{id}\"><th scope=\"row\"><a href=\"#{id}\">{id}</a></th><td>{level}</td>\
             <td>{}{}</td><td>{needs}</td><td><a href=\"{}\">{rule}</a></td>\
             <td><code>curl -N http://{}/lab/{id}/curl-{id}</code></td></tr>\n",
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
