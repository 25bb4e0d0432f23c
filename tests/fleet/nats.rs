//! A small client for NATS over plain TCP: just enough to create streams, to read and write entries,
//! and to send what a node never sends. <https://docs.nats.io/reference/reference-protocols/nats-protocol>

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// How long a server has for an answer. A server without a leader never answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The name and the password of a user.
pub type Login<'a> = Option<(&'a str, &'a str)>;

/// A connection to one server.
pub struct Nats {
    socket: BufReader<TcpStream>,
    n_requests: usize,
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub sequence: u64,
    pub text: String,
}

impl Nats {
    /// Connects and waits until the server has accepted the user.
    pub fn connect(address: SocketAddr, login: Login<'_>) -> io::Result<Nats> {
        let socket = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        socket.set_nodelay(true)?;
        let mut nats = Nats { socket: BufReader::new(socket), n_requests: 0 };
        let mut options = json!({ "verbose": false, "headers": true, "no_responders": true });
        if let Some((user, password)) = login {
            options["user"] = user.into();
            options["pass"] = password.into();
        }
        nats.send(format!("CONNECT {options}\r\nPING\r\n").as_bytes())?;
        while nats.line()? != "PONG" {}
        Ok(nats)
    }

    /// Publishes a message. `header` is one line such as `Nats-Msg-Id: 1`.
    pub fn publish(
        &mut self,
        subject: &str,
        reply: &str,
        header: Option<&str>,
        payload: &[u8],
    ) -> io::Result<()> {
        let (headers, verb, sizes) = match header {
            None => (String::new(), "PUB", payload.len().to_string()),
            Some(header) => {
                let headers = format!("NATS/1.0\r\n{header}\r\n\r\n");
                let sizes = format!("{} {}", headers.len(), headers.len() + payload.len());
                (headers, "HPUB", sizes)
            }
        };
        let mut bytes = format!("{verb} {subject} {reply} {sizes}\r\n{headers}").into_bytes();
        bytes.extend(payload);
        bytes.extend(b"\r\n");
        self.send(&bytes)
    }

    /// Publishes a message and waits for the answer to it.
    pub fn request(
        &mut self,
        subject: &str,
        header: Option<&str>,
        payload: &[u8],
    ) -> io::Result<Vec<u8>> {
        self.n_requests += 1;
        let sid = self.n_requests;
        let inbox = format!("_INBOX.test{}.{sid}", std::process::id());
        self.send(format!("SUB {inbox} {sid}\r\nUNSUB {sid} 1\r\n").as_bytes())?;
        self.publish(subject, &inbox, header, payload)?;
        loop {
            let line = self.line()?;
            let mut words = line.split(' ');
            let verb = words.next().unwrap_or_default();
            if verb == "-ERR" {
                return Err(io::Error::other(line));
            }
            if verb != "MSG" && verb != "HMSG" {
                continue;
            }
            let is_mine = words.next() == Some(inbox.as_str());
            let mut sizes = words.rev().map(|word| word.parse().unwrap_or(0));
            let n_bytes: usize = sizes.next().unwrap_or(0);
            let n_headers: usize = if verb == "HMSG" { sizes.next().unwrap_or(0) } else { 0 };
            let mut message = vec![0; n_bytes + 2];
            self.socket.read_exact(&mut message)?;
            // Such as `503` if nobody listens on the subject.
            if is_mine && n_bytes == n_headers {
                let status = String::from_utf8_lossy(&message[..n_headers]).replace("\r\n", " ");
                return Err(io::Error::other(status));
            }
            if is_mine {
                return Ok(message[n_headers..n_bytes].to_vec());
            }
        }
    }

    /// Asks JetStream. `what` is such as `STREAM.INFO.ROLLS`.
    pub fn api(&mut self, what: &str, question: &Value) -> io::Result<Value> {
        let question = if question.is_null() { String::new() } else { question.to_string() };
        let answer = self.request(&format!("$JS.API.{what}"), None, question.as_bytes())?;
        serde_json::from_slice(&answer).map_err(io::Error::other)
    }

    /// The entry of a stream at this place; `None` if there is none.
    pub fn entry(&mut self, stream: &str, sequence: u64) -> io::Result<Option<Entry>> {
        let question = json!({ "seq": sequence });
        let answer = self.api(&format!("STREAM.MSG.GET.{stream}"), &question)?;
        let Some(data) = answer["message"]["data"].as_str() else {
            // "no message found"
            let is_absent = answer["error"]["err_code"] == 10037;
            return if is_absent { Ok(None) } else { Err(io::Error::other(answer.to_string())) };
        };
        let text = String::from_utf8(BASE64_STANDARD.decode(data).unwrap()).unwrap();
        Ok(Some(Entry { sequence, text }))
    }

    /// Appends an entry, whatever the log contains, and returns its place.
    pub fn append(&mut self, stream: &str, text: &str) -> io::Result<u64> {
        self.append_with(stream, None, text)
    }

    /// Appends an entry if the log ends with this place.
    pub fn append_after(&mut self, stream: &str, last: u64, text: &str) -> io::Result<u64> {
        let header = format!("Nats-Expected-Last-Sequence: {last}");
        self.append_with(stream, Some(&header), text)
    }

    fn append_with(&mut self, stream: &str, header: Option<&str>, text: &str) -> io::Result<u64> {
        let answer = self.request(&format!("rollcast.{stream}"), header, text.as_bytes())?;
        let answer: Value = serde_json::from_slice(&answer).map_err(io::Error::other)?;
        answer["seq"]
            .as_u64()
            .filter(|_| answer["error"].is_null())
            .ok_or_else(|| io::Error::other(answer.to_string()))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_mut().write_all(bytes)
    }

    /// The next line from the server, which is never empty.
    fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.socket.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_owned();
            if line.starts_with("-ERR 'Authorization") {
                return Err(io::Error::other(line));
            }
            match line.as_str() {
                "PING" => self.send(b"PONG\r\n")?,
                line => return Ok(line.to_owned()),
            }
        }
    }
}
