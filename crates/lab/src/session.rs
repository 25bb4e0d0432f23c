//! A run: one client's connections to one case.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::case::{Case, Redirect, Script};
use crate::feed::Feed;
use crate::judge::is_over;
use crate::log::{Heard, Log, MAX_REMEMBERED, Request};
use crate::request;
use crate::script::Reply;
use crate::sessions::Bounds;
use crate::verdict::Verdict;

/// The seed of a run that names none.
pub const DEFAULT_SEED: u64 = 1;

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
    /// The port of its own, if it has one.
    own_port: OnceLock<u16>,
}

#[derive(Debug, Default)]
struct State {
    log: Log,
    /// The log and the time when the run ended. Later requests and events do not change the verdict.
    judged: Option<(Log, Duration)>,
    n_bytes: u64,
    n_heard_bytes: usize,
}

/// What the answers of a run wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// How many events the client has reported.
    pub n_heard: usize,
    /// Answers end now.
    pub is_over: bool,
}

/// The target of a redirect: the same run.
#[derive(Clone, Debug, Default)]
pub struct Next {
    /// The whole address.
    pub url: String,
    pub path: String,
}

/// An answer to play, and the number of its request, from 0.
#[derive(Debug)]
pub struct Taken {
    pub reply: Cow<'static, Reply>,
    pub number: usize,
}

impl Session {
    /// A run without requests.
    pub fn new(case: &'static Case, bounds: Bounds, seed: u64, address: IpAddr) -> Session {
        let begun = Instant::now();
        let (state, progress) = (Mutex::default(), watch::Sender::default());
        let own_port = OnceLock::new();
        Session { case, bounds, seed, address, begun, state, progress, own_port }
    }

    /// The address of the client that began it.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The time since it began.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// For how long it still exists.
    pub fn time_left(&self) -> Duration {
        self.bounds.max_age.saturating_sub(self.age())
    }

    /// The port of its own, which `open` opens if there is none yet.
    ///
    /// # Errors
    ///
    /// Those of `open`.
    pub fn own_port<E>(&self, open: impl FnOnce() -> Result<u16, E>) -> Result<u16, E> {
        match self.own_port.get() {
            Some(port) => Ok(*port),
            None => open().map(|port| *self.own_port.get_or_init(|| port)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the log, notes the time, and wakes answers that wait.
    fn change<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state();
        let now = self.begun.elapsed();
        state.settle(self.case, now);
        state.log.changed_at = now;
        let result = change(&mut state, now);
        let n_heard = state.log.heard.len();
        drop(state);
        self.progress.send_modify(|progress| progress.n_heard = n_heard);
        result
    }

    /// Notes a request, and returns the answer; `None` if there were too many. `is_moved` says that it
    /// follows a redirect of the case. `next` is the target of a redirect.
    pub fn take(&self, request: &request::Request, is_moved: bool, next: &Next) -> Option<Taken> {
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
                    target: request.target(),
                    last_event_id: request.last_event_id.clone(),
                    accept: request.accept.clone(),
                });
            }
            log.n_busy += 1;
            let located = |status, target: &str| {
                let fields = format!("Location: {target}\r\nContent-Length: 0\r\n");
                Cow::Owned(Reply::empty(status, &fields))
            };
            let reply = match &self.case.script {
                Script::Redirected(Redirect { status, is_relative }, _) if !is_moved => {
                    located(status, if *is_relative { &next.path } else { &next.url })
                }
                Script::Loop => located("302 Found", &next.url),
                Script::Replies(replies) | Script::Redirected(_, replies) => {
                    let index = log.n_replies.min(replies.len() - 1);
                    log.n_replies += 1;
                    Cow::Borrowed(&replies[index])
                }
                Script::Feed(feed) => {
                    let last = Feed::last(request.last_event_id.as_deref().unwrap_or_default());
                    log.n_replies += 1;
                    Cow::Owned(feed.reply(log.n_replies - 1, last, self.seed))
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

    /// Notes that an answer is over, so that only the client can do something now.
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

    /// Notes whether the client reported its events in time.
    pub fn notes_in_time(&self, was_in_time: bool) {
        self.change(|state, _| state.log.was_in_time.push(was_in_time));
    }

    /// Notes an event that the client reported. If the run has too many bytes of events, the event is
    /// dropped, and the log is marked as truncated.
    pub fn hears(&self, heard: Heard) {
        self.change(|state, now| {
            let n_bytes =
                heard.event.len() + heard.data.len() + heard.id.as_ref().map_or(0, String::len);
            state.n_heard_bytes += n_bytes;
            if state.n_heard_bytes <= self.bounds.max_heard {
                state.log.heard.push(heard);
                state.log.heard_at.push(now);
            } else {
                state.log.is_truncated = true;
            }
        });
    }

    /// Notes an error that the client reported.
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

    /// The first requests.
    pub fn requests(&self) -> Vec<Request> {
        self.state().log.requests.clone()
    }

    /// Whether there was a request.
    pub fn is_connected(&self) -> bool {
        self.state().log.n_requests > 0
    }

    /// Whether nothing can change the outcome.
    pub fn is_over(&self) -> bool {
        let mut state = self.state();
        state.settle(self.case, self.begun.elapsed());
        state.judged.is_some()
    }

    /// Ends all answers of the run.
    pub fn close(&self) {
        self.progress.send_modify(|progress| progress.is_over = true);
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Verdict {
        let mut state = self.state();
        let now = self.begun.elapsed();
        state.settle(self.case, now);
        let (log, now) = state.judged.clone().unwrap_or_else(|| (state.log.clone(), now));
        drop(state);
        Verdict::of(self.case, log, now)
    }
}

impl State {
    /// Keeps the log for the verdict if the run is over.
    fn settle(&mut self, case: &Case, now: Duration) {
        if self.judged.is_none() && is_over(case, &self.log, now) {
            self.judged = Some((self.log.clone(), now));
        }
    }
}
