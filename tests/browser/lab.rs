//! The live page's reader of the stream, `static/js/listener.js`, against the servers of the
//! event-stream lab, with rolls as the events of the cases.

use std::net::{Ipv4Addr, SocketAddr};

use lab::case::{Case, Level, Needs};
use lab::cases;
use lab::judge::Outcome;
use lab::run::select;
use lab::script::Reply;
use lab::server::{Audience, Lab, Run};
use serde_json::json;

use crate::browser::Browser;
use crate::common::lab_rolls::{NO_ROLLS, TEXTS, with_rolls};
use crate::common::{Instance, wait_for};
use crate::proxy::{Answer, Proxy};

/// A case counts as failed if it fails this often in a row.
const N_TRIES: usize = 3;

/// The page. `follow` follows a stream of rolls and reports each roll to the lab.
const PAGE: &str = r#"<!doctype html>
<title>A reader of streams</title>
<link rel="icon" href="data:,">
<script type="module">
import { Listener } from "/js/listener.js";

const TEXTS = [TEXT];

function event({ cursor, dice: [{ name, result }] }) {
    const data = name === "1D100" ? `payload ${result}` : TEXTS[result - 1];
    return JSON.stringify({ event: "message", data, id: cursor.split("-")[0] });
}

// Closes and reconnects at once, without a cursor, as the article's own listener does.
class Broken {
    constructor(url, cursor, on) {
        this.open = () => {
            const source = new EventSource(url);
            source.onerror = () => { source.close(); this.open(); };
            source.onmessage = ({ lastEventId: cursor, data }) => {
                const [[name, result]] = Object.entries(JSON.parse(data));
                on.onRoll({ cursor, dice: [{ name, result }] });
            };
        };
    }
}

window.follow = (url, broken) => {
    let reported = Promise.resolve();
    const on = {
        onState() {},
        onSync() {},
        onRoll: (roll) => {
            reported = reported.then(() => fetch(url.heard, { method: "POST", body: event(roll) }));
        },
    };
    new (broken ? Broken : Listener)(url.stream, "0", on).open();
};
</script>"#;

/// The cases that apply.
fn cases() -> &'static [Case] {
    let applies = |case: &&Case| {
        let is_left_out = NO_ROLLS.iter().any(|(id, _)| *id == case.id);
        case.needs == Needs::Reconnect && !is_left_out
    };
    let all = select(cases::all(), "*", Needs::Reconnect, Level::Info, false);
    let all = all.into_iter().filter(applies).map(|case| match case.id {
        // An EventSource stops after each of these. The page then opens another one, after a pause:
        // a visitor must not have to reload it because a server was being restarted.
        "r-204" => {
            let last = Reply::stream().write("data: b\n\n").end_of_case();
            let mut case = case.clone().reply(last).reports(["a", "b"]).to_the_end();
            case.expect.stops = None;
            case.waits(3, 500)
        }
        "r-502" | "r-401" => case.clone().level(Level::Must).waits(3, 500),
        _ => case.clone(),
    });
    Vec::leak(all.map(|case| with_rolls(&case).own_port()).collect())
}

/// Follows the stream of each case at the same time, and returns those that fail, with the reasons.
fn failures(
    browser: &Browser,
    lab: &Lab,
    cases: &[&'static Case],
    broken: bool,
    run: &str,
) -> Vec<(&'static Case, String)> {
    let mut open: Vec<(&'static Case, Run)> =
        cases.iter().map(|case| (*case, lab.begin(case, run, 1).unwrap())).collect();
    for (case, run_) in &open {
        let heard = format!("http://{}/lab/{}/{run}/heard", lab.address(), case.id);
        let url = json!({ "stream": run_.url, "heard": heard });
        browser.read(&format!("window.follow({url}, {broken}) ?? null"));
    }
    let mut failures = Vec::new();
    wait_for("the ends of the runs", || {
        open.retain(|(case, run)| {
            if !run.session.is_over() {
                return true;
            }
            let verdict = run.session.verdict();
            if !matches!(verdict.verdict, Outcome::Ok | Outcome::Recorded) {
                let because: Vec<String> =
                    verdict.because.iter().map(ToString::to_string).collect();
                failures.push((*case, format!("{}: {}", case.id, because.join("; "))));
            }
            false
        });
        open.is_empty().then_some(())
    });
    failures
}

/// Opens the page in a browser, and starts a lab.
fn in_browser(cases: &'static [Case], test: impl FnOnce(&Browser, &Lab)) {
    let browser = Browser::open();
    let page = PAGE.replace("[TEXT]", &json!(TEXTS).to_string());
    // No server is needed: the scripts are served as they are.
    let scripts = Proxy::new(&Instance::new(""), move |path| match path {
        "/lab" => Answer::Page(page.clone()),
        path => {
            let file = format!("{}/static{path}", env!("CARGO_MANIFEST_DIR"));
            Answer::Script(std::fs::read_to_string(file).unwrap_or_default())
        }
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let lab = Lab::start(address, cases, Audience::Local).unwrap();
    browser.goto(&scripts.url("/lab"));
    browser.wait_for("window.follow !== undefined");
    test(&browser, &lab);
}

#[test]
fn the_page_passes_every_case_of_reconnecting_that_applies() {
    let cases = cases();
    in_browser(cases, |browser, lab| {
        let mut failed: Vec<(&Case, String)> =
            cases.iter().map(|case| (case, String::new())).collect();
        for n in 0..N_TRIES {
            let again: Vec<&Case> = failed.iter().map(|(case, _)| *case).collect();
            failed = failures(browser, lab, &again, false, &format!("run-{n}"));
        }
        let reasons: Vec<String> = failed.into_iter().map(|(_, reason)| reason).collect();
        assert!(reasons.is_empty(), "{} of {}: {reasons:#?}", reasons.len(), cases.len());
    });
}

/// Control: a page that closes a lost stream and opens another one at once, without a cursor.
#[test]
fn a_page_that_reconnects_as_the_article_does_fails() {
    let cases = cases();
    let ids = ["r-resume", "r-retry", "r-502", "r-storm-hangup", "r-exactly"];
    in_browser(cases, |browser, lab| {
        let some: Vec<&Case> = cases.iter().filter(|case| ids.contains(&case.id)).collect();
        let failed = failures(browser, lab, &some, true, "broken");
        let mut failed: Vec<&str> = failed.iter().map(|(case, _)| case.id).collect();
        failed.sort_by_key(|id| ids.iter().position(|it| it == id));
        assert_eq!(failed, ids);
    });
}
