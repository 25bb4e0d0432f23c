//! Clients that read the history page by page or download it while the server is killed. They
//! retry until they get a response.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::{Instance, http};
use crate::oracle::{Log, roll_of_line, roll_text};

/// How many rolls before the newest known one a download starts.
const N_BACK: i64 = 3_000;
/// Pages that one pass from the newest page back reads.
const N_PAGES: usize = 8;

/// How a pager reads the history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// `/rolls` from the newest page back, following the page's links.
    Pages,
    /// All of `/api/rolls?after=`, page after page.
    JsonPages,
    /// `/api/rolls.ndjson`, again and again. Resumes a download that a kill truncates.
    Downloads,
    /// Broken on purpose: the same, but accepts truncated downloads.
    CarelessDownloads,
}

/// A client on its own thread, until it is stopped.
pub struct Pager {
    log: Arc<Mutex<Log>>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

struct Walker {
    base: String,
    agent: ureq::Agent,
    log: Arc<Mutex<Log>>,
    over: Arc<AtomicBool>,
}

impl Way {
    /// All correct ways.
    pub const ALL: [Way; 3] = [Way::Pages, Way::JsonPages, Way::Downloads];
}

impl Pager {
    pub fn start(instance: &Instance, way: Way) -> Pager {
        let (log, over) = (Arc::new(Mutex::new(Log::after(0))), Arc::new(AtomicBool::new(false)));
        let walker =
            Walker { base: instance.url(""), agent: http(), log: log.clone(), over: over.clone() };
        let thread = thread::spawn(move || match way {
            Way::Pages => walker.walk_back(),
            Way::JsonPages => walker.follow_pages(),
            Way::Downloads => walker.download(false),
            Way::CarelessDownloads => walker.download(true),
        });
        Pager { log, over, thread }
    }

    /// The id of the last roll that it has seen.
    pub fn last(&self) -> i64 {
        self.log.lock().unwrap().last()
    }

    pub fn stop(self) -> Log {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        Arc::into_inner(self.log).unwrap().into_inner().unwrap()
    }
}

impl Walker {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// A complete response, retried until there is one; `None` if the pager is stopped.
    fn get(&self, path: &str) -> Option<String> {
        while !self.is_over() {
            let answer = self.agent.get(format!("{}{path}", self.base)).call();
            if let Ok(mut answer) = answer
                && answer.status() == 200
                && let Ok(body) = answer.body_mut().read_to_string()
            {
                return Some(body);
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        None
    }

    fn walk_back(&self) {
        while !self.is_over() {
            let (mut path, mut rolls) = ("/rolls".to_string(), Vec::new());
            for _ in 0..N_PAGES {
                let Some(page) = self.get(&path) else { return };
                rolls.extend(rows(&page));
                match older(&page) {
                    Some(link) => path = link,
                    None => break,
                }
            }
            let Some((oldest, _)) = rolls.last() else { continue };
            let mut log = self.log.lock().unwrap();
            log.continue_after(oldest - 1);
            rolls.into_iter().rev().for_each(|(id, text)| log.see(id, text));
        }
    }

    fn follow_pages(&self) {
        while !self.is_over() {
            let last = self.log.lock().unwrap().last();
            let Some(page) = self.get(&format!("/api/rolls?after={last}&limit=1000")) else {
                return;
            };
            let page: serde_json::Value = serde_json::from_str(&page).unwrap();
            let mut log = self.log.lock().unwrap();
            for roll in page["rolls"].as_array().unwrap() {
                // In the configured order, which a parsed JSON object does not keep.
                let (id, rolled_at) = (roll["id"].as_i64().unwrap(), roll["rolled_at"].as_str());
                let dice = &roll["dice"];
                let dice = format!(r#"{{"1D6":{},"1D20":{}}}"#, dice["1D6"], dice["1D20"]);
                log.see(id, roll_text(id, rolled_at.unwrap(), &dice));
            }
            drop(log);
            thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn download(&self, is_careless: bool) {
        while !self.is_over() {
            let mut log = self.log.lock().unwrap();
            let start = (log.last() - N_BACK).max(0);
            log.continue_after(start);
            drop(log);
            // As the README says: a file that ends before its `Rollcast-Last` is truncated. Resume.
            let mut end = None::<i64>;
            while !self.is_over() && end.is_none_or(|end| self.log.lock().unwrap().last() < end) {
                let last = self.log.lock().unwrap().last();
                let after = end.filter(|_| is_careless).unwrap_or(last);
                let path = format!("/api/rolls.ndjson?after={after}");
                let answer = self.agent.get(format!("{}{path}", self.base)).call();
                let Some(answer) = answer.ok().filter(|answer| answer.status() == 200) else {
                    thread::park_timeout(Duration::from_millis(2));
                    continue;
                };
                let named = answer.headers()["rollcast-last"].to_str().unwrap().parse().unwrap();
                end.get_or_insert(named);
                let mut lines = BufReader::new(answer.into_body().into_reader());
                let mut line = String::new();
                while matches!(lines.read_line(&mut line), Ok(1..)) && line.ends_with('\n') {
                    let (id, text) = roll_of_line(line.trim_end()).unwrap();
                    self.log.lock().unwrap().see(id, text);
                    line.clear();
                }
            }
        }
    }
}

/// The rolls on a page, in page order.
fn rows(page: &str) -> Vec<(i64, String)> {
    let between = |text: &str, start: &str, end: &str| -> String {
        let rest = text.split_once(start).unwrap().1;
        rest.split_once(end).unwrap().0.to_string()
    };
    let list = page.split("id=\"rolls\"").nth(1).unwrap().split("</ol>").next().unwrap();
    let row = |row: &str| {
        let dice: Vec<String> = row
            .split("data-die=\"")
            .skip(1)
            .map(|die| {
                let (name, _) = die.split_once('"').unwrap();
                format!("\"{name}\":{}", between(die, "die-result\">", "<"))
            })
            .collect();
        let id = row.split('"').next().unwrap().parse().unwrap();
        let rolled_at = between(row, "datetime=\"", "\"");
        (id, roll_text(id, &rolled_at, &format!("{{{}}}", dice.join(","))))
    };
    list.split("<li id=\"roll-").skip(1).map(row).collect()
}

/// The page's link to older rolls.
fn older(page: &str) -> Option<String> {
    let tag = page.split("<a ").find(|tag| {
        tag.split('>').next().is_some_and(|attributes| attributes.contains("rel=\"next\""))
    })?;
    Some(tag.split("href=\"").nth(1)?.split('"').next()?.replace("&amp;", "&"))
}
