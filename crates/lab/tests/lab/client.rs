//! The reference client: it passes every case. It follows the standard's text step by step, without a
//! library. A mutant of it breaks one rule.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

/// The name of the mutant, or an empty text.
pub const MUTANT: &str = "LAB_MUTANT";

/// The time before a reconnect, until the stream sets another one.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
const MAX_REDIRECTS: usize = 20;
/// Longer than every test.
const FOREVER: Duration = Duration::from_secs(3_600);

/// Whether this client breaks this rule.
fn breaks(rule: &str) -> bool {
    static MUTANT_NAME: OnceLock<String> = OnceLock::new();
    MUTANT_NAME.get_or_init(|| std::env::var(MUTANT).unwrap_or_default()) == rule
}

/// Follows the stream at `LAB_URL`, and prints its events, until the server stops it.
pub fn follow() {
    let url = std::env::var("LAB_URL").expect("LAB_URL");
    // The test harness may have begun a line.
    println!();
    let mut state = State::default();
    let mut n_connections = 0;
    loop {
        n_connections += 1;
        if breaks("hangs-later") && n_connections > 3 {
            sleep(FOREVER);
        }
        match state.connect(&url) {
            Ok(()) => {}
            Err(Stop::Refused) => return,
            Err(Stop::Network(_)) if breaks("stops-after-errors") => return,
            Err(Stop::Network(_)) if breaks("storms-after-errors") => continue,
            Err(Stop::Network(_)) => {}
        }
        if breaks("never-reconnects") {
            return;
        }
        if !breaks("storms") {
            sleep(state.retry.min(FOREVER));
        }
        if breaks("retry-per-connection") {
            state.retry = DEFAULT_RETRY;
        }
    }
}

/// Why a connection ended, apart from its orderly end.
enum Stop {
    /// The response is no stream: the client stops for good.
    Refused,
    Network(#[allow(dead_code, reason = "for a debugger")] io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Network(error)
    }
}

fn broken(what: &str) -> Stop {
    Stop::Network(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// What the client keeps from connection to connection.
struct State {
    last_event_id: String,
    retry: Duration,
}

impl Default for State {
    fn default() -> State {
        let retry = if breaks("retry-zeros") { 3 * DEFAULT_RETRY } else { DEFAULT_RETRY };
        State { last_event_id: String::new(), retry }
    }
}

struct Response {
    status: u16,
    content_type: Option<String>,
    location: Option<String>,
    is_gzip: bool,
    body: Body,
}

impl State {
    /// Reads the stream to its end.
    fn connect(&mut self, url: &str) -> Result<(), Stop> {
        let mut response = request(url, &self.last_event_id)?;
        let mut n_redirects = 0;
        while matches!(response.status, 301 | 302 | 303 | 307 | 308) {
            n_redirects += 1;
            if breaks("redirects") || (n_redirects > MAX_REDIRECTS && !breaks("redirect-loops")) {
                return Err(Stop::Refused);
            }
            let Some(location) = response.location else {
                return if breaks("no-location") { Ok(()) } else { Err(Stop::Refused) };
            };
            let target = if location.starts_with("http://") {
                location
            } else if breaks("relative-location") {
                return Err(Stop::Refused);
            } else {
                let origin_ends = url["http://".len()..].find('/').expect("a path");
                format!("{}{location}", &url[..origin_ends + "http://".len()])
            };
            response = request(&target, &self.last_event_id)?;
        }
        if response.status == 204 && breaks("204") {
            return Ok(());
        }
        let is_right_status = response.status == 200
            || (breaks("any-2xx") && response.status < 300)
            || breaks("any-status");
        if !is_right_status || !is_stream(response.content_type.as_deref()) {
            return Err(Stop::Refused);
        }
        if breaks("id-per-connection") {
            self.last_event_id.clear();
        }
        let is_latin_1 = breaks("charset")
            && response.content_type.is_some_and(|it| it.contains("charset=iso-8859-1"));
        let mut gunzip = Gunzip::default();
        let mut parser = Parser { id: self.last_event_id.clone(), is_latin_1, ..Parser::default() };
        let mut waiting = Vec::new();
        let end = loop {
            let piece = match response.body.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => break Ok(()),
                Err(stop) => break Err(stop),
            };
            let piece =
                if response.is_gzip && !breaks("gzip") { gunzip.feed(&piece) } else { piece };
            if breaks("waits-for-more") {
                // It passes on what it has only when more comes.
                let before = std::mem::replace(&mut waiting, piece);
                parser.feed(&before, self);
            } else {
                parser.feed(&piece, self);
            }
        };
        parser.end(self);
        end
    }
}

/// Whether this content type is that of an event stream.
fn is_stream(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return breaks("any-type") };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if breaks("any-type") {
        true
    } else if breaks("type-exact") {
        content_type == "text/event-stream"
    } else if breaks("type-case") {
        essence == "text/event-stream"
    } else if breaks("type-prefix") {
        content_type.starts_with("text/event-stream")
    } else if breaks("type-contains") {
        content_type.contains("text/event-stream")
    } else {
        essence.eq_ignore_ascii_case("text/event-stream")
    }
}

fn request(url: &str, last_event_id: &str) -> Result<Response, Stop> {
    let (host, path) = url["http://".len()..].split_once('/').expect("a path");
    let stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    for (mutant, millis) in [("times-out-5s", 5_000), ("times-out-50ms", 50)] {
        if breaks(mutant) {
            stream.set_read_timeout(Some(Duration::from_millis(millis)))?;
        }
    }
    let mut head = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n");
    if !breaks("no-accept") {
        head += "Accept: text/event-stream\r\n";
    }
    if !last_event_id.is_empty() && !breaks("no-id") {
        head += &format!("Last-Event-ID: {last_event_id}\r\n");
    }
    (&stream).write_all((head + "\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    loop {
        let response = read_head(reader)?;
        if response.status >= 200 || breaks("no-interim") {
            return Ok(response);
        }
        reader = response.body.reader;
    }
}

fn read_head(mut reader: BufReader<TcpStream>) -> Result<Response, Stop> {
    let mut line = Vec::new();
    let mut next_line = || {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.ends_with(b"\n") { Ok(text) } else { Err(broken("no head")) }
    };
    let status_line = next_line()?;
    let mut words = status_line.split(' ');
    let version = words.next().unwrap_or_default();
    let is_known = version == "HTTP/1.1" || (version == "HTTP/1.0" && !breaks("http-1.0"));
    let status = words.next().and_then(|status| status.parse().ok()).filter(|_| is_known);
    let Some(status) = status else { return Err(broken("no status line")) };
    let (mut content_type, mut location, mut is_gzip) = (None, None, false);
    let mut framing = if breaks("no-close") { Framing::Length(0) } else { Framing::UntilClose };
    loop {
        let line = next_line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        let name = if breaks("field-case") { name.to_owned() } else { name.to_ascii_lowercase() };
        let value = value.trim().to_owned();
        match &*name {
            "content-type" | "Content-Type" => content_type = Some(value),
            "location" | "Location" => location = Some(value),
            "content-encoding" | "Content-Encoding" => is_gzip = value == "gzip",
            "transfer-encoding" | "Transfer-Encoding" => framing = Framing::Chunked,
            "content-length" => {
                framing = Framing::Length(value.parse().map_err(|_| broken("length"))?);
            }
            _ => {}
        }
        // This mutant knows fields only as most servers write them.
        if breaks("field-case") && name == "content-type" {
            content_type = None;
        }
    }
    Ok(Response { status, content_type, location, is_gzip, body: Body { reader, framing } })
}

enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
}

struct Body {
    reader: BufReader<TcpStream>,
    framing: Framing,
}

impl Body {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        match &mut self.framing {
            Framing::UntilClose if breaks("buffers-until-close") => {
                let mut all = Vec::new();
                self.reader.read_to_end(&mut all)?;
                Ok((!all.is_empty()).then_some(all))
            }
            Framing::UntilClose => {
                let piece = self.reader.fill_buf()?.to_vec();
                self.reader.consume(piece.len());
                Ok((!piece.is_empty()).then_some(piece))
            }
            Framing::Length(0) => Ok(None),
            Framing::Length(rest) => {
                let mut piece = self.reader.fill_buf()?.to_vec();
                if piece.is_empty() {
                    return if breaks("short-body") {
                        Err(Stop::Refused)
                    } else {
                        Err(broken("cut"))
                    };
                }
                piece.truncate(*rest);
                self.reader.consume(piece.len());
                *rest -= piece.len();
                Ok(Some(piece))
            }
            Framing::Chunked => self.next_chunk(),
        }
    }

    fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        if line.is_empty() {
            return if breaks("cut-chunks") { Err(Stop::Refused) } else { Err(broken("cut")) };
        }
        let size = line.trim_end();
        let size =
            if breaks("chunk-extensions") { size } else { size.split(';').next().unwrap_or("") };
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            return if breaks("bad-chunks") { Err(Stop::Refused) } else { Err(broken("chunk")) };
        };
        if size == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; size];
        self.reader.read_exact(&mut piece)?;
        self.reader.read_exact(&mut [0; 2])?;
        Ok(Some(piece))
    }
}

/// Decodes gzip that consists of stored blocks, all that the lab sends.
#[derive(Default)]
struct Gunzip {
    bytes: Vec<u8>,
    is_after_header: bool,
}

impl Gunzip {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.bytes.extend_from_slice(bytes);
        if !self.is_after_header && self.bytes.len() >= 10 {
            self.bytes.drain(..10);
            self.is_after_header = true;
        }
        let mut plain = Vec::new();
        while self.is_after_header && self.bytes.len() >= 5 {
            let length = usize::from(u16::from_le_bytes([self.bytes[1], self.bytes[2]]));
            if self.bytes.len() < 5 + length {
                break;
            }
            plain.extend(self.bytes.drain(..5 + length).skip(5));
        }
        plain
    }
}

#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    is_after_return: bool,
    is_started: bool,
    is_latin_1: bool,
    name: String,
    data: Option<String>,
    /// The id for the next event. It counts for a reconnect once the block has ended.
    id: String,
    has_id: bool,
    retry: Option<Duration>,
    n_events_of_read: usize,
    n_data_lines: usize,
    is_given_up: bool,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8], state: &mut State) {
        self.n_events_of_read = 0;
        if breaks("crlf-per-read") {
            self.is_after_return = false;
        }
        if breaks("line-per-read") {
            self.line.clear();
        }
        let decoded;
        let mut bytes = bytes;
        if breaks("decodes-per-read") {
            decoded = String::from_utf8_lossy(bytes).into_owned();
            bytes = decoded.as_bytes();
        }
        if breaks("bom-of-first-read") && !self.is_started && !bytes.starts_with(b"\xef\xbb\xbf") {
            self.is_started = true;
        }
        for &byte in bytes {
            match byte {
                b'\n' if self.is_after_return && !breaks("crlf-twice") => {
                    self.is_after_return = false;
                    if breaks("cr-waits") {
                        self.end_line(state);
                    }
                }
                b'\r' if breaks("only-lf") => self.line.push(byte),
                b'\r' if breaks("cr-waits") => {
                    if self.is_after_return {
                        self.end_line(state);
                    }
                    self.is_after_return = true;
                }
                b'\n' | b'\r' => {
                    self.is_after_return = byte == b'\r';
                    self.end_line(state);
                }
                0x1c..=0x1e | 0x0b | 0x0c if breaks("unicode-lines") => self.end_line(state),
                _ => {
                    if self.is_after_return && breaks("cr-waits") {
                        self.end_line(state);
                    }
                    self.is_after_return = false;
                    self.line.push(byte);
                }
            }
            for (mutant, limit) in [("line-64k", 64 << 10), ("line-1m", 1 << 20)] {
                if breaks(mutant) && self.line.len() > limit {
                    self.line.truncate(limit);
                    self.is_given_up = true;
                }
            }
        }
    }

    fn end_line(&mut self, state: &mut State) {
        let bytes = std::mem::take(&mut self.line);
        if self.is_given_up {
            return;
        }
        let mut line = String::from_utf8_lossy(&bytes).into_owned();
        if self.is_latin_1 {
            line = bytes.iter().map(|byte| char::from(*byte)).collect();
        }
        if breaks("utf8-strict") && std::str::from_utf8(&bytes).is_err() {
            return;
        }
        if breaks("utf8-joins") {
            while line.contains("\u{fffd}\u{fffd}") {
                line = line.replace("\u{fffd}\u{fffd}", "\u{fffd}");
            }
        }
        if breaks("utf8-swallows") && line.ends_with('\u{fffd}') {
            // It takes the line end for a part of the character.
            self.line = bytes;
            return;
        }
        if breaks("drops-nul") {
            line.retain(|c| c != '\0');
        }
        let is_first = !std::mem::replace(&mut self.is_started, true);
        if is_first && !breaks("keeps-bom") || breaks("bom-anywhere") {
            line = line.strip_prefix('\u{feff}').map(String::from).unwrap_or(line);
        }
        if breaks("bom-anywhere") {
            line = line.trim_start_matches('\u{feff}').into();
        }
        self.line_of_text(&line, state);
    }

    fn line_of_text(&mut self, line: &str, state: &mut State) {
        if line.is_empty() {
            self.dispatch(state);
            return;
        }
        let divided =
            if breaks("last-colon") { line.rsplit_once(':') } else { line.split_once(':') };
        let (field, value) = divided.unwrap_or((line, ""));
        let stripped = value.strip_prefix(' ');
        let value = if breaks("needs-space") && stripped.is_none() && !value.is_empty() {
            return;
        } else if breaks("strips-all-spaces") {
            value.trim_start_matches(' ')
        } else if breaks("strips-tab") {
            value.trim_start_matches(['\t', ' '])
        } else if breaks("strips-end") {
            value.trim()
        } else {
            stripped.unwrap_or(value)
        };
        let lower = field.to_ascii_lowercase();
        let field = if breaks("field-capitals") {
            &*lower
        } else if breaks("field-spaces") {
            field.trim()
        } else if breaks("field-prefix") && field.starts_with("data") {
            "data"
        } else {
            field
        };
        match field {
            "" if breaks("comments-dispatch") => self.dispatch(state),
            "event" if value.is_empty() && breaks("event-empty") => {}
            "event" if !self.name.is_empty() && breaks("event-first") => {}
            "event" => self.name = value.into(),
            "data" => self.data_line(value),
            "id" => self.id_field(value, state),
            "retry" => {
                let retry = retry_time(value);
                if breaks("retry-with-block") {
                    self.retry = retry;
                } else if let Some(retry) = retry {
                    state.retry = retry;
                }
            }
            _ => {}
        }
        if breaks("retry-needs-data") && field == "retry" {
            // Undone unless data follows.
            self.retry = Some(std::mem::replace(&mut state.retry, DEFAULT_RETRY));
        }
    }

    fn data_line(&mut self, value: &str) {
        self.n_data_lines += 1;
        if breaks("lines-1000") && self.n_data_lines > 1_000 {
            return;
        }
        match &mut self.data {
            Some(data) if breaks("joins-if-any") && data.is_empty() => data.push_str(value),
            Some(data) => {
                if !breaks("joins-without-lf") {
                    data.push('\n');
                }
                data.push_str(value);
            }
            None => self.data = Some(value.into()),
        }
    }

    fn id_field(&mut self, value: &str, state: &mut State) {
        let has_nul = value.contains('\0');
        if (has_nul && !breaks("id-nul"))
            || (value.is_empty() && breaks("id-empty"))
            || (breaks("id-ascii") && !value.is_ascii())
            || (breaks("id-first") && self.has_id)
            || (breaks("id-never-changes") && !self.id.is_empty())
        {
            return;
        }
        self.has_id = true;
        self.id = value.replace('\0', "");
        if breaks("id-at-once") {
            state.last_event_id = self.id.clone();
        }
    }

    /// The end of a block: an event, if there are data.
    fn dispatch(&mut self, state: &mut State) {
        let data = self.data.take();
        let has_data = data.is_some();
        self.n_data_lines = 0;
        let name = if has_data || !breaks("keeps-name") {
            std::mem::take(&mut self.name)
        } else {
            self.name.clone()
        };
        let has_id = std::mem::take(&mut self.has_id);
        if breaks("id-per-event") && has_data && !has_id {
            self.id.clear();
        }
        if let Some(retry) = self.retry.take()
            && (has_data || !breaks("retry-needs-data"))
        {
            state.retry = retry;
        }
        if has_data || !breaks("id-with-data") {
            let is_empty = data.as_deref().is_none_or(str::is_empty);
            if !(breaks("id-with-text") && is_empty) {
                state.last_event_id = self.id.clone();
            }
        } else {
            self.id = state.last_event_id.clone();
        }
        let Some(mut data) = data.or_else(|| breaks("blank-lines").then(String::new)) else {
            return;
        };
        self.n_events_of_read += 1;
        if (data.is_empty() && breaks("empty-data"))
            || (breaks("one-event-a-read") && self.n_events_of_read > 1)
            || (breaks("ascii-names") && !name.is_ascii())
            || breaks("mute")
        {
            return;
        }
        if breaks("trims-data") {
            data = data.trim_end().into();
        }
        if name == "error" && breaks("error-stops") {
            std::process::exit(0);
        }
        let name = if name.is_empty() { "message" } else { &name };
        let event = serde_json::json!({ "event": name, "data": data, "id": self.id });
        println!("{event}");
    }

    /// The end of the body: what is not whole does not count.
    fn end(&mut self, state: &mut State) {
        if breaks("line-at-end") && !self.line.is_empty() {
            self.end_line(state);
        }
        if (breaks("event-at-end") || breaks("line-at-end")) && self.data.is_some() {
            self.dispatch(state);
        }
    }
}

/// The time of a `retry` field; `None` if it is not valid.
fn retry_time(value: &str) -> Option<Duration> {
    let millis = |millis: u64| Some(Duration::from_millis(millis));
    let is_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if breaks("no-retry") {
        return None;
    }
    if breaks("retry-empty") && value.is_empty() {
        return millis(0);
    }
    if breaks("retry-prefix") {
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        return value[..end].parse().ok().and_then(millis);
    }
    if breaks("retry-signed") {
        return value.parse::<i64>().ok().and_then(|retry| millis(retry.max(0) as u64));
    }
    if breaks("retry-any-digits") {
        let digits = value.chars().map(|c| match c {
            '０'..='９' => char::from(b'0' + (c as u32 - '０' as u32) as u8),
            '٠'..='٩' => char::from(b'0' + (c as u32 - '٠' as u32) as u8),
            c => c,
        });
        return digits.collect::<String>().parse().ok().and_then(millis);
    }
    if !is_digits || (breaks("retry-zeros") && value.starts_with('0')) {
        return None;
    }
    let retry = value.parse::<u64>();
    if breaks("retry-32") && retry.as_ref().is_ok_and(|retry| i32::try_from(*retry).is_err()) {
        return millis(0);
    }
    match retry {
        Ok(retry) => millis(retry),
        Err(_) if breaks("retry-64") => millis(0),
        // Digits only, so it is too large.
        Err(_) => Some(Duration::MAX),
    }
}
