//! The pages of the event-stream lab: they run cases in each browser, and fit any screen.

use std::net::{Ipv4Addr, SocketAddr};

use lab::server::{Audience, Lab};
use tokio::runtime::Runtime;

use crate::accessibility::{findings, load_axe};
use crate::browser::Browser;
use crate::looks::set_width;
use crate::session::{Colours, Scheme, Session, in_each_browser};

/// A lab on a free port.
struct Running {
    lab: Lab,
    _runtime: Runtime,
}

impl Running {
    fn start(audience: Audience) -> Running {
        let runtime = Runtime::new().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let guard = runtime.enter();
        let lab = Lab::start(address, lab::cases::all(), audience).unwrap();
        drop(guard);
        Running { lab, _runtime: runtime }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.lab.address())
    }
}

/// The rows of the table: case, and verdict with its reason.
fn verdicts(browser: &dyn Session) -> Vec<(String, String)> {
    browser.wait_for("document.documentElement.dataset.done === 'true'");
    let rows = "[...document.querySelectorAll('#rows tr')].map(
        ({ cells }) => [cells[0].textContent, `${cells[2].textContent} ${cells[4].textContent}`.trim()])";
    let mut rows: Vec<(String, String)> = serde_json::from_value(browser.read(rows)).unwrap();
    rows.sort();
    rows
}

#[test]
fn a_browser_is_judged_by_what_it_reports_and_requests() {
    in_each_browser(|browser| {
        let lab = Running::start(Audience::Local);
        let cases = "i-sticky,p-basic,p-crlf-split,p-names,r-resume,s-ctype-html";
        browser.goto(&lab.url(&format!("/lab/browser?cases={cases}")));
        let expected: Vec<(String, String)> =
            cases.split(',').map(|id| (id.into(), "ok".into())).collect();
        assert_eq!(verdicts(browser), expected);
        let report = browser.read("JSON.parse(globalThis.labReport).cases.length");
        assert_eq!(report, 6, "the report to download has all cases");

        // Control: a browser that does not report its events fails.
        let deaf = "EventSource.prototype.addEventListener = () => {}";
        browser.goto(&lab.url("/lab/"));
        browser.read(&format!("({deaf}, 0)"));
        let run = "import('/lab/lab.js'), 0";
        let body = "<p id=progress></p><a id=download hidden></a><table><tbody id=rows></table>";
        browser.read(&format!("(document.body.innerHTML = `{body}`, 0)"));
        browser.read("(history.replaceState(null, '', '/lab/browser?cases=p-basic'), 0)");
        browser.read(&format!("({run})"));
        let [(case, verdict)] = &verdicts(browser)[..] else { panic!("one case") };
        assert!(case == "p-basic" && verdict.starts_with("fails "), "{case} {verdict}");
    });
}

#[test]
fn a_public_lab_has_room_for_one_run_after_the_other() {
    let browser = Browser::open();
    let lab = Running::start(Audience::Public);
    // Many more than the 8 runs that an address may have at once.
    browser.goto(&lab.url("/lab/browser?cases=p-*,i-*"));
    let (ok, other): (Vec<_>, Vec<_>) =
        verdicts(&browser).into_iter().partition(|(_, verdict)| verdict == "ok");
    assert!(ok.len() > 40, "{other:?}");
    // What a browser does wrong, and events that are larger than a public lab remembers.
    let expected = ["p-1m", "p-64k", "p-charset", "p-lines"];
    assert!(other.iter().map(|(id, _)| &**id).eq(expected), "{other:?}");
    let is_explained = |(id, verdict): &(String, String)| {
        id == "p-charset" || verdict.starts_with("skipped expected a body")
    };
    assert!(other.iter().all(is_explained), "{other:?}");
}

/// Firefox gives up here: to it, a refused connection to another origin is an error of CORS.
#[test]
fn a_case_that_closes_its_port_has_one_of_its_own() {
    let browser = Browser::open();
    let lab = Running::start(Audience::Local);
    browser.goto(&lab.url("/lab/browser?cases=r-away"));
    assert_eq!(verdicts(&browser), [("r-away".to_owned(), "ok".to_owned())]);
}

#[test]
fn the_pages_of_the_lab_fit_any_screen_and_have_no_violation() {
    let browser = Browser::open();
    let lab = Running::start(Audience::Local);
    for path in ["/lab/", "/lab/browser?cases=p-basic,i-sticky"] {
        browser.goto(&lab.url(path));
        if path.contains("browser") {
            verdicts(&browser);
        }
        load_axe(&browser);
        for (scheme, width) in
            [(Scheme::Light, 1280), (Scheme::Light, 360), (Scheme::Dark, 360), (Scheme::Dark, 1280)]
        {
            browser.set_scheme(scheme);
            set_width(width, &browser);
            let found = findings(&browser);
            assert!(found.is_empty(), "{path} {scheme:?} {width}: {found:#?}");
            let fits = "document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(browser.read(fits), true, "{path} scrolls sideways at {width}");
        }
    }
}
