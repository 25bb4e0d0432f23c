//! A case: what the server does, what the client must do then, and by which rule.

use std::time::Duration;

use serde::Serialize;

use crate::feed::Feed;
use crate::rule::Rule;
use crate::script::{End, Reply};

/// How much a rule matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is asked: what the client does is recorded.
    Info,
    /// Normative for `EventSource`. Libraries depart from it on purpose.
    Policy,
    /// Not normative, but operators and users depend on it.
    Should,
    /// Normative.
    Must,
}

/// What a client must be able to do for a case to apply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Needs {
    /// It turns the bytes of a body into events.
    Parser,
    /// It decides which responses are streams.
    Http,
    /// It reconnects.
    Reconnect,
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// A short name: a letter for the kind, and words.
    pub id: &'static str,
    /// What the server does, or what is asked of the client.
    pub what: &'static str,
    pub level: Level,
    pub needs: Needs,
    pub rule: Rule,
    pub script: Script,
    pub expect: Expect,
    /// It takes longer than 10 s, so it runs only on demand.
    pub slow: bool,
    /// Each run has a port of its own, at which every path is its stream.
    pub own_port: bool,
}

/// How the server answers.
#[derive(Clone, Debug)]
pub enum Script {
    /// One reply a request, in this order. The last one is repeated.
    Replies(Vec<Reply>),
    /// The same, after a redirect: only requests to its target get a reply.
    Redirected(Redirect, Vec<Reply>),
    /// A redirect to the next number, without end.
    Loop,
    /// A feed that continues after the id that the client sends.
    Feed(Feed),
}

/// A redirect.
#[derive(Clone, Copy, Debug)]
pub struct Redirect {
    /// Such as `302 Found`.
    pub status: &'static str,
    /// Its `Location` is a path, not a whole address.
    pub is_relative: bool,
}

/// An event that the client must report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reported {
    pub event: String,
    pub data: String,
    /// The id, if the case asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl From<&str> for Reported {
    fn from(data: &str) -> Reported {
        ("message", data).into()
    }
}

impl From<String> for Reported {
    fn from(data: String) -> Reported {
        Reported { event: "message".into(), data, id: None }
    }
}

impl From<(&str, &str)> for Reported {
    fn from((event, data): (&str, &str)) -> Reported {
        Reported { event: event.into(), data: data.into(), id: None }
    }
}

/// What the client must do.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Exactly these events, in this order, apart from the end of the case. `None`: not compared.
    pub reports: Option<Vec<Reported>>,
    /// Events with these names may be reported, or not.
    pub ignores: &'static [&'static str],
    /// The client reports the end of the case.
    pub reaches_end: bool,
    /// `Last-Event-ID` of the request with this number, counted from 1; `None`: no header.
    pub last_event_ids: Vec<(usize, Option<&'static str>)>,
    /// How long the client waits before the request with this number.
    pub pauses: Vec<Pause>,
    /// The first request is a GET that accepts streams and has no id.
    pub first_request: bool,
    /// There are exactly this many requests: further ones are looked for during this time.
    pub stops: Option<(usize, Duration)>,
    /// Within this time, there are at most this many requests.
    pub at_most: Option<(usize, Duration)>,
    /// The events are reported before the server writes anything else.
    pub at_once: bool,
}

/// The time between the end of an answer and the next request.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// The number of the request, counted from 1.
    pub before: usize,
    pub at_least: Duration,
    /// Only where a rule is obeyed or not, at least 1 s below the default of browsers, 3 s.
    pub at_most: Option<Duration>,
}

impl Case {
    /// A case that must be passed by every client that parses.
    pub fn must(id: &'static str, what: &'static str, rule: Rule) -> Case {
        let script = Script::Replies(Vec::new());
        let expect = Expect::default();
        let (level, needs) = (Level::Must, Needs::Parser);
        Case { id, what, level, needs, rule, script, expect, slow: false, own_port: false }
    }

    /// Sets the level.
    pub fn level(mut self, level: Level) -> Case {
        self.level = level;
        self
    }

    /// It applies to clients that decide which responses are streams.
    pub fn http(mut self) -> Case {
        self.needs = Needs::Http;
        self
    }

    /// It applies to clients that reconnect.
    pub fn reconnect(mut self) -> Case {
        self.needs = Needs::Reconnect;
        self
    }

    /// It runs only on demand.
    pub fn slow(mut self) -> Case {
        self.slow = true;
        self
    }

    /// Each run has a port of its own, for clients that choose the path themselves.
    pub fn own_port(mut self) -> Case {
        self.own_port = true;
        self
    }

    /// Sends these bytes, and the end of the case.
    pub fn sends(self, bytes: impl Into<Vec<u8>>) -> Case {
        self.reply(Reply::stream().write(bytes).end_of_case()).to_the_end()
    }

    /// Sends these pieces, each with a write of its own, and the end of the case.
    pub fn sends_pieces(self, pieces: &[&[u8]]) -> Case {
        self.reply(Reply::stream().pieces(pieces).end_of_case()).to_the_end()
    }

    /// Answers the next request so.
    pub fn reply(mut self, reply: Reply) -> Case {
        match &mut self.script {
            Script::Replies(replies) | Script::Redirected(_, replies) => replies.push(reply),
            Script::Loop | Script::Feed(_) => unreachable!("these scripts have no replies"),
        }
        self
    }

    /// Answers in this way.
    pub fn script(mut self, script: Script) -> Case {
        self.script = script;
        self
    }

    /// The client must report exactly these events.
    pub fn reports<T: Into<Reported>>(mut self, events: impl IntoIterator<Item = T>) -> Case {
        self.expect.reports = Some(events.into_iter().map(Into::into).collect());
        self
    }

    /// The client must report exactly these data with these ids.
    pub fn reports_ids(self, events: &[(&str, &str)]) -> Case {
        let reported =
            |(data, id): &(&str, &str)| Reported { id: Some((*id).into()), ..(*data).into() };
        let events: Vec<Reported> = events.iter().map(reported).collect();
        self.reports(events)
    }

    /// The client must report no event.
    pub fn reports_nothing(self) -> Case {
        self.reports::<&str>([])
    }

    /// The client may report events with these names, or not.
    pub fn ignores(mut self, names: &'static [&'static str]) -> Case {
        self.expect.ignores = names;
        self
    }

    /// The client must report the end of the case.
    pub fn to_the_end(mut self) -> Case {
        self.expect.reaches_end = true;
        self
    }

    /// The request with this number must have this `Last-Event-ID`.
    pub fn last_event_id(mut self, request: usize, id: &'static str) -> Case {
        self.expect.last_event_ids.push((request, Some(id)));
        self
    }

    /// The request with this number must have no `Last-Event-ID`.
    pub fn no_last_event_id(mut self, request: usize) -> Case {
        self.expect.last_event_ids.push((request, None));
        self
    }

    /// The client must wait at least this long before the request with this number.
    pub fn waits(mut self, before: usize, at_least_ms: u64) -> Case {
        let at_least = Duration::from_millis(at_least_ms);
        self.expect.pauses.push(Pause { before, at_least, at_most: None });
        self
    }

    /// The client must wait within these bounds before the request with this number.
    pub fn waits_between(mut self, before: usize, at_least_ms: u64, at_most_ms: u64) -> Case {
        let at_least = Duration::from_millis(at_least_ms);
        let at_most = Some(Duration::from_millis(at_most_ms));
        self.expect.pauses.push(Pause { before, at_least, at_most });
        self
    }

    /// There must be no request beyond this many. They are looked for during this time.
    pub fn stops(mut self, after: usize, watch_ms: u64) -> Case {
        self.expect.stops = Some((after, Duration::from_millis(watch_ms)));
        self
    }

    /// There must be at most this many requests within this time.
    pub fn at_most(mut self, requests: usize, within_ms: u64) -> Case {
        self.expect.at_most = Some((requests, Duration::from_millis(within_ms)));
        self
    }

    /// The first request must be a GET that accepts streams and has no id.
    pub fn checks_first_request(mut self) -> Case {
        self.expect.first_request = true;
        self
    }

    /// The events must be reported before the server writes anything else.
    pub fn at_once(mut self) -> Case {
        self.expect.at_once = true;
        self
    }

    /// Whether each run needs a port of its own, perhaps because the case closes it for a while.
    pub fn needs_own_port(&self) -> bool {
        let is_away = |reply: &Reply| matches!(reply.end, End::Away(_));
        self.own_port
            || matches!(&self.script, Script::Replies(replies) if replies.iter().any(is_away))
    }

    /// The names of the events that the client must listen to, apart from `message`.
    pub fn event_names(&self) -> Vec<&str> {
        let reported = self.expect.reports.iter().flatten().map(|reported| &*reported.event);
        let mut names: Vec<&str> = reported.filter(|name| *name != "message").collect();
        names.dedup();
        names
    }
}
