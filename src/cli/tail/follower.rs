//! Follows a stream over any number of connections: where to continue, when to reconnect, and
//! which rolls are missing. It knows connections only by the items that they send.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use event_stream::parser::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::cli::tail::connection::Received;
use crate::cli::tail::line::{LineFormat, parse_roll};
use crate::cursor::Cursor;
use crate::roll::RollId;
use crate::text::shortened;

/// The pause after a first failed attempt; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest pause between failed attempts.
const MAX_RETRY: Duration = Duration::from_secs(30);
/// The bounds of the pause that a server asks for.
const MIN_SERVER_RETRY: Duration = Duration::from_millis(50);
const MAX_SERVER_RETRY: Duration = Duration::from_secs(60);

/// Writes the rolls of a stream to `out`, and passes everything else to `notice`.
pub struct Follower<W, N> {
    format: LineFormat,
    out: W,
    notice: N,
    /// The last roll; `None` until the server has said where the stream starts.
    cursor: Option<Cursor>,
    /// The pause after a stream ends, as the server asked for.
    retry: Duration,
    n_gaps: u64,
}

/// The data of a `sync` event. See `docs/protocol.md`.
#[derive(Deserialize)]
struct SyncData {
    mode: String,
    reason: Option<String>,
    head: String,
    replay: i64,
    lost: Option<i64>,
}

impl<W: Write, N: FnMut(String)> Follower<W, N> {
    /// Follows after `cursor`; `None` if only the server knows where its stream starts.
    pub fn new(cursor: Option<Cursor>, format: LineFormat, out: W, notice: N) -> Follower<W, N> {
        Follower { format, out, notice, cursor, retry: FIRST_RETRY, n_gaps: 0 }
    }

    /// How many times rolls were missing.
    pub fn n_gaps(&self) -> u64 {
        self.n_gaps
    }

    /// Follows connection after connection, until nobody reads the output. `connect` opens one
    /// that starts after a cursor. A connection that is silent for `silence` is given up.
    ///
    /// # Errors
    ///
    /// The first connection is refused, the server asks its clients to stop, or the output cannot be
    /// written.
    pub async fn follow(
        &mut self,
        mut connect: impl FnMut(Option<Cursor>) -> mpsc::Receiver<Received>,
        silence: Duration,
    ) -> anyhow::Result<()> {
        let start = || Backoff::new(FIRST_RETRY, MAX_RETRY);
        let (mut was_open, mut backoff) = (false, start());
        loop {
            let mut connection = connect(self.cursor);
            let mut is_open = false;
            let why = loop {
                match timeout(silence, connection.recv()).await {
                    Ok(Some(Received::Frames(frames))) => {
                        is_open = true;
                        match self.write(frames) {
                            Ok(()) => {}
                            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                                return Ok(());
                            }
                            Err(error) => {
                                return Err(error).context("cannot write to standard output");
                            }
                        }
                    }
                    Ok(Some(Received::Refused(error))) if !was_open || error.asks_to_stop() => {
                        return Err(error.into());
                    }
                    Ok(Some(Received::Refused(error))) => {
                        break format!("{:#}", anyhow::Error::new(error));
                    }
                    Ok(Some(Received::Ended(why))) => break why,
                    Ok(None) => break "the thread that reads the stream ended".into(),
                    Err(_elapsed) => break format!("silent for {} s", silence.as_secs_f64()),
                }
            };
            let pause = if is_open {
                (was_open, backoff) = (true, start());
                self.retry
            } else {
                backoff.next_pause()
            };
            (self.notice)(format!("{why}; reconnecting in {:.1} s", pause.as_secs_f64()));
            sleep(pause).await;
        }
    }

    fn write(&mut self, frames: Vec<Frame>) -> io::Result<()> {
        let mut text = String::new();
        for frame in frames {
            match frame {
                Frame::Retry(millis) => {
                    let retry = Duration::from_millis(millis);
                    self.retry = retry.clamp(MIN_SERVER_RETRY, MAX_SERVER_RETRY);
                }
                Frame::Event { name, data, .. } if name == "sync" => self.sync(&data),
                Frame::Event { name, data, .. } if name == "busy" => {
                    (self.notice)(format!("the server is busy: {}", shortened(&data)));
                }
                Frame::Event { name, id: Some(id), data } if name == "message" => {
                    self.roll(&id, &data, &mut text);
                }
                // Only rolls move the cursor.
                Frame::Event { .. } | Frame::Id(_) | Frame::Comment => {}
            }
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Learns how many rolls are lost, and after which roll the stream continues.
    fn sync(&mut self, data: &str) {
        let sync: Result<SyncData, _> = serde_json::from_str(data);
        let parsed = sync.ok().and_then(|sync| Some((sync.head.parse::<Cursor>().ok()?, sync)));
        let Some((head, SyncData { mode, reason, replay, lost, .. })) = parsed else {
            (self.notice)(format!("not a sync: {}", shortened(data)));
            return;
        };
        let reason = reason.unwrap_or(mode.clone());
        match lost {
            Some(0) => {}
            Some(n_lost) => self.gap(format_args!("{} lost ({reason})", rolls(n_lost))),
            None => self.gap(format_args!(
                "the cursor is {reason}: new rolls follow, and the number of missing rolls is \
                 unknown"
            )),
        }
        // When the stream resumes, our own cursor says more: it has the time of its roll.
        if mode != "resumed" || self.cursor.is_none() {
            let start = match replay {
                0 => head,
                replay => RollId(head.id.0.saturating_sub(replay)).into(),
            };
            self.cursor = Some(start);
        }
    }

    fn roll(&mut self, id: &str, data: &str, text: &mut String) {
        let Some(roll) = parse_roll(id, data) else {
            (self.notice)(format!("not a roll: {} {}", shortened(id), shortened(data)));
            return;
        };
        if let Some(last) = self.cursor {
            if roll.id <= last.id {
                return;
            }
            let n_missing = roll.id.0 - last.id.next().0;
            if n_missing > 0 {
                self.gap(format_args!("{} missing before roll {}", rolls(n_missing), roll.id));
            }
        }
        self.cursor = Some(roll.cursor());
        self.format.write(&roll, text);
    }

    fn gap(&mut self, what: fmt::Arguments<'_>) {
        self.n_gaps += 1;
        (self.notice)(format!("gap: {what}"));
    }
}

fn rolls(n: i64) -> String {
    format!("{n} {}", if n == 1 { "roll" } else { "rolls" })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use http::StatusCode;
    use tokio::time::Instant;

    use super::*;
    use crate::remote::RemoteError;

    const SILENCE: Duration = Duration::from_secs(5);

    /// Takes `n_lines` lines and is closed then.
    struct Output {
        text: String,
        n_lines: usize,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.text.push_str(std::str::from_utf8(bytes).expect("text"));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            let is_closed = self.text.lines().count() >= self.n_lines;
            if is_closed { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        }
    }

    /// What following a script of connections led to.
    struct Followed {
        lines: Vec<String>,
        notices: Vec<String>,
        /// The cursor with which each connection was opened.
        cursors: Vec<Option<String>>,
        /// The time between opening a connection and opening the next one.
        pauses: Vec<Duration>,
        n_gaps: u64,
        end: anyhow::Result<()>,
    }

    /// Follows these connections, each open after its last item unless it ended, until `n_lines`
    /// lines are written.
    async fn follow(
        start: Option<&str>,
        n_lines: usize,
        connections: Vec<Vec<Received>>,
    ) -> Followed {
        let notices = RefCell::new(Vec::new());
        let mut opened: Vec<(Instant, Option<String>)> = Vec::new();
        let mut connections = connections.into_iter();
        let mut still_open = Vec::new();
        let cursor = start.map(|cursor| cursor.parse().expect("a cursor"));
        let output = Output { text: String::new(), n_lines };
        let notice = |text| notices.borrow_mut().push(text);
        let mut follower = Follower::new(cursor, LineFormat::Text, output, notice);
        let connect = |cursor: Option<Cursor>| {
            opened.push((Instant::now(), cursor.map(|cursor| cursor.to_string())));
            let (sender, receiver) = mpsc::channel(16);
            for item in connections.next().expect("one more connection than the script has") {
                sender.try_send(item).expect("room in the queue");
            }
            still_open.push(sender);
            receiver
        };
        let end = follower.follow(connect, SILENCE).await;
        let Follower { out, n_gaps, .. } = follower;
        Followed {
            lines: out.text.lines().map(|line| line.trim_start().replace("  ", " ")).collect(),
            notices: notices.into_inner(),
            cursors: opened.iter().map(|(_, cursor)| cursor.clone()).collect(),
            pauses: opened.windows(2).map(|pair| pair[1].0 - pair[0].0).collect(),
            n_gaps,
            end,
        }
    }

    fn sync(json: &str) -> Frame {
        Frame::Event { name: "sync".into(), id: None, data: json.into() }
    }

    fn roll(id: i64) -> Frame {
        let (name, data) = ("message".into(), r#"{"1D6":4}"#.into());
        Frame::Event { name, id: Some(format!("{id}-1795392000123")), data }
    }

    fn line(id: i64) -> String {
        format!("{id} 2026-11-23T00:00:00.123Z 1D6 4")
    }

    fn ended() -> Received {
        Received::Ended("the server ended the stream".into())
    }

    fn refused(status: StatusCode) -> Received {
        let seen = format!("{status}, no content type");
        let expected = "an event stream";
        let url = "http://a.example/stream/".into();
        Received::Refused(RemoteError::Unexpected { expected, url, status, seen })
    }

    const LIVE: &str = r#"{"mode":"live","head":"4-1795392000004","replay":0,"lost":0}"#;

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_given_up_and_resumed_after_the_last_roll() {
        let first = vec![Frame::Retry(700), sync(LIVE), roll(5)];
        let again = vec![roll(5), roll(6)];
        let connections = vec![vec![Received::Frames(first)], vec![Received::Frames(again)]];
        let followed = follow(None, 2, connections).await;
        assert_eq!(followed.lines, [line(5), line(6)], "each roll once");
        assert_eq!(followed.cursors, [None, Some("5-1795392000123".into())]);
        assert_eq!(followed.pauses, [SILENCE + Duration::from_millis(700)]);
        assert_eq!(followed.notices, ["silent for 5 s; reconnecting in 0.7 s"]);
        assert_eq!((followed.n_gaps, followed.end.is_ok()), (0, true));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_30_s_while_the_server_refuses() {
        let mut connections = vec![vec![Received::Frames(vec![sync(LIVE)]), ended()]];
        connections.extend((0..8).map(|_| vec![refused(StatusCode::BAD_GATEWAY)]));
        connections.push(vec![Received::Frames(vec![roll(5)])]);
        let followed = follow(None, 1, connections).await;
        assert_eq!(followed.pauses[0], FIRST_RETRY, "the server asked for none");
        let ranges = [1, 2, 4, 8, 16, 30, 30, 30].map(Duration::from_secs);
        for (pause, range) in followed.pauses[1..].iter().zip(ranges) {
            let slack = Duration::from_millis(2);
            assert!(*pause >= range / 2 && *pause <= range + slack, "{:?}", followed.pauses);
        }
        assert_eq!(followed.pauses.len(), 9);
        assert!(followed.notices[1].contains("got 502 Bad Gateway"), "{:?}", followed.notices);
        assert_eq!(followed.n_gaps, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_refuses_the_first_connection_is_an_error() {
        let followed = follow(None, 1, vec![vec![refused(StatusCode::BAD_GATEWAY)]]).await;
        let error = followed.end.expect_err("nothing to follow").to_string();
        assert!(error.contains("expected an event stream"), "{error}");
        assert_eq!(followed.cursors.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn status_204_stops_it_at_any_time() {
        let first = vec![Received::Frames(vec![sync(LIVE), roll(5)]), ended()];
        let followed = follow(None, 2, vec![first, vec![refused(StatusCode::NO_CONTENT)]]).await;
        assert_eq!(followed.lines, [line(5)]);
        let error = followed.end.expect_err("the server asked to stop").to_string();
        assert!(error.contains("got 204 No Content"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_that_a_server_asks_for_is_bounded() {
        let asks = |millis| vec![Received::Frames(vec![Frame::Retry(millis), sync(LIVE)]), ended()];
        let last = vec![Received::Frames(vec![roll(5)])];
        let times = [0, 3_000_000_000, u64::MAX];
        let connections = times.map(asks).into_iter().chain([last]).collect();
        let followed = follow(None, 1, connections).await;
        let [shortest, longest] = [MIN_SERVER_RETRY, MAX_SERVER_RETRY];
        assert_eq!(followed.pauses, [shortest, longest, longest]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_sync_says_where_to_continue_and_what_is_missing() {
        // The cursor at the start, the sync, the cursor of a reconnect before any roll, the gaps.
        let table = [
            (None, LIVE, "4-1795392000004", 0),
            (None, r#"{"mode":"resumed","head":"9-1","replay":2,"lost":0}"#, "7", 0),
            (None, r#"{"mode":"resumed","head":"9-1","replay":0,"lost":0}"#, "9-1", 0),
            (Some("3-5"), r#"{"mode":"resumed","head":"9-1","replay":6,"lost":0}"#, "3-5", 0),
            (
                Some("3"),
                r#"{"mode":"reset","reason":"pruned","head":"9-1","replay":2,"lost":4}"#,
                "7",
                1,
            ),
            (
                Some("3"),
                r#"{"mode":"reset","reason":"unknown","head":"9-1","replay":0,"lost":null}"#,
                "9-1",
                1,
            ),
            (Some("3"), r#"{"mode":"resumed"}"#, "3", 0),
        ];
        for (start, json, cursor, n_gaps) in table {
            let cut = vec![Received::Frames(vec![sync(json)]), ended()];
            let next: i64 = cursor.split('-').next().and_then(|id| id.parse().ok()).expect("an id");
            let resumed = vec![Received::Frames(vec![roll(next + 1)])];
            let followed = follow(start, 1, vec![cut, resumed]).await;
            assert_eq!(followed.cursors[1].as_deref(), Some(cursor), "{json}");
            assert_eq!(followed.lines, [line(next + 1)], "{json}");
            assert_eq!(followed.n_gaps, n_gaps, "{json}: {:?}", followed.notices);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_roll_that_does_not_arrive_is_a_gap_though_no_sync_says_so() {
        let frames = vec![sync(LIVE), roll(7), roll(6), roll(8)];
        let followed = follow(None, 2, vec![vec![Received::Frames(frames)]]).await;
        assert_eq!(followed.lines, [line(7), line(8)]);
        assert_eq!(followed.notices, ["gap: 2 rolls missing before roll 7"]);
        assert_eq!(followed.n_gaps, 1);
    }
}
