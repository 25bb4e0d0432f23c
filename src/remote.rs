//! A rollcast server as the commands use it: requests, and errors that quote its answer.

use std::fmt::Display;
use std::io::{self, Read};
use std::time::Duration;

use event_stream::client::{Certificates, Client, ClientError, Config, Method, Request, Response};
use event_stream::http_url::{HttpUrl, UrlError};
use event_stream::printable::printable;
use event_stream::proxy::Proxies;
use http::StatusCode;

use crate::text::shortened;

/// How long each step of a request may take, up to the head of the response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many redirects in a row are followed.
const MAX_REDIRECTS: u32 = 10;
/// How many bytes of an error's body are read for its message.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// A server; cheap to clone.
#[derive(Clone)]
pub struct Remote {
    client: Client,
    base: HttpUrl,
    timeout: Duration,
}

/// The first parts of rollcast's own paths, such as those of a page that is copied from a browser.
const OWN_PATHS: [&str; 9] =
    ["", "stream", "rolls", "stats", "api", "checkpoint", "tile", "verify", "draw"];

/// Why a text is not the URL of a server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// It is no URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// It has a path, which no server of rollcast has.
    #[error(
        "expected the URL of a server such as `https://dice.example.org/`, got the path `{0}`: \
         rollcast does not work below a path"
    )]
    Path(String),
}

/// Reads the URL of a server: that of any of its pages.
///
/// # Errors
///
/// The text is no URL, or its path is not one of rollcast's own.
pub fn server_url(text: &str) -> Result<HttpUrl, ServerUrlError> {
    let url: HttpUrl = text.parse()?;
    let first = url.path().split('/').nth(1).unwrap_or_default();
    if !OWN_PATHS.contains(&first) {
        return Err(ServerUrlError::Path(shortened(url.path())));
    }
    Ok(url)
}

/// What a request expects.
#[derive(Clone, Copy)]
pub struct Expected {
    /// The content type.
    pub content_type: &'static str,
    /// The same in words, for errors.
    pub name: &'static str,
}

/// Why there is no such response.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No response at all.
    #[error("cannot reach `{url}`")]
    Unreachable {
        /// The URL of the request.
        url: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
    /// Another status or content type.
    #[error("expected {expected} at `{url}`, got {seen}")]
    Unexpected {
        /// What was expected.
        expected: &'static str,
        /// The URL of the request.
        url: String,
        /// The status.
        status: StatusCode,
        /// The status, with the server's message or the content type; printable.
        seen: String,
    },
    /// The body of the response broke off.
    #[error("the response of `{url}` broke off")]
    Broken {
        /// The URL of the request.
        url: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl RemoteError {
    /// Whether the same request may succeed later: the response was missing or incomplete, or the
    /// server is busy or not ready.
    pub fn is_temporary(&self) -> bool {
        match self {
            RemoteError::Unreachable { .. } | RemoteError::Broken { .. } => true,
            RemoteError::Unexpected { status, .. } => {
                let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
                status.is_server_error() || busy.contains(status)
            }
        }
    }

    /// Whether the server asks its clients to stop requesting a stream: status 204.
    /// <https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model>
    pub fn asks_to_stop(&self) -> bool {
        matches!(self, RemoteError::Unexpected { status: StatusCode::NO_CONTENT, .. })
    }

    /// Whether the server has deleted the requested resource: status 410.
    pub fn is_gone(&self) -> bool {
        matches!(self, RemoteError::Unexpected { status: StatusCode::GONE, .. })
    }
}

impl Remote {
    /// The server with this scheme, host and port; the path of `base` does not count.
    pub fn new(base: HttpUrl, certificates: Certificates) -> Remote {
        Remote::with_timeout(base, certificates, TIMEOUT)
    }

    /// The same with another timeout for each step of a request, up to the head of the response.
    pub fn with_timeout(base: HttpUrl, certificates: Certificates, timeout: Duration) -> Remote {
        let client = Client::new(Config {
            user_agent: concat!("rollcast/", env!("CARGO_PKG_VERSION")).into(),
            certificates,
            max_redirects: MAX_REDIRECTS,
            proxies: Proxies::from_environment(),
        });
        Remote { client, base, timeout }
    }

    /// The URL that it was made with.
    pub fn base(&self) -> &HttpUrl {
        &self.base
    }

    /// Sends a `GET`. The body of the response may be read for `body_timeout`.
    ///
    /// # Errors
    ///
    /// There is no response, or one with another status than 200 or another content type.
    pub fn get(
        &self,
        path: &str,
        expected: Expected,
        headers: &[(&str, &str)],
        body_timeout: Duration,
    ) -> Result<Response, RemoteError> {
        let url = self.url(path);
        let headers = [&[("Accept", expected.content_type)], headers].concat();
        let response = self.client.send(&Request {
            method: Method::Get,
            url: &url,
            headers: &headers,
            timeout: self.timeout,
            body_timeout: Some(body_timeout),
        });
        let response = match response {
            Ok(response) => response,
            Err(source) => return Err(RemoteError::Unreachable { url: url.to_string(), source }),
        };
        let (status, content_type) = (response.status, response.content_type());
        if status == StatusCode::OK && content_type == expected.content_type {
            return Ok(response);
        }
        let proxy = response.proxy.clone();
        let proxy = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        let seen = printable(&match message(response) {
            Some(message) => format!("{status}{proxy}: {message}"),
            None if content_type.is_empty() => format!("{status}{proxy}, no content type"),
            None => format!("{status}{proxy}, {content_type}"),
        });
        let url = url.to_string();
        Err(RemoteError::Unexpected { expected: expected.name, url, status, seen })
    }

    /// The whole body of a `GET`, of at most `max_bytes`. The request and the body together take at
    /// most `total`.
    ///
    /// # Errors
    ///
    /// Those of [`Remote::get`]; the body is longer than `max_bytes`, or breaks off.
    pub fn get_bytes(
        &self,
        path: &str,
        expected: Expected,
        max_bytes: u64,
        total: Duration,
    ) -> Result<Vec<u8>, RemoteError> {
        let timeout = self.timeout.min(total / 2);
        let limited = Remote { timeout, ..self.clone() };
        let body = limited.get(path, expected, &[], total - timeout)?.into_body();
        let mut bytes = Vec::new();
        let read = body.take(max_bytes + 1).read_to_end(&mut bytes);
        read.map_err(|source| RemoteError::Broken { url: self.url(path).to_string(), source })?;
        if bytes.len() as u64 > max_bytes {
            return Err(self.unexpected(path, expected, format!("more than {max_bytes} bytes")));
        }
        Ok(bytes)
    }

    /// The error for a body that is not what was expected at this path. `seen` may quote it.
    pub fn unexpected(&self, path: &str, expected: Expected, seen: impl Display) -> RemoteError {
        RemoteError::Unexpected {
            expected: expected.name,
            url: self.url(path).to_string(),
            status: StatusCode::OK,
            seen: printable(&seen.to_string()),
        }
    }

    fn url(&self, path: &str) -> HttpUrl {
        self.base.join(path).unwrap_or_else(|_| self.base.clone())
    }
}

/// The message of an error of the API, or the reasons why the server is not ready.
fn message(response: Response) -> Option<String> {
    let body = response.into_body().take(MAX_ERROR_BYTES);
    let body: serde_json::Value = serde_json::from_reader(body).ok()?;
    if let Some(reasons) = body.get("reasons") {
        let reasons = reasons.as_array()?.iter().filter_map(|reason| reason.as_str());
        return Some(reasons.collect::<Vec<_>>().join("; "));
    }
    Some(body.get("error")?.get("message")?.as_str()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_any_of_its_pages_but_not_below_a_path() {
        for text in [
            "http://127.0.0.1:5000",
            "https://dice.example.org/",
            "https://dice.example.org/stream/?after=1",
            "https://dice.example.org/rolls/41",
            "https://dice.example.org/api",
            "https://dice.example.org/checkpoint",
            "https://dice.example.org/verify",
            "https://dice.example.org/#top",
        ] {
            assert!(server_url(text).is_ok(), "{text}");
        }
        for (text, path) in [
            ("https://example.org/dice/", "/dice/"),
            ("https://example.org/dice/stream/", "/dice/stream/"),
            ("https://example.org/streams", "/streams"),
            ("https://example.org/%1b/", "/%1b/"),
        ] {
            assert_eq!(server_url(text), Err(ServerUrlError::Path(path.into())), "{text}");
        }
        assert!(matches!(server_url("dice.example.org"), Err(ServerUrlError::Url(_))));
    }
}
