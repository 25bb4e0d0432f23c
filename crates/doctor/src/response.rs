//! The head of a response, and why there may be none.

use std::fmt;
use std::time::Duration;

use event_stream::client::content_type;
use event_stream::http_url::HttpUrl;
use http::HeaderMap;
use jiff::Timestamp;

/// The head of a response.
#[derive(Clone, Debug)]
pub struct Head {
    /// Where it came from, after all redirects.
    pub url: HttpUrl,
    /// The redirects before it: the status, and where each led.
    pub redirects: Vec<(u16, HttpUrl)>,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// How long it took, from the last request on.
    pub after: Duration,
    /// When it arrived.
    pub at: Timestamp,
}

impl Head {
    /// All values of a header, joined as HTTP joins them; `None` without any.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.get_all(name).iter();
        let values: Vec<_> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }

    /// The `Content-Type` without parameters, in lower case; empty without one.
    pub fn content_type(&self) -> String {
        content_type(&self.headers)
    }

    /// Whether an `EventSource` would listen.
    pub fn is_stream(&self) -> bool {
        self.status == 200 && self.content_type() == "text/event-stream"
    }
}

/// Why there is no response.
#[derive(Clone, Debug)]
pub enum NoResponse {
    /// Not even a head arrived in this time.
    TimedOut(Duration),
    /// The connection failed, or a redirect leads nowhere.
    Failed(String),
}

impl fmt::Display for NoResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoResponse::TimedOut(after) => write!(f, "no answer in {:.1} s", after.as_secs_f64()),
            NoResponse::Failed(why) => f.write_str(why),
        }
    }
}
