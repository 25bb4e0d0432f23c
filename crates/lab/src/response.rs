//! Responses that are known as a whole: pages, files, verdicts and errors.

use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::closing::close;

/// How long writing a response may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A response.
#[derive(Debug)]
pub struct Response {
    pub status: &'static str,
    pub content_type: &'static str,
    pub location: Option<&'static str>,
    pub body: Vec<u8>,
}

impl Response {
    /// A page or a file.
    pub fn ok(content_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response { status: "200 OK", content_type, location: None, body: body.into() }
    }

    /// An error, as JSON.
    pub fn error(status: &'static str, text: &str) -> Response {
        let body = serde_json::json!({ "error": text }).to_string() + "\n";
        Response { status, ..Response::ok("application/json", body) }
    }

    /// A value as JSON.
    pub fn json(value: &impl Serialize) -> Response {
        Response::ok("application/json", serde_json::to_vec(value).unwrap_or_default())
    }

    /// Writes the response, and the end of the connection.
    pub async fn send(&self, stream: &mut TcpStream) {
        let Response { status, content_type, location, body } = self;
        let location = location.map(|it| format!("Location: {it}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{location}\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             connect-src http: https:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n\
             Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: Last-Event-ID, *\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        let whole = [head.as_bytes(), body].concat();
        // The client may have gone.
        if let Ok(Ok(())) = timeout(WRITE_TIMEOUT, stream.write_all(&whole)).await {
            close(stream).await;
        }
    }
}
