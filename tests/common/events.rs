//! A reader of event streams, after
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>.

use std::io::{BufRead, BufReader};

use super::http;

/// One thing that a stream tells its client. A `retry` or a comment counts as soon as its line is
/// complete, an event at its blank line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Retry(u64),
    Comment,
    Event {
        name: String,
        id: Option<String>,
        data: String,
    },
    /// A blank line after a block without data, of which some real clients make an empty event.
    NoData,
}

impl Frame {
    /// The data of a `sync`.
    pub fn sync(&self) -> Option<serde_json::Value> {
        match self {
            Frame::Event { name, id: None, data } if name == "sync" => {
                Some(serde_json::from_str(data).unwrap())
            }
            _ => None,
        }
    }

    /// Why the server ends the stream, from a `closing`.
    pub fn closing(&self) -> Option<String> {
        match self {
            Frame::Event { name, id: None, data } if name == "closing" => {
                let data: serde_json::Value = serde_json::from_str(data).unwrap();
                Some(data["reason"].as_str().unwrap().into())
            }
            _ => None,
        }
    }

    /// The id of a roll, as in `41-1763861860123`, and its dice.
    pub fn roll(&self) -> Option<(String, String)> {
        match self {
            Frame::Event { name, id: Some(id), data } if name == "message" => {
                Some((id.clone(), data.clone()))
            }
            _ => None,
        }
    }
}

/// An open stream; iterates over its frames until it ends or breaks.
pub struct Stream {
    lines: BufReader<Box<dyn std::io::Read + Send>>,
    counts_unfinished: bool,
    block: Block,
}

/// The fields since the last blank line.
#[derive(Default)]
struct Block {
    name: String,
    id: Option<String>,
    data: Option<String>,
}

/// How a stream is requested.
#[derive(Clone, Copy, Default)]
pub struct Ask<'a> {
    pub last_event_id: Option<&'a str>,
    pub post: bool,
}

impl Stream {
    /// Opens the stream at `url`. Fails if the server cannot be reached, or answers with anything
    /// but a stream.
    pub fn open(url: &str, ask: Ask<'_>) -> Result<Stream, String> {
        let accept = ("Accept", "text/event-stream");
        let answer = if ask.post {
            let mut request = http().post(url).header(accept.0, accept.1);
            if let Some(id) = ask.last_event_id {
                request = request.header("Last-Event-ID", id);
            }
            request.send_empty()
        } else {
            let mut request = http().get(url).header(accept.0, accept.1);
            if let Some(id) = ask.last_event_id {
                request = request.header("Last-Event-ID", id);
            }
            request.call()
        };
        let response = answer.map_err(|error| error.to_string())?;
        let content_type = response.headers().get("content-type").cloned();
        let is_stream = content_type.is_some_and(|value| value == "text/event-stream");
        if response.status() != 200 || !is_stream {
            return Err(format!("expected an event stream, got {response:?}"));
        }
        Ok(Stream::read(response.into_body().into_reader()))
    }

    /// Reads a stream from a response body.
    pub fn read(body: impl std::io::Read + Send + 'static) -> Stream {
        // A small buffer, so that nothing is read long before the test takes it.
        let lines = BufReader::with_capacity(512, Box::new(body) as _);
        Stream { lines, counts_unfinished: false, block: Block::default() }
    }

    /// Broken on purpose: an event that the end of the stream cuts off counts as complete.
    pub fn counting_unfinished_events(self) -> Stream {
        Stream { counts_unfinished: true, ..self }
    }

    /// The next `n` frames.
    pub fn frames(&mut self, n: usize) -> Vec<Frame> {
        let frames: Vec<Frame> = self.by_ref().take(n).collect();
        assert_eq!(frames.len(), n, "expected {n} frames before the end, got {frames:#?}");
        frames
    }

    /// The next `n` rolls; other frames are skipped.
    pub fn rolls(&mut self, n: usize) -> Vec<(String, String)> {
        let rolls: Vec<_> = self.filter_map(|frame| frame.roll()).take(n).collect();
        assert_eq!(rolls.len(), n, "expected {n} rolls before the end, got {rolls:#?}");
        rolls
    }
}

impl Iterator for Stream {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        loop {
            let mut line = String::new();
            // An event counts only with its blank line.
            let ended = !matches!(self.lines.read_line(&mut line), Ok(1..));
            if ended && !self.counts_unfinished {
                return None;
            }
            let line = line.trim_end_matches('\n');
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            let block = &mut self.block;
            match field {
                "" if line.is_empty() => {
                    let Block { name, id, data } = std::mem::take(block);
                    return match data {
                        Some(data) => {
                            let name = if name.is_empty() { "message".into() } else { name };
                            Some(Frame::Event { name, id, data })
                        }
                        None if ended => None,
                        None => Some(Frame::NoData),
                    };
                }
                "" => return Some(Frame::Comment),
                "retry" => match value.parse() {
                    Ok(retry) => return Some(Frame::Retry(retry)),
                    Err(_) if ended => {}
                    Err(_) => panic!("expected a retry in milliseconds, got `{value}`"),
                },
                "event" => block.name = value.into(),
                "id" => block.id = Some(value.into()),
                "data" => {
                    block.data = Some(match block.data.take() {
                        Some(data) => format!("{data}\n{value}"),
                        None => value.into(),
                    });
                }
                _ if ended => {}
                field => panic!("an event stream has no field `{field}`"),
            }
        }
    }
}
