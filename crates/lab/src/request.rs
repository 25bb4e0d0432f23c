//! Reads a request.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the head of a request may be.
pub const MAX_HEAD: usize = 8 << 10;
const MAX_FIELDS: usize = 64;
/// How long a client may take to send a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub last_event_id: Option<Vec<u8>>,
    pub accept: Option<String>,
    pub accept_encoding: String,
    pub host: String,
    pub body: Vec<u8>,
}

impl Request {
    /// The path and the query.
    pub fn target(&self) -> String {
        let Request { path, query, .. } = self;
        if query.is_empty() { path.clone() } else { format!("{path}?{query}") }
    }
}

/// Why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client has gone, or sent nothing in time: there is nothing to answer.
    Gone,
    Malformed,
    HeadTooLong,
    BodyTooLong,
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Refusal {
        Refusal::Gone
    }
}

/// Reads a request with its body, of at most `max_body` bytes.
///
/// # Errors
///
/// The client is gone or too slow, or the request is malformed or too long.
pub async fn read(stream: &mut TcpStream, max_body: usize) -> Result<Request, Refusal> {
    timeout(TIMEOUT, read_whole(stream, max_body)).await.unwrap_or(Err(Refusal::Gone))
}

async fn read_whole(stream: &mut TcpStream, max_body: usize) -> Result<Request, Refusal> {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() >= MAX_HEAD {
            return Err(Refusal::HeadTooLong);
        }
        bytes.push(reader.read_u8().await?);
    }
    let (mut request, body_length) = parse(&bytes)?;
    if body_length > max_body {
        return Err(Refusal::BodyTooLong);
    }
    request.body = vec![0; body_length];
    reader.read_exact(&mut request.body).await?;
    Ok(request)
}

/// The request with this head, and the length of its body.
///
/// # Errors
///
/// The head is malformed, or the body has no `Content-Length`.
pub fn parse(head: &[u8]) -> Result<(Request, usize), Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(Refusal::Malformed),
    }
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: parsed.method.unwrap_or_default().into(),
        path: path.into(),
        query: query.into(),
        ..Request::default()
    };
    let mut body_length = 0;
    for field in parsed.headers.iter() {
        let text = || String::from_utf8_lossy(field.value).into_owned();
        match field.name.to_ascii_lowercase().as_str() {
            "last-event-id" => request.last_event_id = Some(field.value.into()),
            "accept" => request.accept = Some(text()),
            "accept-encoding" => request.accept_encoding = text().to_ascii_lowercase(),
            "host" => request.host = text(),
            "content-length" => {
                body_length = text().trim().parse().map_err(|_| Refusal::Malformed)?;
            }
            "transfer-encoding" => return Err(Refusal::Malformed),
            _ => {}
        }
    }
    Ok((request, body_length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_and_a_malformed_one_refused() {
        let head = "GET /lab/p-cr/abcd?seed=3 HTTP/1.1\r\nHost: a:1\r\nAccept: text/event-stream\r\n\
                    LAST-event-id: \u{fc}\r\nContent-Length: 5\r\n\r\n";
        let (request, body_length) = parse(head.as_bytes()).expect("a request");
        assert_eq!(request.path, "/lab/p-cr/abcd");
        assert_eq!(request.query, "seed=3");
        assert_eq!(request.last_event_id.as_deref(), Some("\u{fc}".as_bytes()));
        assert_eq!((request.host.as_str(), body_length), ("a:1", 5));
        for head in [
            "GET\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/3\r\n\r\n",
        ] {
            assert_eq!(parse(head.as_bytes()).err(), Some(Refusal::Malformed), "{head}");
        }
    }
}
