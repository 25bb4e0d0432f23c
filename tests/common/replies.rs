//! A server that answers, or misbehaves, by a script of the event-stream lab.

use std::net::{Ipv4Addr, SocketAddr};

use lab::case::{Case, Script};
use lab::log::Request;
use lab::rule::PROCESSING;
use lab::script::{Framing, Reply};
use lab::server::{Audience, Lab, Run};
use tokio::runtime::Runtime;

use super::{TIMEOUT, wait_for};

/// A server that answers the requests with these replies in turn, at every path. Further ones get no
/// answer: their connections are closed. It ends when it is dropped.
pub struct Replies {
    run: Run,
    _lab: Lab,
    _runtime: Runtime,
}

impl Replies {
    pub fn start(replies: impl IntoIterator<Item = Reply>) -> Replies {
        let replies = replies.into_iter().chain([Reply::hang_up()]).collect();
        let case = Case::must("replies", "replies in turn", PROCESSING).own_port();
        let cases = Vec::leak(vec![case.script(Script::Replies(replies))]);
        let runtime = Runtime::new().unwrap();
        let inside = runtime.enter();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let lab = Lab::start(address, cases, Audience::Local).unwrap();
        let run = lab.begin(&cases[0], "test", 0).unwrap();
        drop(inside);
        Replies { run, _lab: lab, _runtime: runtime }
    }

    /// A URL on it.
    pub fn url(&self, path: &str) -> String {
        let (server, _) = self.run.url.split_once("/lab/").unwrap();
        format!("{server}{path}")
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.run.session.requests()
    }

    /// Waits until there are `n` requests.
    pub fn wait_for_requests(&self, n: usize) -> Vec<Request> {
        wait_for(&format!("{n} requests"), || {
            let requests = self.requests();
            (requests.len() >= n).then_some(requests)
        })
    }
}

/// A response whose body ends with the connection.
pub fn reply(status: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let fields = format!("Content-Type: {content_type}\r\n");
    Reply::with_head(Framing::Plain, &format!("HTTP/1.1 {status}"), &fields).write(body)
}

/// A file of rolls whose last one has the id `last`, perhaps incomplete.
pub fn rolls_file(content_type: &str, last: i64, text: &str) -> Reply {
    reply("200 OK", &format!("{content_type}\r\nRollcast-Last: {last}"), text)
}

/// An event stream that begins with these events, and stays open.
pub fn event_stream(events: &str) -> Reply {
    Reply::until_close().write(events).pause(TIMEOUT)
}

/// No answer. The connection stays open.
pub fn silence() -> Reply {
    Reply::hang_up().pause(TIMEOUT)
}
