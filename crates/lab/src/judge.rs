//! Judges a run by the rules of its case.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::case::{Case, Level, Reported, Script};
use crate::log::{Heard, Log};
use crate::rule::Rule;
use crate::script::END_OF_CASE;

/// A run in which nothing happens for this long is over. Clients may wait longer than `retry` says; most
/// wait at most 10 s at first.
const PATIENCE: Duration = Duration::from_secs(12);
/// The same, if the script has no further answer.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// A run is over after this time, for cases that run by default.
const MAX_TIME: Duration = Duration::from_secs(40);
/// How many characters of a text are quoted.
const MAX_QUOTED: usize = 60;

/// What a client did in a case, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It obeys the rule.
    Ok,
    /// It breaks the rule.
    Fails,
    /// It departs from a rule of `EventSource` from which libraries depart on purpose.
    Differs,
    /// The case asks for nothing.
    Recorded,
    /// The case does not apply to the client.
    Skipped,
    /// It is not known yet.
    Running,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Ok => "ok",
            Outcome::Fails => "fails",
            Outcome::Differs => "differs",
            Outcome::Recorded => "recorded",
            Outcome::Skipped => "skipped",
            Outcome::Running => "running",
        })
    }
}

/// A reason for an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What the client did.
    pub said: String,
    /// What it should have done.
    pub expected: String,
    pub rule: Rule,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason { said, expected, .. } = self;
        write!(f, "{said}")?;
        if expected.is_empty() { Ok(()) } else { write!(f, ", expected {expected}") }
    }
}

/// Whether a run is over at `now`, the time since it began: nothing can change its outcome, or the
/// client had enough time.
pub fn is_over(case: &Case, log: &Log, now: Duration) -> bool {
    if log.exit.is_some() || log.is_truncated {
        return true;
    }
    let Some(first) = log.requests.first() else { return false };
    let since_first = now.saturating_sub(first.at);
    if let Some((n, within)) = case.expect.at_most
        && (log.n_requests > n || since_first >= within)
    {
        return true;
    }
    if let Some((n, watch)) = case.expect.stops {
        if log.n_requests > n {
            return true;
        }
        let ended = log.requests.get(n - 1).and_then(|request| request.ended);
        if ended.is_some_and(|ended| now >= ended + watch) {
            return true;
        }
    }
    if reports_the_end(log) || first_difference(case, log).is_some() {
        return true;
    }
    if !case.slow && since_first > MAX_TIME {
        return true;
    }
    let watches = case.expect.stops.is_some() || case.expect.at_most.is_some();
    let has_more = match &case.script {
        Script::Replies(replies) | Script::Redirected(_, replies) => {
            watches || log.n_replies < replies.len()
        }
        Script::Loop => true,
        Script::Feed(feed) => log.n_replies <= feed.n_ends,
    };
    let all_ended = log.requests.iter().all(|request| request.ended.is_some());
    let patience = if has_more || !all_ended { PATIENCE } else { LAST_PATIENCE };
    log.n_busy == 0 && now.saturating_sub(log.changed_at) > patience
}

/// The outcome of a run that is over, and the reasons for it.
pub fn judge(case: &Case, log: &Log) -> (Outcome, Vec<Reason>) {
    if log.n_requests == 0 {
        let outcome = if case.level == Level::Info { Outcome::Recorded } else { Outcome::Fails };
        return (
            outcome,
            vec![reason(case, format!("never connected{}", ending(log)), "a request")],
        );
    }
    if log.is_truncated {
        let said = "the client reported more than this lab remembers";
        return (Outcome::Skipped, vec![reason(case, said, "")]);
    }
    if compares_ids(case) && !log.heard.is_empty() && log.heard.iter().all(|it| it.id.is_none()) {
        return (Outcome::Skipped, vec![reason(case, "the client reports no ids", "")]);
    }
    if let Some(n_reported) = is_waiting(case, log) {
        let said =
            format!("the client backs off: it reported {n_reported} events, all as expected");
        return (Outcome::Skipped, vec![reason(case, said, "")]);
    }
    let reasons = reasons(case, log);
    let outcome = match case.level {
        Level::Info => Outcome::Recorded,
        _ if reasons.is_empty() => Outcome::Ok,
        Level::Policy => Outcome::Differs,
        Level::Should | Level::Must => Outcome::Fails,
    };
    (outcome, reasons)
}

/// How many events of a feed the client reported, if it reconnects more and more slowly: clients may
/// wait longer than `retry` says. This counts only if the last pause was long: a client with a short one
/// would have come back.
fn is_waiting(case: &Case, log: &Log) -> Option<usize> {
    let Script::Feed(_) = case.script else { return None };
    let n_reported = reported(case, log).count();
    let has_more = case.expect.reports.as_ref().is_some_and(|all| n_reported < all.len());
    let [.., before, last] = &log.requests[..] else { return None };
    let last_pause = last.at.saturating_sub(before.ended?);
    let waits = log.exit.is_none() && first_difference(case, log).is_none();
    (has_more && waits && !reports_the_end(log) && last_pause * 3 > PATIENCE).then_some(n_reported)
}

fn reason(case: &Case, said: impl Into<String>, expected: impl Into<String>) -> Reason {
    Reason { said: said.into(), expected: expected.into(), rule: case.rule }
}

fn reasons(case: &Case, log: &Log) -> Vec<Reason> {
    let expect = &case.expect;
    let mut reasons = Vec::new();
    let mut add = |said: String, expected: String| reasons.push(reason(case, said, expected));
    if let Some((said, expected)) = first_difference(case, log) {
        add(said, expected);
    } else {
        let n_reported = reported(case, log).count();
        let n_expected = expect.reports.as_ref().map_or(0, Vec::len);
        if n_reported < n_expected {
            let missing = &expect.reports.as_ref().map_or("", |reports| &reports[n_reported].data);
            add(
                format!("reported {n_reported} of {n_expected} events{}", ending(log)),
                format!("{} next", quoted(missing)),
            );
        } else if expect.reaches_end && !reports_the_end(log) {
            let requests = requests(log.n_requests);
            add(
                format!("did not report the last event, after {requests}{}", ending(log)),
                format!("`{END_OF_CASE}`"),
            );
        }
    }
    if expect.first_request
        && let Some(first) = log.requests.first()
    {
        let accept = first.accept.as_deref().unwrap_or("nothing");
        if first.method != "GET" {
            add(format!("the first request is a {}", first.method), "GET".into());
        }
        if !accept.contains("text/event-stream") {
            add(format!("the first request accepts {accept}"), "text/event-stream".into());
        }
        if first.last_event_id.is_some() {
            add("the first request has a Last-Event-ID".into(), "none".into());
        }
    }
    for (number, expected) in &expect.last_event_ids {
        // A request that was not made is reported above.
        let Some(request) = log.requests.get(number - 1) else { continue };
        let seen = request.last_event_id.as_deref().map(String::from_utf8_lossy);
        // An empty header says the same as none.
        let is_right = seen.as_deref().unwrap_or("") == expected.unwrap_or("");
        if !is_right {
            let name = |id: Option<&str>| id.map_or("none".into(), quoted);
            add(
                format!("Last-Event-ID of request {number} was {}", name(seen.as_deref())),
                name(*expected),
            );
        }
    }
    for pause in &expect.pauses {
        let Some(request) = log.requests.get(pause.before - 1) else { continue };
        let Some(ended) = log.requests[pause.before - 2].ended else { continue };
        let waited = request.at.saturating_sub(ended);
        let said = || format!("waited {} ms before request {}", waited.as_millis(), pause.before);
        // Timers may fire a little early.
        if waited + Duration::from_millis(15) < pause.at_least {
            add(said(), format!("at least {} ms", pause.at_least.as_millis()));
        } else if let Some(at_most) = pause.at_most
            && waited > at_most
        {
            let asked = pause.at_least.as_millis();
            add(said(), format!("{asked} ms, and less than {} ms", at_most.as_millis()));
        }
    }
    if let Some((n, _)) = expect.stops
        && log.n_requests > n
    {
        let ended = log.requests.get(n - 1).and_then(|request| request.ended);
        let pause = log.requests.get(n).zip(ended);
        let after = pause.map_or(String::new(), |(request, ended)| {
            format!(" after {} ms", request.at.saturating_sub(ended).as_millis())
        });
        add(format!("requested again{after}"), "no further request".into());
    }
    if let Some((n, within)) = expect.at_most
        && log.n_requests > n
        && let (Some(first), Some(last)) = (log.requests.first(), log.requests.last())
    {
        let time = log.changed_at.max(last.at).saturating_sub(first.at).as_millis();
        add(
            format!("{} in {time} ms", requests(log.n_requests)),
            format!("at most {n} in {} s", within.as_secs()),
        );
    }
    if expect.at_once && log.was_in_time.first() == Some(&false) {
        add("reported the event only after more bytes arrived".into(), "at once".into());
    }
    reasons
}

fn requests(n: usize) -> String {
    format!("{n} {}", if n == 1 { "request" } else { "requests" })
}

/// How the client ended, and what it said about that.
fn ending(log: &Log) -> String {
    let exit = log.exit.as_ref().map(|exit| format!("; the client {exit}"));
    let error = log.errors.last().map(|error| format!("; it says {}", quoted(error)));
    exit.unwrap_or_default() + &error.unwrap_or_default()
}

fn compares_ids(case: &Case) -> bool {
    case.expect.reports.iter().flatten().any(|reported| reported.id.is_some())
}

fn is_the_end(heard: &Heard) -> bool {
    heard.data == END_OF_CASE
}

fn reports_the_end(log: &Log) -> bool {
    log.heard.iter().any(is_the_end)
}

/// What the client reported that counts, up to the end of the case.
fn reported<'a>(case: &'a Case, log: &'a Log) -> impl Iterator<Item = &'a Heard> {
    let counts = |heard: &&Heard| !case.expect.ignores.contains(&&*heard.event);
    log.heard.iter().take_while(|heard| !is_the_end(heard)).filter(counts)
}

/// Compares the reported events with the expected ones. Returns the first that differs: the reported
/// event, and the expected one.
fn first_difference(case: &Case, log: &Log) -> Option<(String, String)> {
    let expected = case.expect.reports.as_ref()?;
    reported(case, log).enumerate().find_map(|(i, heard)| {
        let expected = expected.get(i);
        let is_right = expected.is_some_and(|reported| {
            let id_is_right = match (&reported.id, &heard.id) {
                (Some(expected), Some(id)) => expected == id,
                _ => true,
            };
            reported.event == heard.event && reported.data == heard.data && id_is_right
        });
        if is_right {
            return None;
        }
        let with_id = expected.is_some_and(|reported| reported.id.is_some());
        let id = heard.id.as_deref().filter(|_| with_id);
        let said = format!("event {} was {}", i + 1, named(&heard.event, &heard.data, id));
        let expected = expected.map_or("no event".into(), |Reported { event, data, id }| {
            named(event, data, id.as_deref())
        });
        Some((said, expected))
    })
}

fn named(event: &str, data: &str, id: Option<&str>) -> String {
    let mut text = quoted(data);
    if event != "message" {
        text += &format!(" of type {}", quoted(event));
    }
    if let Some(id) = id {
        text += &format!(" with id {}", quoted(id));
    }
    text
}

/// A text in backticks, with escapes, shortened.
fn quoted(text: &str) -> String {
    let mut escaped: String = text.chars().take(MAX_QUOTED).flat_map(printable).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        escaped += &format!("… ({} bytes)", text.len());
    }
    format!("`{escaped}`")
}

fn printable(c: char) -> Box<dyn Iterator<Item = char>> {
    let is_visible = !c.is_control() && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}');
    match c {
        '`' => Box::new("\\x60".chars()),
        _ if is_visible => Box::new(std::iter::once(c)),
        _ => Box::new(c.escape_default()),
    }
}
