//! The runs of a lab, with bounds. A run is one client's connections to one case.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::case::{Case, Level, Script};
use crate::feed::Feed;
use crate::judge::{Outcome, Reason, is_over, judge};
use crate::log::{Heard, Log, MAX_REMEMBERED, Request};
use crate::request;
use crate::script::Reply;

/// What a lab allows.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many runs there are at once.
    pub max_runs: usize,
    /// How many of them come from one address.
    pub max_runs_per_address: usize,
    /// How long a run exists.
    pub max_age: Duration,
    /// How many requests a run answers.
    pub max_requests: usize,
    /// How many bytes of bodies a run sends.
    pub max_bytes: u64,
    /// How many bytes of events it remembers.
    pub max_heard: usize,
    /// How many connections there are at once.
    pub max_connections: usize,
}

impl Bounds {
    /// For clients on this machine.
    pub const LOCAL: Bounds = Bounds {
        max_runs: 1_024,
        max_runs_per_address: 1_024,
        max_age: Duration::from_secs(900),
        max_requests: 20_000,
        max_bytes: 1 << 30,
        max_heard: 64 << 20,
        max_connections: 4_096,
    };

    /// For clients that nobody knows.
    pub const PUBLIC: Bounds = Bounds {
        max_runs: 64,
        max_runs_per_address: 8,
        max_age: Duration::from_secs(60),
        max_requests: 400,
        max_bytes: 16 << 20,
        max_heard: 64 << 10,
        max_connections: 512,
    };
}

/// A run.
#[derive(Debug)]
pub struct Session {
    pub case: &'static Case,
    bounds: Bounds,
    seed: u64,
    address: IpAddr,
    begun: Instant,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct State {
    log: Log,
    n_bytes: u64,
    n_heard_bytes: usize,
}

/// What the answers of a run wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// How many events the client has told.
    pub n_heard: usize,
    /// Answers end now.
    pub is_over: bool,
}

/// A verdict, as `GET /lab/<case>/<run>/verdict` sends it.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub case: &'static str,
    pub level: Level,
    pub verdict: Outcome,
    pub because: Vec<Reason>,
    /// How many requests there were. Only the first 50 are listed.
    pub n_requests: usize,
    pub requests: Vec<RequestReport>,
    pub heard: Vec<Heard>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// From the first request to the last event, in seconds.
    pub seconds: f64,
    /// The most memory that the client used, in bytes, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// A request in a verdict. Times are since the first request, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct RequestReport {
    pub at_ms: u64,
    pub ended_ms: Option<u64>,
    pub last_event_id: Option<String>,
    pub accept: Option<String>,
}

/// An answer to play, and the number of its request, from 0.
#[derive(Debug)]
pub struct Taken {
    pub reply: Reply,
    pub number: usize,
}

impl Session {
    fn new(case: &'static Case, bounds: Bounds, seed: u64, address: IpAddr) -> Session {
        let begun = Instant::now();
        let (state, progress) = (Mutex::default(), watch::Sender::default());
        Session { case, bounds, seed, address, begun, state, progress }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the log, notes the time, and wakes answers that wait.
    fn change<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.begun.elapsed();
        let mut state = self.state();
        state.log.changed_at = now;
        let result = change(&mut state, now);
        let n_heard = state.log.heard.len();
        drop(state);
        self.progress.send_modify(|progress| progress.n_heard = n_heard);
        result
    }

    /// Notes a request, and returns the answer; `None` if there were too many. `is_moved` says that it
    /// follows a redirect of the case, to `next`.
    pub fn take(&self, request: &request::Request, is_moved: bool, next: &str) -> Option<Taken> {
        self.change(|state, at| {
            let log = &mut state.log;
            let number = log.n_requests;
            if number >= self.bounds.max_requests {
                return None;
            }
            log.n_requests += 1;
            if log.requests.len() < MAX_REMEMBERED {
                log.requests.push(Request {
                    at,
                    ended: None,
                    method: request.method.clone(),
                    last_event_id: request.last_event_id.clone(),
                    accept: request.accept.clone(),
                });
            }
            log.n_busy += 1;
            let located = |status| {
                Reply::empty(status, &format!("Location: {next}\r\nContent-Length: 0\r\n"))
            };
            let reply = match &self.case.script {
                Script::Redirected(status, _) if !is_moved => located(status),
                Script::Loop => located("302 Found"),
                Script::Replies(replies) | Script::Redirected(_, replies) => {
                    let index = log.n_replies.min(replies.len() - 1);
                    log.n_replies += 1;
                    replies[index].clone()
                }
                Script::Feed(feed) => {
                    let last = Feed::last(request.last_event_id.as_deref().unwrap_or_default());
                    log.n_replies += 1;
                    feed.reply(log.n_replies - 1, last, self.seed)
                }
            };
            Some(Taken { reply, number })
        })
    }

    /// Counts bytes that are to be sent. Returns whether they may be.
    pub fn spend(&self, n_bytes: usize) -> bool {
        let mut state = self.state();
        state.n_bytes += n_bytes as u64;
        state.n_bytes <= self.bounds.max_bytes
    }

    /// Notes that an answer is written, so that only the client can do something now.
    pub fn rests(&self) {
        self.change(|state, _| state.log.n_busy -= 1);
    }

    /// Notes that the answer to a request ends now.
    pub fn ends(&self, number: usize) {
        self.change(|state, now| {
            if let Some(request) = state.log.requests.get_mut(number) {
                request.ended.get_or_insert(now);
            }
        });
    }

    /// Notes whether the client told its events in time.
    pub fn notes_in_time(&self, was_in_time: bool) {
        self.change(|state, _| state.log.was_in_time.push(was_in_time));
    }

    /// Notes an event that the client told. Events beyond the bound are dropped.
    pub fn hears(&self, heard: Heard) {
        self.change(|state, now| {
            let n_bytes = heard.event.len() + heard.data.len() + heard.id.as_ref().map_or(0, String::len);
            state.n_heard_bytes += n_bytes + size_of::<Heard>();
            if state.n_heard_bytes <= self.bounds.max_heard {
                state.log.heard.push(heard);
                state.log.heard_at.push(now);
            }
        });
    }

    /// Notes an error that the client told.
    pub fn hears_error(&self, error: &str) {
        self.change(|state, _| {
            if state.log.errors.len() < 10 {
                state.log.errors.push(error.chars().take(500).collect());
            }
        });
    }

    /// Notes how the client ended.
    pub fn exits(&self, how: String) {
        self.change(|state, _| state.log.exit = Some(how));
    }

    /// Waits until this is true, or the run is over. `false`: not within `time`.
    pub async fn wait(&self, time: Duration, is_done: impl Fn(Progress) -> bool) -> bool {
        let mut progress = self.progress.subscribe();
        let wait = progress.wait_for(|progress| progress.is_over || is_done(*progress));
        tokio::time::timeout(time, wait).await.is_ok()
    }

    /// Whether there was a request.
    pub fn is_connected(&self) -> bool {
        self.state().log.n_requests > 0
    }

    /// Whether nothing can change the outcome.
    pub fn is_over(&self) -> bool {
        is_over(self.case, &self.state().log, self.begun.elapsed())
    }

    /// Ends all answers of the run.
    pub fn close(&self) {
        self.progress.send_modify(|progress| progress.is_over = true);
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Verdict {
        let log = self.state().log.clone();
        let over = is_over(self.case, &log, self.begun.elapsed());
        let (verdict, because) =
            if over { judge(self.case, &log) } else { (Outcome::Running, Vec::new()) };
        let first = log.requests.first().map_or(Duration::ZERO, |request| request.at);
        let since_first = |time: Duration| time.saturating_sub(first);
        let millis = |time| u64::try_from(since_first(time).as_millis()).unwrap_or(u64::MAX);
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let requests = log.requests.iter().map(|request| RequestReport {
            at_ms: millis(request.at),
            ended_ms: request.ended.map(millis),
            last_event_id: request.last_event_id.as_ref().map(text),
            accept: request.accept.clone(),
        });
        let last_heard = log.heard_at.last().copied().unwrap_or(first);
        Verdict {
            case: self.case.id,
            level: self.case.level,
            verdict,
            because,
            n_requests: log.n_requests,
            requests: requests.collect(),
            heard: log.heard,
            errors: log.errors,
            seconds: since_first(last_heard).as_secs_f64(),
            memory: None,
        }
    }
}

/// The runs of a lab.
#[derive(Debug)]
pub struct Sessions {
    cases: &'static [Case],
    bounds: Bounds,
    runs: Mutex<HashMap<(&'static str, String), Arc<Session>>>,
}

/// Why there is no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRun {
    #[error("there is no such case")]
    NoCase,
    #[error("expected the name of a run, 4 to 32 of a-z, 0-9 and -")]
    Name,
    #[error("there are too many runs: try again in a minute")]
    TooMany,
    #[error("too many runs from this address: try again in a minute")]
    TooManyHere,
}

impl Sessions {
    /// No runs yet.
    pub fn new(cases: &'static [Case], bounds: Bounds) -> Sessions {
        Sessions { cases, bounds, runs: Mutex::default() }
    }

    /// All cases.
    pub fn cases(&self) -> &'static [Case] {
        self.cases
    }

    /// What is allowed.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The run with this name, which begins if there is none.
    ///
    /// # Errors
    ///
    /// There is no such case, or it is no name, or there are too many runs.
    pub fn begin(
        &self,
        case: &str,
        run: &str,
        seed: u64,
        address: IpAddr,
    ) -> Result<Arc<Session>, NoRun> {
        let case = self.cases.iter().find(|it| it.id == case).ok_or(NoRun::NoCase)?;
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(4..=32).contains(&run.len()) || !run.bytes().all(is_allowed) {
            return Err(NoRun::Name);
        }
        let mut runs = self.runs();
        if let Some(session) = runs.get(&(case.id, run.to_owned())) {
            return Ok(session.clone());
        }
        if runs.len() >= self.bounds.max_runs {
            return Err(NoRun::TooMany);
        }
        let n_here = runs.values().filter(|session| session.address == address).count();
        if n_here >= self.bounds.max_runs_per_address {
            return Err(NoRun::TooManyHere);
        }
        let session = Arc::new(Session::new(case, self.bounds, seed, address));
        runs.insert((case.id, run.to_owned()), session.clone());
        Ok(session)
    }

    /// The run with this name.
    pub fn find(&self, case: &str, run: &str) -> Option<Arc<Session>> {
        let case = self.cases.iter().find(|it| it.id == case)?;
        self.runs().get(&(case.id, run.to_owned())).cloned()
    }

    /// Forgets a run, and ends its answers.
    pub fn forget(&self, session: &Session) {
        session.close();
        self.runs().retain(|_, it| !std::ptr::eq(&**it, session));
    }

    /// The runs, without those that are too old.
    fn runs(&self) -> MutexGuard<'_, HashMap<(&'static str, String), Arc<Session>>> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|_, session| {
            let is_young = session.begun.elapsed() < self.bounds.max_age;
            if !is_young {
                session.close();
            }
            is_young
        });
        runs
    }
}
